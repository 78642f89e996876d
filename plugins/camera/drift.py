"""Drift: keeps the sound device's clock in step with ours, by stretching the voice a little.

A proportional-integral controller of second order, as in a phase-locked loop: the error is how
much later than wanted the voice is heard, the output by how much it is shortened.
"""

from __future__ import annotations

from daetalker.plugins.camera.resample import MAX_CORRECTION

__all__ = ["DriftController"]

_BANDWIDTH_PER_S = 0.15
"""Natural frequency of the loop in rad/s: errors of 10 ms are gone in about half a minute, slowly
enough that nobody hears the pitch move."""

_QUIET_S = 0.002
"""Errors this small are left alone: where both clocks agree, the voice is not touched at all."""


class DriftController:
    """Critically damped; steady drift leaves no error beyond the quiet zone."""

    def __init__(self) -> None:
        self._integral = 0.0
        self.correction = 0.0

    def update(self, error_s: float, dt_s: float) -> float:
        """The correction for the voice of the next ``dt_s`` seconds, -0.005 to 0.005.

        Args:
            error_s: seconds by which the voice is heard later than wanted.
            dt_s: time since the last update.
        """
        felt_s = error_s - min(max(error_s, -_QUIET_S), _QUIET_S)
        proportional = 2.0 * _BANDWIDTH_PER_S * felt_s
        wanted = proportional + self._integral
        # While the limit holds, integrating would only be paid back later as overshoot.
        if abs(wanted) < MAX_CORRECTION or wanted * felt_s < 0.0:
            self._integral += _BANDWIDTH_PER_S**2 * felt_s * dt_s
        self.correction = min(max(wanted, -MAX_CORRECTION), MAX_CORRECTION)
        return self.correction
