"""Mel-frequency cepstra as SyncNet and Light-ASD hear speech: 13 numbers every 10 ms.

Both networks were trained on the features of the package python_speech_features with its defaults,
so every choice here (rectangular window, triangles on whole FFT bins, energy in the place of the
first coefficient) is theirs.  N samples, F cepstral frames.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
WINDOW, STEP, N_FFT = 400, 160, 512
FILTERS, CEPSTRA = 26, 13
PRE_EMPHASIS = 0.97
LIFTER = 22
FULL_SCALE = 32768.0


def mfcc(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[N]`` in [-1, 1] at 16 kHz to ``[F, 13]``; row i hears samples [160 i, 160 i + 400).

    F is 1 + ceil((N - 400) / 160), the last window filled up with zeros: 4 T - 1 for the sound of
    T video frames.  The first column is the log energy of the frame.

    Raises:
        ValueError: if ``samples`` is not one-dimensional or empty.
    """
    if samples.ndim != 1 or not samples.size:
        raise ValueError(f"mfcc needs [N] with N > 0, got {samples.shape}")
    pcm = np.rint(np.clip(samples * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1)).astype(np.float64)
    sharp = np.append(pcm[0], pcm[1:] - PRE_EMPHASIS * pcm[:-1])
    count = 1 + max(0, -(-(sharp.size - WINDOW) // STEP))
    sharp = np.pad(sharp, (0, (count - 1) * STEP + WINDOW - sharp.size))
    windows = np.lib.stride_tricks.sliding_window_view(sharp, WINDOW)[::STEP]
    power = np.abs(np.fft.rfft(windows, N_FFT, axis=1)) ** 2 / N_FFT
    cepstra = _log(power @ mel_triangles().T) @ _dct().T
    cepstra[:, 0] = _log(power.sum(1))
    return cepstra.astype(np.float32)


@lru_cache(maxsize=1)
def mel_triangles() -> NDArray[np.float64]:
    """``[26, 257]`` triangles, evenly spaced in mel (2595 log10(1 + f / 700)), on whole bins."""
    top_mel = 2595.0 * np.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    hz = 700.0 * (10.0 ** (np.linspace(0.0, top_mel, FILTERS + 2) / 2595.0) - 1.0)
    corners = np.floor((N_FFT + 1) * hz / SAMPLE_RATE)[:, None]
    bins = np.arange(N_FFT // 2 + 1)
    rising = (bins - corners[:-2]) / np.diff(corners[:-1], axis=0)
    falling = (corners[2:] - bins) / np.diff(corners[1:], axis=0)
    return np.maximum(0.0, np.minimum(rising, falling))


@lru_cache(maxsize=1)
def _dct() -> NDArray[np.float64]:
    """``[13, 26]`` orthonormal DCT-II, its rows weighted by the sine lifter."""
    row, column = np.arange(CEPSTRA)[:, None], np.arange(FILTERS)
    basis = np.cos(np.pi * row * (2 * column + 1) / (2 * FILTERS)) * np.sqrt(2.0 / FILTERS)
    basis[0] /= np.sqrt(2.0)
    return basis * (1.0 + LIFTER / 2.0 * np.sin(np.pi * row / LIFTER))


def _log(energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Digital silence counts as the smallest step of a double, as in the package."""
    return np.log(np.where(energy == 0.0, np.finfo(np.float64).eps, energy))
