from __future__ import annotations

import math
from dataclasses import replace

import pytest

from daetalker.models.bundle import Preset
from daetalker.streamer.control import Control, Timeline


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"pose": (0.0, math.nan, 0.0)}, "pose"),
        ({"pose": (1.0, 2.0)}, "pose"),
        ({"natural": 1.1}, "natural"),
        ({"ease_s": 0.0}, "ease_s"),
        ({"hold_s": -1.0}, "hold_s"),
        ({"hold_s": math.nan}, "hold_s"),
    ],
)
def test_a_bad_field_is_named(values: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Control(**values)  # type: ignore[arg-type]


def test_a_preset_becomes_a_control() -> None:
    preset = Preset("left", "Left", 20.0, 1.0, 2.0, ease_s=0.7, natural=0.2, hold_s=3.0)
    assert Control.of(preset) == Control((20.0, 1.0, 2.0), 0.2, 0.7, "left", hold_s=3.0)
    assert Control.of(preset, muted=True).muted


def test_commands_that_ask_for_the_same_are_told_apart_and_changes_of_one_are_not() -> None:
    one, other = Control((1.0, 2.0, 3.0)), Control((1.0, 2.0, 3.0))
    assert one == other and one.command != other.command
    assert replace(one, muted=True).command == one.command


def test_timeline_holds_each_entry_until_the_next() -> None:
    left, muted = Control((20.0, 0.0, 0.0)), Control(muted=True)
    timeline = Timeline(((4, left), (9, muted)))
    assert [timeline.at(f) for f in (0, 3, 4, 8, 9, 1000)] == [
        Control(), Control(), left, left, muted, muted,
    ]  # fmt: skip
    assert Timeline.of(left).at(0) == left
    assert Timeline.of(timeline) is timeline
    assert Timeline.of(None).at(5) == Control()


def test_timeline_must_rise() -> None:
    with pytest.raises(ValueError, match="rise"):
        Timeline(((4, Control()), (4, Control())))
