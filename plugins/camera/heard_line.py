"""Heard line: when each position of the programme is heard, the clock that the pictures follow."""

from __future__ import annotations

__all__ = ["HeardLine"]

_SHARE = 0.1
"""Weight of a new measurement: the reports of a sound device jitter, its sound does not."""

_JUMP_S = 0.03
"""A report this far from what was expected is no jitter: the sound has been shifted."""


class HeardLine:
    """Positions are seconds of voice since the start; times are those of the machine's clock.

    One thread notes, others ask: the line is replaced whole, never changed.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def note(self, position_s: float, heard_s: float) -> None:
        """Position ``position_s`` will be heard at ``heard_s``, as far as the device tells."""
        told_s = heard_s - position_s
        if self._offset_s is None or abs(told_s - self._offset_s) > _JUMP_S:
            self._offset_s = told_s
        else:
            self._offset_s += _SHARE * (told_s - self._offset_s)

    def heard_s(self, position_s: float) -> float | None:
        """When a position is heard; None before anything was noted."""
        return None if self._offset_s is None else position_s + self._offset_s
