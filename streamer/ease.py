"""Easing: minimum-jerk movement that can be redirected at any moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ease"]


@dataclass(frozen=True, eq=False)
class Ease:
    """A movement of C channels; the quintic of least jerk (Flash and Hogan 1985).

    It starts with any position, velocity and acceleration and arrives at rest.

    Attributes:
        start_s, duration_s: when it starts, and how long it takes; it rests afterwards.
        coefficients: ``[6, C]``, powers of the time share in [0, 1], lowest first.
    """

    start_s: float
    duration_s: float
    coefficients: NDArray[np.float64]

    @classmethod
    def rest(cls, position: NDArray[np.float64]) -> Ease:
        """Stay at ``position`` ``[C]``."""
        coefficients = np.zeros((6, position.size))
        coefficients[0] = position
        return cls(0.0, 1.0, coefficients)

    def towards(self, target: NDArray[np.float64], now_s: float, duration_s: float) -> Ease:
        """Leave this movement at ``now_s`` for ``target`` ``[C]``.

        Position, velocity and acceleration are continuous.
        """
        position, velocity, acceleration = self._state(now_s)
        v, a = velocity * duration_s, acceleration * duration_s**2
        d = target - position
        coefficients = np.stack(
            [
                position,
                v,
                a / 2.0,
                10.0 * d - 6.0 * v - 1.5 * a,
                -15.0 * d + 8.0 * v + 1.5 * a,
                6.0 * d - 3.0 * v - 0.5 * a,
            ]
        )
        return Ease(now_s, duration_s, coefficients)

    def at(self, now_s: float) -> NDArray[np.float64]:
        """Position ``[C]`` at a time."""
        return self._state(now_s)[0]

    def _state(
        self, now_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        share = min(max((now_s - self.start_s) / self.duration_s, 0.0), 1.0)
        powers = share ** np.arange(6)
        slopes = np.array([0.0, *(n * share ** (n - 1) for n in range(1, 6))])
        bends = np.array([0.0, 0.0, *(n * (n - 1) * share ** (n - 2) for n in range(2, 6))])
        position = powers @ self.coefficients
        if share >= 1.0:
            return position, np.zeros_like(position), np.zeros_like(position)
        velocity = slopes @ self.coefficients / self.duration_s
        return position, velocity, bends @ self.coefficients / self.duration_s**2
