from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.streamer.ease import Ease

STEP_S = 1e-4


def turn(start: float, end: float, duration_s: float) -> Ease:
    """From rest to rest, one channel."""
    still = np.zeros(1)
    return Ease.between(np.array([start]), still, still, np.array([end]), duration_s)


def derivatives(ease: Ease, at_s: float) -> NDArray[np.float64]:
    """Position, velocity and acceleration just after a time."""
    x = np.array([ease.at(at_s + n * STEP_S)[0] for n in range(3)])
    return np.array([x[0], (x[1] - x[0]) / STEP_S, (x[2] - 2 * x[1] + x[0]) / STEP_S**2])


def test_it_arrives_on_time_and_at_rest() -> None:
    ease = turn(5.0, 20.0, 0.5)
    assert ease.at(0.0) == ease.at(-1.0) == 5.0
    np.testing.assert_allclose(ease.at(0.25), 12.5)
    np.testing.assert_allclose([ease.at(0.5), ease.at(9.0)], 20.0)
    np.testing.assert_allclose(derivatives(ease, 0.5)[1:], 0.0, atol=1e-3)
    assert Ease.rest(np.array([5.0])).at(3.0) == 5.0


def test_from_rest_it_neither_overshoots_nor_turns_back() -> None:
    path = np.array([turn(0.0, 1.0, 1.0).at(t)[0] for t in np.linspace(0, 1, 101)])
    assert np.all(np.diff(path) >= 0) and path.max() <= 1.0 + 1e-12


def test_redirected_at_any_moment_it_is_continuous_in_position_speed_and_acceleration() -> None:
    first = turn(0.0, 20.0, 0.5)
    for now_s in (0.05, 0.2, 0.25, 0.4, 0.49):
        second = Ease.between(*first.state(now_s), np.array([-10.0]), 0.8)
        before, after = derivatives(first, now_s), derivatives(second, 0.0)
        np.testing.assert_allclose(after[:2], before[:2], rtol=1e-2, atol=1e-2)
        assert abs(after[2] - before[2]) < 0.02 * max(1.0, abs(before[2])) + 5.0
        np.testing.assert_allclose(second.at(0.8), -10.0)


def test_peak_speeds_are_those_of_the_movements_themselves() -> None:
    rng = np.random.default_rng(0)
    durations = np.array([0.3, 0.8, 2.0])
    for _ in range(20):
        distance, velocity, acceleration = rng.normal(0.0, [[20.0], [30.0], [100.0]], (3, 2))
        peaks = Ease.peak_speeds(distance, velocity, acceleration, durations)
        for duration_s, peak in zip(durations, peaks, strict=True):
            ease = Ease.between(np.zeros(2), velocity, acceleration, distance, duration_s)
            times = np.linspace(0.0, duration_s, 2001)
            path = np.array([ease.at(t) for t in times])
            fastest = np.linalg.norm(np.diff(path, axis=0), axis=1).max() / times[1]
            assert peak == pytest.approx(fastest, rel=0.02)
