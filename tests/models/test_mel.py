"""The log-mel against a slow, literal computation, and its floor."""

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.mel import BANDS, HOP, N_FFT, log_mel, mel_filters


def literal(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """One frame at a time, straight from the definition."""
    padded = np.concatenate([samples[1:201][::-1], samples, samples[-201:-1][::-1]])
    window = np.array([0.5 - 0.5 * np.cos(2 * np.pi * n / N_FFT) for n in range(N_FFT)])
    columns = []
    for i in range(len(samples) // HOP):
        spectrum = np.fft.fft(padded[i * HOP : i * HOP + N_FFT] * window)[: N_FFT // 2 + 1]
        columns.append(np.log10(np.maximum(mel_filters() @ np.abs(spectrum) ** 2, 1e-10)))
    mel = np.stack(columns, 1)
    scaled: NDArray[np.float64] = (np.maximum(mel, max(mel.max(), 0.5) - 8.0) + 4.0) / 4.0
    return scaled


def test_matches_the_definition() -> None:
    samples = np.random.default_rng(1).standard_normal(32_000).astype(np.float32) * 0.1
    out = log_mel(samples)
    assert out.shape == (BANDS, 200) and out.dtype == np.float32
    np.testing.assert_allclose(out, literal(samples), atol=2e-5)


def test_a_quiet_window_is_not_blown_up() -> None:
    rng = np.random.default_rng(2)
    loud = log_mel(rng.standard_normal(32_000).astype(np.float32) * 0.1)
    quiet = log_mel(rng.standard_normal(32_000).astype(np.float32) * 1e-5)
    assert quiet.max() < loud.min() + 0.2
    assert np.ptp(log_mel(np.zeros(32_000, np.float32))) == 0.0


def test_a_tone_lights_its_band() -> None:
    t = np.arange(32_000) / 16_000
    low, high = (log_mel(np.sin(2 * np.pi * hz * t).astype(np.float32)) for hz in (300, 3000))
    assert low.mean(1).argmax() < high.mean(1).argmax()
    assert np.all(np.diff(np.flatnonzero(mel_filters()[40])) == 1)


@pytest.mark.parametrize("shape", [(100,), (32_001,), (2, 32_000)])
def test_bad_lengths_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiple of 160"):
        log_mel(np.zeros(shape, np.float32))
