"""Intake: turns voice as it arrives into one unbroken line of samples that keeps up with time.

Packets come late, twice, too early or not at all; behind the intake every sample has a position,
and position n means n / 48000 seconds after the session's start.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_RATE

__all__ = ["Intake"]

_DRY_SAMPLES = VOICE_RATE // 10
_SURPLUS_SAMPLES = VOICE_RATE // 5
# What a burst after a hiccup leaves ahead of time is won back in the pauses of the speech; half a
# frame more than a packet's own length is normal.
_EAGER_SAMPLES = VOICE_RATE // 25
_QUIET_LEVEL = 160
_JUMP_SAMPLES = VOICE_RATE


class Intake:
    """Pure; ``elapsed_s`` is the time since the session's start.

    Attributes:
        heard: samples let through so far, silence put in included.
        gaps: times the voice ran dry or lost samples, each filled with silence.
        surplus_samples: samples dropped because they came more than 200 ms ahead of time, or quiet
            ones (peak under -46 dBFS) more than 40 ms ahead, so that delay does not pile up.
    """

    def __init__(self) -> None:
        self.heard = 0
        self.gaps = 0
        self.surplus_samples = 0
        # Nobody has spoken yet, which is no gap, but silence must flow.
        self._dry = True
        self._anchor: int | None = None

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
        # Whole packets go rather than their ends: one clean cut, and room for a while.
        now = int(elapsed_s * VOICE_RATE)
        kept: list[NDArray[np.int16]] = []
        for start in range(0, line.size, CHUNK_SAMPLES):
            piece = line[start : start + CHUNK_SAMPLES]
            ahead = self.heard + piece.size - now
            if ahead > _SURPLUS_SAMPLES or (ahead > _EAGER_SAMPLES and _is_quiet(piece)):
                self.surplus_samples += piece.size
                if self._anchor is not None:
                    self._anchor += piece.size
            else:
                self.heard += piece.size
                kept.append(piece)
        return np.concatenate(kept) if kept else np.zeros(0, np.int16)

    def keep_up(self, elapsed_s: float) -> NDArray[np.int16]:
        """Silence to put in now, ``[N]``, N >= 0, because the voice is more than 100 ms late.

        Once dry, the line is filled up to the present every time, until voice comes again.
        """
        behind = int(elapsed_s * VOICE_RATE) - self.heard
        if not self._dry and behind > _DRY_SAMPLES:
            self._dry = True
            self.gaps += 1
        if not self._dry or behind <= 0:
            return np.zeros(0, np.int16)
        # The sender's clock is lined up anew with the packet that ends the drought.
        self._anchor = None
        self.heard += behind
        return np.zeros(behind, np.int16)

    def put(self, samples: int) -> None:
        """Count samples that went down the line from elsewhere, the sender's voice unheard."""
        self._dry = True
        self._anchor = None
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
