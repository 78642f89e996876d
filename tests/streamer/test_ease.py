from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.ease import Ease

STEP_S = 1e-4


def derivatives(ease: Ease, at_s: float) -> NDArray[np.float64]:
    """Position, velocity and acceleration just after a time."""
    x = np.array([ease.at(at_s + n * STEP_S)[0] for n in range(3)])
    return np.array([x[0], (x[1] - x[0]) / STEP_S, (x[2] - 2 * x[1] + x[0]) / STEP_S**2])


def test_it_arrives_on_time_and_at_rest() -> None:
    ease = Ease.rest(np.array([5.0])).towards(np.array([20.0]), now_s=1.0, duration_s=0.5)
    assert ease.at(1.0) == 5.0
    np.testing.assert_allclose(ease.at(1.25), 12.5)
    np.testing.assert_allclose([ease.at(1.5), ease.at(9.0)], 20.0)
    np.testing.assert_allclose(derivatives(ease, 1.5)[1:], 0.0, atol=1e-3)


def test_from_rest_it_neither_overshoots_nor_turns_back() -> None:
    ease = Ease.rest(np.array([0.0])).towards(np.array([1.0]), 0.0, 1.0)
    path = np.array([ease.at(t)[0] for t in np.linspace(0, 1, 101)])
    assert np.all(np.diff(path) >= 0) and path.max() <= 1.0 + 1e-12


def test_redirected_at_any_moment_it_is_continuous_in_position_speed_and_acceleration() -> None:
    first = Ease.rest(np.array([0.0])).towards(np.array([20.0]), 0.0, 0.5)
    for now_s in (0.05, 0.2, 0.25, 0.4, 0.49):
        second = first.towards(np.array([-10.0]), now_s, 0.8)
        before, after = derivatives(first, now_s), derivatives(second, now_s)
        np.testing.assert_allclose(after[:2], before[:2], rtol=1e-2, atol=1e-2)
        assert abs(after[2] - before[2]) < 0.02 * max(1.0, abs(before[2])) + 5.0
        np.testing.assert_allclose(second.at(now_s + 0.8), -10.0)
