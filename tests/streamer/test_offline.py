"""The live session against the offline render: the same frames to the bit."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle, Preset
from daetalker.streamer.control import Control, Timeline
from daetalker.streamer.engine import Engine, EngineError
from daetalker.streamer.media import VideoFrame, frame_count, to_model_rate
from daetalker.streamer.offline import stream_synthesise, synthesise
from daetalker.streamer.profile import PROFILES
from tests.tiny import tiny_speech, to_pcm

QUIET = np.zeros(14_400, np.int16)
# Ends in mid-frame and in mid-speech, after a pause in which the gate shuts.
VOICE = np.concatenate(
    [QUIET, to_pcm(tiny_speech(0.4, rate=48_000)), QUIET, QUIET, QUIET,
     to_pcm(tiny_speech(0.33, seed=3, rate=48_000))]
)  # fmt: skip
LEFT = Control((20.0, 5.0, 0.0), natural=0.15, ease_s=0.4, preset="left")
RIGHT = Control((-20.0, 0.0, 6.0), natural=0.15, ease_s=0.4)
NOD = Preset("nod", "Nod", 0.0, -6.0, 0.0, ease_s=0.1, hold_s=0.2)
BRIEFLY = Control((12.0, 0.0, 2.0), natural=0.3, ease_s=0.2, hold_s=0.12)
TIMELINES = {
    "natural": None,
    "preset": LEFT,
    "redirected": Timeline(((0, Control()), (9, LEFT), (14, RIGHT), (20, Control()))),
    "held": Timeline(((0, LEFT), (6, BRIEFLY), (30, Control.of(NOD)))),
    "muted": Timeline(((6, LEFT), (11, Control(LEFT.pose, muted=True)), (22, RIGHT))),
}


def render(
    bundle: AvatarBundle,
    engine: Engine,
    voice: NDArray[np.int16],
    control: Control | Timeline | None = None,
    profile: str = "default",
) -> list[VideoFrame]:
    return list(
        synthesise(
            bundle,
            engine,
            to_model_rate(voice),
            control=control,
            profile=PROFILES[profile],
            frames=frame_count(voice),
        )
    )


def max_abs_diff(a: list[VideoFrame], b: list[VideoFrame]) -> int:
    return max(
        int(np.abs(x.rgb.astype(np.int16) - y.rgb.astype(np.int16)).max())
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "profile"), [*((name, "default") for name in TIMELINES), ("muted", "low_latency")]
)
def test_stream_max_abs_diff_is_0(
    tiny_bundle: AvatarBundle, tiny_engine: Engine, name: str, profile: str
) -> None:
    control = TIMELINES[name]
    offline = render(tiny_bundle, tiny_engine, VOICE, control, profile)
    live = list(
        stream_synthesise(
            tiny_bundle, tiny_engine, VOICE, control=control, profile=PROFILES[profile]
        )
    )
    assert [f.index for f in live] == list(range(frame_count(VOICE)))
    assert max_abs_diff(offline, live) == 0
    for a, b in zip(offline, live, strict=True):
        np.testing.assert_array_equal(a.latent, b.latent)
        assert (a.pose, a.speaking) == (b.pose, b.speaking)
    assert len({f.rgb.tobytes() for f in live}) > 0.8 * len(live), "the comparison means something"
    assert {f.speaking for f in live} == {True, False}


def test_causal_later_voice_never_changes_earlier_frames(
    tiny_bundle: AvatarBundle, tiny_engine: Engine
) -> None:
    cut = 20 * 1920
    changed = np.concatenate([VOICE[:cut], VOICE[::-1]])
    one = render(tiny_bundle, tiny_engine, VOICE)
    other = render(tiny_bundle, tiny_engine, changed)
    safe = 20 - PROFILES["default"].hop_frames - PROFILES["default"].lookahead_frames
    assert max_abs_diff(one[:safe], other[:safe]) == 0
    assert max_abs_diff(one[20:24], other[20:24]) > 0


def test_the_teacher_draws_the_same_latents(tiny_bundle: AvatarBundle, tiny_engine: Engine) -> None:
    samples = to_model_rate(VOICE[: 15 * 1920])
    student = list(synthesise(tiny_bundle, tiny_engine, samples, frames=8))
    teacher = list(synthesise(tiny_bundle, tiny_engine, samples, frames=8, steps=2))
    for a, b in zip(student, teacher, strict=True):
        np.testing.assert_array_equal(a.latent, b.latent)
        assert not np.array_equal(a.rgb, b.rgb)
    with pytest.raises(EngineError, match="steps must be between"):
        list(synthesise(tiny_bundle, tiny_engine, samples, steps=1001))


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (1, 1), (640, 1), (641, 2), (6400, 10)])
def test_every_started_frame_is_rendered(
    tiny_bundle: AvatarBundle, tiny_engine: Engine, samples: int, frames: int
) -> None:
    rendered = list(synthesise(tiny_bundle, tiny_engine, np.zeros(samples, np.float32)))
    assert [f.index for f in rendered] == list(range(frames))


def test_a_stream_left_early_cleans_up(tiny_bundle: AvatarBundle, tiny_engine: Engine) -> None:
    stream = stream_synthesise(tiny_bundle, tiny_engine, VOICE)
    assert next(stream).index == 0
    stream.close()  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
