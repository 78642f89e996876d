"""Cepstra against numbers that python_speech_features 0.6 gives for the same samples."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.training.mfcc import mfcc

# fmt: off
REFERENCE = {
    0: [18.187, 28.329, 17.904, 7.640, -3.659, -14.352, -21.247, -24.831, -23.658, -19.340,
        -12.451, -5.847, -0.266],
    4: [19.384, 27.082, 5.293, -16.434, -30.142, -30.101, -16.444, 1.635, 15.983, 20.068, 15.280,
        4.892, -4.320],
    8: [19.850, 16.808, -11.295, -30.559, -28.875, -8.059, 16.667, 25.541, 14.808, -5.493, -18.059,
        -16.296, -4.588],
}
# fmt: on


def _chirp() -> NDArray[np.float32]:
    t = np.arange(1600) / 16_000
    pcm = np.rint(8000 * np.sin(2 * np.pi * (200 + 3000 * t) * t))
    return np.asarray(pcm / 32768, np.float32)


def test_a_chirp_gives_the_numbers_of_the_package() -> None:
    cepstra = mfcc(_chirp())
    assert cepstra.shape == (9, 13)
    for row, numbers in REFERENCE.items():
        assert cepstra[row] == pytest.approx(numbers, abs=1e-3)


def test_digital_silence_is_finite_as_in_the_package() -> None:
    cepstra = mfcc(np.zeros(1000, np.float32))
    assert cepstra[0] == pytest.approx([-36.0437, *[0.0] * 12], abs=1e-3)


@pytest.mark.parametrize(
    ("samples", "rows"), [(1, 1), (400, 1), (401, 2), (640, 3), (1280, 7), (6400, 39)]
)
def test_the_last_window_is_filled_up(samples: int, rows: int) -> None:
    assert mfcc(np.zeros(samples, np.float32)).shape == (rows, 13)


def test_rows_do_not_depend_on_what_comes_after_their_window() -> None:
    sound = _chirp()
    assert mfcc(sound[:880]) == pytest.approx(mfcc(sound)[:4], abs=1e-6)


def test_anything_but_samples_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs \[N\]"):
        mfcc(np.zeros((2, 400), np.float32))
    with pytest.raises(ValueError, match=r"needs \[N\]"):
        mfcc(np.zeros(0, np.float32))
