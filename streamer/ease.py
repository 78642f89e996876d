"""Easing: minimum-jerk movement that can be redirected at any moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ease"]

Vector = NDArray[np.float64]

# Velocity along the way: what distance, first velocity and first acceleration each contribute,
# ``[33, 1]`` over the time share.
_SHARE = np.linspace(0.0, 1.0, 33)[:, None]
_BY_DISTANCE = 30.0 * _SHARE**2 - 60.0 * _SHARE**3 + 30.0 * _SHARE**4
_BY_VELOCITY = 1.0 - 18.0 * _SHARE**2 + 32.0 * _SHARE**3 - 15.0 * _SHARE**4
_BY_ACCELERATION = _SHARE - 4.5 * _SHARE**2 + 6.0 * _SHARE**3 - 2.5 * _SHARE**4


@dataclass(frozen=True, eq=False)
class Ease:
    """A movement of C channels; the quintic of least jerk (Flash and Hogan 1985).

    It starts with any position, velocity and acceleration and arrives at rest.  Its time starts at
    0 s.

    Attributes:
        duration_s: how long it takes; it rests afterwards.
        coefficients: ``[6, C]``, powers of the time share in [0, 1], lowest first.
    """

    duration_s: float
    coefficients: Vector

    @classmethod
    def rest(cls, position: Vector) -> Ease:
        """Stay at ``position`` ``[C]``."""
        coefficients = np.zeros((6, position.size))
        coefficients[0] = position
        return cls(1.0, coefficients)

    @classmethod
    def between(
        cls,
        position: Vector,
        velocity: Vector,
        acceleration: Vector,
        target: Vector,
        duration_s: float,
    ) -> Ease:
        """From ``position`` ``[C]`` with a velocity and an acceleration to rest at ``target``."""
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
        return cls(duration_s, coefficients)

    @staticmethod
    def peak_speeds(
        distance: Vector, velocity: Vector, acceleration: Vector, durations_s: Vector
    ) -> Vector:
        """Highest speed ``[K]`` of the movement that `between` would make, a second.

        Args:
            distance, velocity, acceleration: ``[C]``; speed is the length of the C velocities.
            durations_s: ``[K]`` durations to try.
        """
        t = durations_s[:, None, None]
        paths = _BY_DISTANCE * distance / t + _BY_VELOCITY * velocity
        paths = paths + _BY_ACCELERATION * acceleration * t
        peaks: Vector = np.linalg.norm(paths, axis=2).max(axis=1)
        return peaks

    def at(self, now_s: float) -> Vector:
        """Position ``[C]`` at a time."""
        share = min(max(now_s / self.duration_s, 0.0), 1.0)
        position: Vector = share ** np.arange(6) @ self.coefficients
        return position

    def state(self, now_s: float) -> tuple[Vector, Vector, Vector]:
        """Position, velocity and acceleration ``[C]`` at a time."""
        share = min(max(now_s / self.duration_s, 0.0), 1.0)
        powers = share ** np.arange(6)
        slopes = np.array([0.0, *(n * share ** (n - 1) for n in range(1, 6))])
        bends = np.array([0.0, 0.0, *(n * (n - 1) * share ** (n - 2) for n in range(2, 6))])
        position = powers @ self.coefficients
        if share >= 1.0:
            return position, np.zeros_like(position), np.zeros_like(position)
        velocity = slopes @ self.coefficients / self.duration_s
        return position, velocity, bends @ self.coefficients / self.duration_s**2
