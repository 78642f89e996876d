"""Log-mel spectrogram of one analysis window, without torch.

The same numbers as Whisper's front-end (Radford et al. 2022): 400-sample Hann windows every 160
samples, 80 Slaney mel bands from 0 to 8 kHz, log10, floored 8 below the maximum.  One departure:
the maximum is never taken below ``FLOOR``, so a quiet window is not blown up into speech.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
N_FFT = 400
HOP = 160
BANDS = 80
FLOOR = 0.5


def _hz_to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = hz * 3.0 / 200.0
    return np.where(hz < 1000.0, linear, 15.0 + np.log(np.maximum(hz, 1e-9) / 1000.0) / _LOG_STEP)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp(_LOG_STEP * (mel - 15.0)))


_LOG_STEP = np.log(6.4) / 27.0


@lru_cache(maxsize=1)
def mel_filters() -> NDArray[np.float32]:
    """Slaney's area-normalised triangular filters, ``[80, 201]``."""
    edges = np.array([0.0, SAMPLE_RATE / 2.0])
    low, high = _hz_to_mel(edges)
    centres = _mel_to_hz(np.linspace(low, high, BANDS + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2.0, N_FFT // 2 + 1)
    width = np.diff(centres)
    ramps = centres[:, None] - bins[None, :]
    rising = -ramps[:-2] / width[:-1, None]
    falling = ramps[2:] / width[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    filters *= (2.0 / (centres[2:] - centres[:-2]))[:, None]
    return filters.astype(np.float32)


@lru_cache(maxsize=1)
def _hann() -> NDArray[np.float32]:
    phase = np.arange(N_FFT) * (2.0 * np.pi / N_FFT)
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mel of a window, ``[N]`` in [-1, 1] at 16 kHz to ``[80, N / 160]``.

    Raises:
        ValueError: if ``samples`` is not one-dimensional or N is not a multiple of 160 over 400.
    """
    if samples.ndim != 1 or samples.size % HOP or samples.size <= N_FFT:
        raise ValueError(f"log_mel needs [N] with N a multiple of {HOP}, got {samples.shape}")
    padded = np.pad(samples.astype(np.float32), N_FFT // 2, mode="reflect")
    starts = np.arange(samples.size // HOP) * HOP
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[starts] * _hann()
    power = np.abs(np.fft.rfft(frames, axis=1)).astype(np.float32) ** 2
    mel = np.log10(np.maximum(mel_filters() @ power.T, 1e-10))
    top = max(float(mel.max()), FLOOR)
    return ((np.maximum(mel, top - 8.0) + 4.0) / 4.0).astype(np.float32)
