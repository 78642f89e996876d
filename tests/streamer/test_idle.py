from __future__ import annotations

import numpy as np

from daetalker.streamer.idle import eye_closure, sway

FRAMES = range(25 * 600)


def test_blinks_are_two_to_six_seconds_apart_and_close_the_eyes() -> None:
    closure = np.array([eye_closure(f) for f in FRAMES])
    starts = np.flatnonzero((closure[1:] > 0) & (closure[:-1] == 0)) + 1
    gaps_s = np.diff(starts) / 25
    assert gaps_s.min() >= 2.0 and gaps_s.max() <= 6.0
    assert np.std(gaps_s) > 0.5, "not a metronome"
    assert closure.max() == 1.0 and closure.min() == 0.0
    assert all(np.count_nonzero(closure[s : s + 12]) == 7 for s in starts[:-1])


def test_sway_is_small_slow_and_not_periodic() -> None:
    path = np.array([sway(f) for f in FRAMES])
    assert np.all(np.abs(path).max(axis=0) <= [1.5, 1.0, 0.6])
    assert np.all(np.abs(path).max(axis=0) >= [1.0, 0.7, 0.4])
    assert np.abs(np.diff(path, axis=0)).max() < 0.05


def test_both_depend_on_the_frame_alone() -> None:
    assert sway(123) == sway(123)
    assert [eye_closure(f) for f in range(200)] == [eye_closure(f) for f in range(200)]
