"""Programme: what goes out, in which order, without a gap: moments, padded or cut to stay in time.

Picture and voice are always cut together, so nothing here can part them.  Pure: times are
arguments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import FRAME_S, VOICE_PER_FRAME, VOICE_RATE
from daetalker.streamer.pairing import Moment

__all__ = ["Piece", "Programme"]

_QUIET_LEVEL = 160
"""Peak under -46 dBFS: a cut here is not heard."""

_QUIET_ERROR_S = 0.005
_HARD_ERROR_S = 0.06
"""In quiet, errors over 5 ms are cut out at once.  In speech the drift controller has 60 ms to
do it inaudibly; beyond, a cut is the lesser evil."""

_WINDOW = 100
"""Moments, 4 s, whose earliest arrival says when moments are due: lateness is jitter."""

_FADE = np.linspace(0.0, 1.0, VOICE_RATE // 400, dtype=np.float32)
_GROWTH_S, _MOST_S, _SHRINK_PER_S = 0.02, 0.25, 0.01 / 60


@dataclass(frozen=True, eq=False)
class Piece:
    """What is shown and heard next.

    Attributes:
        rgb: ``[S, S, 3]`` uint8; None: nobody has been seen yet.
        pcm: ``[N]`` int16 mono at 48 kHz, N > 0.
    """

    rgb: NDArray[np.uint8] | None
    pcm: NDArray[np.int16]


class Programme:
    """Turns moments as they arrive into an unbroken line of pieces.

    Attributes:
        error_s: by how much later than wanted the last moment is heard; for the drift controller.
        buffer_s: how much voice is kept waiting; grows when it ran dry, shrinks slowly.
        starved: times it ran dry while moments were expected.
        cut_s, padded_s: what was left out and put in to stay in time.
    """

    def __init__(self, buffer_s: float) -> None:
        """An empty programme that keeps ``buffer_s`` seconds of voice waiting."""
        self.error_s = 0.0
        self.buffer_s = buffer_s
        self.starved = 0
        self.cut_s = self.padded_s = 0.0
        self._least_s = buffer_s
        self._rgb: NDArray[np.uint8] | None = None
        self._last_sample = 0
        self._source: object = None
        self._offsets_s: deque[float] = deque(maxlen=_WINDOW)
        self._live = False
        self._seam = False

    def admit(
        self, moment: Moment, source: object, arrived_s: float, heard_s: float
    ) -> list[Piece]:
        """Take the next moment.

        Args:
            source: whose moment; a new source starts a new line of time.
            arrived_s: when it came.
            heard_s: when a sample written now would be heard.
        """
        begins = source is not self._source
        if begins:
            self._source = source
            self._offsets_s.clear()
        self._live = True
        self._offsets_s.append(arrived_s - moment.index * FRAME_S)
        self.buffer_s = max(self._least_s, self.buffer_s - _SHRINK_PER_S * FRAME_S)
        due_s = min(self._offsets_s) + moment.index * FRAME_S
        error_s = heard_s - (due_s + self.buffer_s)
        quiet = int(np.abs(moment.pcm.astype(np.int32)).max()) < _QUIET_LEVEL
        limit_s = _QUIET_ERROR_S if quiet or begins else _HARD_ERROR_S

        pieces = []
        pcm = moment.pcm
        if error_s < -limit_s:
            missing = min(round(-error_s * VOICE_RATE), VOICE_RATE)
            pieces.append(self._silence(missing))
            self.padded_s += missing / VOICE_RATE
            error_s += missing / VOICE_RATE
        elif error_s > limit_s:
            # In speech whole moments go, rather than a piece of each: one seam instead of many.
            surplus = round(error_s * VOICE_RATE) if quiet else VOICE_PER_FRAME
            pcm = pcm[min(surplus, pcm.size) :]
            lost_s = (moment.pcm.size - pcm.size) / VOICE_RATE
            self.cut_s += lost_s
            error_s -= lost_s
            self._seam = True
        self.error_s = error_s
        self._rgb = moment.rgb
        if pcm.size:
            pieces.append(self._sound(pcm))
        return pieces

    def fill(self) -> Piece:
        """A frame's time of silence and the last picture, because nothing has come."""
        if self._live:
            self._live = False
            self.starved += 1
            self.buffer_s = min(self.buffer_s + _GROWTH_S, max(_MOST_S, self._least_s))
        return self._silence(VOICE_PER_FRAME)

    def leave(self) -> None:
        """The source has ended: running dry from here on is no fault."""
        self._source = None
        self._live = False

    def _silence(self, samples: int) -> Piece:
        pcm = np.zeros(samples, np.int16)
        fading = min(samples, _FADE.size)
        pcm[:fading] = np.rint(self._last_sample * (1.0 - _FADE[:fading]))
        self._last_sample = 0
        self._seam = True
        return Piece(self._rgb, pcm)

    def _sound(self, pcm: NDArray[np.int16]) -> Piece:
        if self._seam:
            self._seam = False
            pcm = pcm.copy()
            fading = min(pcm.size, _FADE.size)
            faded = pcm[:fading] * _FADE[:fading] + self._last_sample * (1.0 - _FADE[:fading])
            pcm[:fading] = np.rint(faded)
        self._last_sample = int(pcm[-1])
        return Piece(self._rgb, pcm)
