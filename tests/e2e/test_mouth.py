"""The judge of the end-to-end test, on drawn mouths whose faults are known."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.e2e.mouth import MOUTH_BOX, Floats, Recording, analyse, faults, opening
from tests.web.mock_face import SIZE, draw_face

FRAMES = 400
SPEAKING = (np.arange(FRAMES) % 400) < 250


@lru_cache(maxsize=4096)
def picture(amount: float, yaw: float) -> Floats:
    """Luma of the mouth's region; drawn once for each step of opening and turn."""
    left, top, width, height = (round(share * SIZE) for share in MOUTH_BOX)
    rgb = draw_face(amount, yaw)[top : top + height, left : left + width]
    return np.asarray(rgb @ np.array([0.299, 0.587, 0.114]), np.float64)


def voice() -> Floats:
    """Ten seconds of syllables, six of nothing."""
    rng = np.random.default_rng(5)
    knots = rng.uniform(0.0, 0.2, FRAMES // 4 + 2)
    syllables = np.interp(np.arange(FRAMES), np.arange(len(knots)) * 4, knots)
    return np.where(SPEAKING, syllables, 0.0)


def pictures(open_: Floats) -> NDArray[np.uint8]:
    """The mouth's region of a swaying drawn face, with a little noise as a codec leaves."""
    rng = np.random.default_rng(6)
    frames = []
    for index, amount in enumerate(open_):
        yaw = 1.5 * np.sin(index / 20)
        luma = picture(round(float(amount) * 32) / 32, round(float(yaw) * 4) / 4)
        frames.append(np.clip(luma + rng.normal(0, 1.0, luma.shape), 0, 255).astype(np.uint8))
    return np.stack(frames)


def recording(open_: Floats) -> Recording:
    index = np.arange(FRAMES)
    return Recording(
        (index * 40).astype(np.float64), index.astype(np.int64), voice(), pictures(open_)
    )


def test_the_measure_grows_with_the_opening() -> None:
    values = opening(pictures(np.linspace(0, 1, 12)))
    assert (np.diff(values) > 0).all()


def test_a_mouth_that_follows_the_voice_is_right() -> None:
    figures = analyse(recording(5 * voice()))
    assert faults(figures) == []
    assert figures.fps == pytest.approx(25)
    assert figures.longest_gap_ms == pytest.approx(40)
    assert figures.correlation > 0.8
    assert figures.lag_frames == 0


def test_a_still_mouth_is_found() -> None:
    assert faults(analyse(recording(np.zeros(FRAMES)))) == [
        "The mouth does not move while the voice speaks."
    ]


def test_a_mouth_that_moves_in_silence_is_found() -> None:
    restless = 0.5 + 0.5 * np.sin(np.arange(FRAMES) * 0.6)
    assert faults(analyse(recording(restless))) == ["The mouth moves in silence."]


def test_a_mouth_that_says_something_else_is_found() -> None:
    other = np.random.default_rng(8).uniform(0, 1, FRAMES // 2).repeat(2) * SPEAKING
    assert faults(analyse(recording(other))) == ["The mouth moves, but not with the voice."]


def test_a_late_mouth_is_found() -> None:
    late = np.roll(5 * voice(), 10)
    assert faults(analyse(recording(late))) == ["The mouth is early or late against the voice."]


def test_too_little_to_judge_is_said() -> None:
    whole = recording(5 * voice())
    short = Recording(*(rows[:100] for rows in vars(whole).values()))
    assert faults(analyse(short)) == ["There was too little voice or too little silence to judge."]
    slow = Recording(*(rows[::5] for rows in vars(whole).values()))
    slow = replace(slow, presented=np.arange(len(slow.presented)))
    assert faults(analyse(slow))[0].startswith("5.0 frames a second are too few")
    with pytest.raises(ValueError, match="no voice"):
        analyse(replace(whole, voice=np.zeros(FRAMES)))
    with pytest.raises(ValueError, match="frames"):
        analyse(Recording(*(rows[:5] for rows in vars(whole).values())))


def test_a_gap_is_measured_and_frames_told_late_are_shared() -> None:
    whole = recording(5 * voice())
    time_ms, presented = whole.time_ms.copy(), whole.presented.copy()
    time_ms[200:] += 260
    presented[300:] += 1
    time_ms[300:] += 40
    figures = analyse(replace(whole, time_ms=time_ms, presented=presented))
    assert figures.longest_gap_ms == pytest.approx(300)
