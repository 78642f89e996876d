"""Concealer: what to hear in place of packets that were lost.

Short losses are filled as ITU-T G.711 Appendix I does in principle: the last pitch period goes on,
overlapped with itself so that nothing clicks, and fades to silence within 60 ms.  The voice that
comes after is faded in over the continuation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import VOICE_RATE

__all__ = ["Concealer"]

_SHORTEST_PERIOD = VOICE_RATE // 400  # 400 Hz
_LONGEST_PERIOD = 720  # 67 Hz
_COMPARED = VOICE_RATE // 50
_HISTORY = 2 * _LONGEST_PERIOD + _COMPARED
_STEADY = VOICE_RATE // 100  # 10 ms at full level
_FADE = VOICE_RATE // 20
_OVERLAP = VOICE_RATE // 200
_COARSE = 4


class Concealer:
    """Pure: `hear` what came, `fill` what did not; both return 48 kHz int16 to be heard."""

    def __init__(self) -> None:
        self._history = np.zeros(_HISTORY, np.float32)
        self._cycle: NDArray[np.float32] | None = None
        self._filled = 0

    def hear(self, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        """``[N]`` voice that arrived; after a loss its first 5 ms are blended."""
        heard = pcm.astype(np.float32)
        if self._cycle is not None:
            length = min(_OVERLAP, heard.size)
            share = np.linspace(0.0, 1.0, length, dtype=np.float32)
            heard[:length] = share * heard[:length] + (1 - share) * self._continued(length)
            self._cycle = None
        self._history = np.concatenate([self._history, heard])[-_HISTORY:]
        return np.rint(heard).astype(np.int16)

    def fill(self, samples: int) -> NDArray[np.int16]:
        """``[samples]`` in place of a loss; silence from 60 ms on."""
        if self._cycle is None:
            self._cycle = _last_cycle(self._history)
            self._filled = 0
        filled = self._continued(samples)
        self._history = np.concatenate([self._history, filled])[-_HISTORY:]
        return np.rint(filled).astype(np.int16)

    def _continued(self, samples: int) -> NDArray[np.float32]:
        assert self._cycle is not None
        at = np.arange(self._filled, self._filled + samples)
        self._filled += samples
        gain = np.clip(1.0 - (at - _STEADY) / _FADE, 0.0, 1.0).astype(np.float32)
        continued: NDArray[np.float32] = self._cycle[at % self._cycle.size] * gain
        return continued


def _last_cycle(history: NDArray[np.float32]) -> NDArray[np.float32]:
    """The last pitch period, made to follow itself without a step."""
    period = _pitch_period(history)
    cycle = history[-period:].copy()
    # Its end leads into its own beginning: what came before the period does, so fade into that.
    length = min(_OVERLAP, period // 4)
    share = np.linspace(0.0, 1.0, length, dtype=np.float32)
    before = history[-period - length : -period]
    cycle[-length:] = (1 - share) * cycle[-length:] + share * before
    return cycle


def _pitch_period(history: NDArray[np.float32]) -> int:
    """Samples between alike stretches at the history's end, found coarsely, then exactly."""
    coarse = history.reshape(-1, _COARSE).mean(axis=1)
    found = _best_lag(
        coarse, _COMPARED // _COARSE, _SHORTEST_PERIOD // _COARSE, _LONGEST_PERIOD // _COARSE
    )
    low = max(_SHORTEST_PERIOD, (found - 1) * _COARSE)
    return _best_lag(history, _COMPARED, low, min(_LONGEST_PERIOD, (found + 1) * _COARSE))


def _best_lag(line: NDArray[np.float32], compared: int, low: int, high: int) -> int:
    """The lag in [low, high] at which the line's end is most like what came before."""
    end = line[-compared:]
    earlier = np.lib.stride_tricks.sliding_window_view(line, compared)
    rows = earlier[line.size - compared - np.arange(low, high + 1)]
    likeness = rows @ end / np.sqrt(np.sum(rows * rows, axis=1) + 1.0)
    return low + int(np.argmax(likeness))
