"""Slow resampling: a voice made longer or shorter by a few thousandths, without a seam."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_CORRECTION", "SlowResampler"]

MAX_CORRECTION = 0.005
"""The most by which a voice is stretched; its pitch changes by a twelfth of a semitone."""

_TAPS = 32
_PHASES = 256


@lru_cache(maxsize=1)
def _table() -> NDArray[np.float32]:
    """``[257, 32]`` taps of a Kaiser-windowed sinc for each fraction of a sample.

    -6 dB at the half rate, flat to 20 kHz; linear phase, so that nothing but time moves.
    """
    fraction = np.arange(_PHASES + 1)[:, None] / _PHASES
    place = np.arange(_TAPS)[None, :] - (_TAPS // 2 - 1) - fraction
    window = np.i0(9.0 * np.sqrt(np.clip(1.0 - (place / (_TAPS / 2)) ** 2, 0.0, 1.0))) / np.i0(9.0)
    taps = np.sinc(place) * window
    return np.asarray(taps / taps.sum(axis=1, keepdims=True), np.float32)


class SlowResampler:
    """A stream in, a stream out; where no correction was ever asked for, an exact copy.

    Attributes:
        held: input samples taken in whose sound has not been given out yet, with its fraction.
    """

    def __init__(self) -> None:
        self._line = np.zeros(_TAPS // 2 - 1, np.float32)
        self._at = 0.0

    @property
    def held(self) -> float:
        return self._line.size - (_TAPS // 2 - 1) - self._at

    def push(self, pcm: NDArray[np.int16], correction: float) -> NDArray[np.int16]:
        """``[N]`` in, about ``[N * (1 - correction)]`` out.

        Args:
            correction: how much shorter the sound gets, -0.005 to 0.005; below 0: longer.
        """
        self._line = np.concatenate([self._line, pcm.astype(np.float32)])
        step = 1.0 / (1.0 - float(np.clip(correction, -MAX_CORRECTION, MAX_CORRECTION)))
        # Output k stands at input self._at + k * step; its taps begin there and must be all here.
        last = self._line.size - _TAPS
        count = max(0, int((last - self._at) // step) + 1)
        if count == 0:
            return np.zeros(0, np.int16)
        places = self._at + step * np.arange(count)
        whole = places.astype(np.int64)
        sound = self._interpolate(whole, places - whole)
        self._at += step * count
        used = min(int(self._at), self._line.size)
        self._line = self._line[used:]
        self._at -= used
        return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)

    def _interpolate(
        self, whole: NDArray[np.int64], fraction: NDArray[np.floating[Any]]
    ) -> NDArray[np.float32]:
        views = np.lib.stride_tricks.sliding_window_view(self._line, _TAPS)[whole]
        if not fraction.any():
            return np.asarray(views[:, _TAPS // 2 - 1])
        scaled = fraction * _PHASES
        phase = scaled.astype(np.int64)
        between = (scaled - phase).astype(np.float32)[:, None]
        table = _table()
        taps = table[phase] * (1.0 - between) + table[phase + 1] * between
        return np.asarray(np.einsum("kt,kt->k", views, taps))
