"""Intake: turns voice as it arrives into one unbroken line of samples that keeps up with time.

Packets come late, twice, too early or not at all; behind the intake every sample has a position,
and position n means n / 48000 seconds after the session's start.

A voice is *ahead* by what its position says more than the clock.  That is the reserve out of which
late packets are paid, and it is delay: so it is kept as small as the latest packets of the last
seconds allow, by leaving out or putting in silence while nobody speaks.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_RATE

__all__ = ["Intake"]

_DRY_SAMPLES = VOICE_RATE // 10
_SURPLUS_SAMPLES = VOICE_RATE // 5
_QUIET_LEVEL = 160
_JUMP_SAMPLES = VOICE_RATE

# The latest packets but one in fifty should be just in time: between these.  A voice that comes
# to a silent line begins in the middle, wherever between two ticks its first packet falls.
_SPARE_SAMPLES = CHUNK_SAMPLES + VOICE_RATE // 1000
_AIMED_SAMPLES = VOICE_RATE // 125
_SHORT_SAMPLES = -VOICE_RATE // 200
_SILENCE_BEHIND = CHUNK_SAMPLES - _AIMED_SAMPLES
_REMEMBERED = 250
_ENOUGH = 10


class Intake:
    """Pure; ``elapsed_s`` is the time since the session's start.

    Attributes:
        heard: samples let through so far, silence put in included.
        gaps: times the voice ran dry or lost samples, each filled with silence.
        surplus_samples: samples dropped because they came more than 200 ms ahead of time, or quiet
            ones (peak under -46 dBFS) that were further ahead than the network makes necessary.
        reserve_samples: silence put in for late packets so far, and not taken out again.
    """

    def __init__(self) -> None:
        self.heard = 0
        self.gaps = 0
        self.surplus_samples = 0
        self.reserve_samples = 0
        # Nobody has spoken yet, which is no gap, but silence must flow.
        self._dry = True
        self._anchor: int | None = None
        self._ahead: deque[int] = deque(maxlen=_REMEMBERED)

    def accept(
        self, pcm: NDArray[np.int16], pts: int | None, elapsed_s: float
    ) -> NDArray[np.int16]:
        """Take voice ``[N]`` at 48 kHz.

        Args:
            pts: position of its first sample on the sender's timeline, if known; lost samples
                become silence, repeated ones are dropped.

        Returns:
            What goes on down the line, silence for losses included.
        """
        line = pcm
        if pts is not None:
            line = self._place(pcm, pts)
        self._dry = False
        now = int(elapsed_s * VOICE_RATE)
        kept: list[NDArray[np.int16]] = []
        for start in range(0, line.size, CHUNK_SAMPLES):
            piece = line[start : start + CHUNK_SAMPLES]
            # A whole piece goes rather than its end: one clean cut, and room for a while.
            if self.heard + piece.size - now > _SURPLUS_SAMPLES:
                self._leave_out(piece.size)
                continue
            if _is_quiet(piece):
                piece = self._adjusted(piece)
            self.heard += piece.size
            kept.append(piece)
        self._ahead.append(self.heard - now)
        return np.concatenate(kept) if kept else np.zeros(0, np.int16)

    def _adjusted(self, quiet: NDArray[np.int16]) -> NDArray[np.int16]:
        """A quiet piece, shorter or longer by what the reserve is too large or too small."""
        if len(self._ahead) < _ENOUGH:
            return quiet
        latest = sorted(self._ahead)[len(self._ahead) // 50]
        if latest > _SPARE_SAMPLES:
            spare = min(latest - _AIMED_SAMPLES, quiet.size)
            self._leave_out(spare)
            self._shift(-spare)
            return quiet[spare:]
        if latest < _SHORT_SAMPLES:
            more = min(-latest, CHUNK_SAMPLES)
            self._shift(more)
            return np.concatenate([np.zeros(more, np.int16), quiet])
        return quiet

    def _leave_out(self, samples: int) -> None:
        self.surplus_samples += samples
        if self._anchor is not None:
            self._anchor += samples

    def _shift(self, samples: int) -> None:
        self.reserve_samples = max(0, self.reserve_samples + samples)
        if samples > 0 and self._anchor is not None:
            self._anchor -= samples
        self._ahead = deque((ahead + samples for ahead in self._ahead), _REMEMBERED)

    def keep_up(self, elapsed_s: float) -> NDArray[np.int16]:
        """Silence to put in now, ``[N]``, N >= 0, because the voice is more than 100 ms late.

        Once dry, the line is filled every time, to 12 ms before the present, until voice comes.
        """
        late = int(elapsed_s * VOICE_RATE) - self.heard
        behind = late - _SILENCE_BEHIND
        if not self._dry and late > _DRY_SAMPLES:
            self._dry = True
            self.gaps += 1
        if not self._dry or behind <= 0:
            return np.zeros(0, np.int16)
        # The sender's clock is lined up anew with the packet that ends the drought.
        self._anchor = None
        self._ahead.clear()
        self.heard += behind
        return np.zeros(behind, np.int16)

    def put(self, samples: int) -> None:
        """Count samples that went down the line from elsewhere, the sender's voice unheard."""
        self._dry = True
        self._anchor = None
        self._ahead.clear()
        self.heard += samples

    def _place(self, pcm: NDArray[np.int16], pts: int) -> NDArray[np.int16]:
        if self._anchor is None:
            self._anchor = pts - self.heard
        lost = pts - self._anchor - self.heard
        if abs(lost) > _JUMP_SAMPLES:  # the sender's clock jumped; go on from here
            self._anchor = pts - self.heard
            return pcm
        if lost > 0:
            self.gaps += 1
            return np.concatenate([np.zeros(lost, np.int16), pcm])
        return pcm[-lost:] if lost else pcm


def _is_quiet(piece: NDArray[np.int16]) -> bool:
    return int(np.abs(piece.astype(np.int32)).max(initial=0)) < _QUIET_LEVEL
