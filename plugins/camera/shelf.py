"""Shelf: the pictures that wait for their voice to be heard, by position in the programme."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from math import floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import FPS

__all__ = ["Shelf", "Showing"]

_CAPACITY = 100


class Showing(NamedTuple):
    """A picture at a moment of the programme.

    Attributes:
        position_s: when it is to be shown, seconds of the programme.
        rgb: ``[S, S, 3]`` uint8; None: the ground alone.
    """

    position_s: float
    rgb: NDArray[np.uint8] | None


class Shelf:
    """Written by the voice's thread, read by the picture's."""

    def __init__(self, fps: int) -> None:
        """A shelf for a camera of ``fps`` frames a second."""
        self._fps = fps
        self._lock = threading.Lock()
        # Full at 4 s: the oldest picture goes; it has long been shown.
        self._positions: list[float] = []
        self._pictures: list[NDArray[np.uint8] | None] = []

    def put(self, position_s: float, rgb: NDArray[np.uint8] | None) -> None:
        """Add a picture; positions rise."""
        with self._lock:
            self._positions.append(position_s)
            self._pictures.append(rgb)
            del self._positions[:-_CAPACITY], self._pictures[:-_CAPACITY]

    def next(self, after_s: float) -> Showing | None:
        """What to show next after what was shown at ``after_s``; None: not known yet.

        A camera of 25 frames a second shows every picture at its own position.  Any other has a
        beat of its own and shows, at each beat, the picture whose position is nearest, the later
        of two equally near.
        """
        with self._lock:
            if self._fps == FPS:
                place = bisect_right(self._positions, after_s)
                if place == len(self._positions):
                    return None
                return Showing(self._positions[place], self._pictures[place])
            beat_s = (floor(after_s * self._fps + 1e-6) + 1) / self._fps
            place = bisect_left(self._positions, beat_s - 1e-9)
            if place == len(self._positions):
                return None  # the nearest one may still come
            if place and beat_s - self._positions[place - 1] < (
                self._positions[place] - beat_s - 1e-9
            ):
                place -= 1
            return Showing(beat_s, self._pictures[place])
