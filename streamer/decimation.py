"""Decimation: which frames are drawn when the computer cannot draw all of them."""

from __future__ import annotations

from daetalker.streamer.media import FRAME_S

__all__ = ["SHARES", "Decimation"]

SHARES = ((1, 1), (3, 4), (2, 3), (1, 2), (1, 3), (1, 4), (1, 6))
"""Frames drawn of so many, from all of them down; a share's frames lie evenly in time."""

_FULL = 0.95
"""A share is too much if it would take more than this part of the time."""
_ROOM = 0.75
"""A greater share is tried if it would take less than this part of the time."""
_CALM_S = 0.8
_WARY_S = 1.4
"""How long there must be room before that: at first, and after a try that went wrong."""
_RASH_S = 1.0
_HALF_LIFE_S = 0.12


class Decimation:
    """Pure; one session's choice, from the time its frames take.

    Which frames are drawn depends on their index alone, so they are a regular grid: every second
    one, say, rather than ten in a row and then none.  It goes down at once and up after a calm
    while, straight to what the measured time allows.

    Attributes:
        frame_s: seconds that a frame takes now, waiting for its turn included, smoothed.
    """

    def __init__(self) -> None:
        self.frame_s = 0.0
        self._level = 0
        self._noted_s: float | None = None
        self._roomy_since_s: float | None = None
        self._raised_s: float | None = None
        self._missed_s: float | None = None
        self._calm_s = _CALM_S

    @property
    def share(self) -> float:
        """Part of the frames that is drawn, above 0 to 1."""
        some, of = SHARES[self._level]
        return some / of

    def draws(self, index: int) -> bool:
        """Whether frame ``index`` is one of those."""
        some, of = SHARES[self._level]
        return (index * some) % of < some

    def note(self, took_s: float, now_s: float) -> None:
        """A frame has been drawn at clock time ``now_s`` and took so long, waiting included."""
        # By time and not by frames: with few frames drawn, each must tell more.
        since_s = FRAME_S if self._noted_s is None else now_s - self._noted_s
        self._noted_s = now_s
        self.frame_s += (1.0 - 0.5 ** (since_s / _HALF_LIFE_S)) * (took_s - self.frame_s)
        if self._needs(self._level) > _FULL and self._level < len(SHARES) - 1:
            levels = range(self._level + 1, len(SHARES))
            fits = (level for level in levels if self._needs(level) <= _FULL)
            self._lower(next(fits, levels[-1]), now_s)
            return
        wanted = next(
            (level for level in range(self._level) if self._needs(level) <= _ROOM), self._level
        )
        if wanted == self._level:
            self._roomy_since_s = None
            return
        if self._roomy_since_s is None:
            self._roomy_since_s = now_s
        if now_s - self._roomy_since_s >= self._calm_s:
            self._level, self._raised_s = wanted, now_s
            self._roomy_since_s, self._calm_s = None, _CALM_S

    def miss(self, now_s: float) -> None:
        """A frame that should have been drawn came too late to be worth it: a hole in the grid.

        It may be a hiccup; a second one soon after says that the share is too much.
        """
        again = self._missed_s is not None and now_s - self._missed_s < _RASH_S
        self._missed_s = now_s
        if again and self._level < len(SHARES) - 1:
            self._lower(self._level + 1, now_s)
            self._missed_s, self._calm_s = None, _WARY_S

    def _lower(self, level: int, now_s: float) -> None:
        self._level, self._roomy_since_s = level, None
        if self._raised_s is not None and now_s - self._raised_s < _RASH_S:
            self._calm_s = _WARY_S

    def _needs(self, level: int) -> float:
        """Part of the time that drawing that share would take."""
        some, of = SHARES[level]
        return self.frame_s * some / (of * FRAME_S)
