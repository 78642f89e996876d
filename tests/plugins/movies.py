"""Reading back what a recorder wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

RATE = 48_000


@dataclass
class Movie:
    """A decoded file: times in seconds, pictures ``[F, S, S, 3]``, sound ``[N]`` from time 0."""

    times_s: list[float]
    pictures: NDArray[np.uint8]
    sound: NDArray[np.float64]


def read_movie(path: Path | str) -> Movie:
    times, pictures, pieces, first = [], [], [], None
    with av.open(str(path)) as movie:
        for picture in movie.decode(video=0):
            assert picture.pts is not None and picture.time_base is not None
            times.append(float(picture.pts * picture.time_base))
            pictures.append(picture.to_ndarray(format="rgb24"))
    with av.open(str(path)) as movie:
        for sound in movie.decode(audio=0):
            assert sound.pts is not None and sound.time_base is not None
            first = float(sound.pts * sound.time_base) if first is None else first
            pieces.append(sound.to_ndarray().reshape(-1).astype(np.float64))
    before = np.zeros(round((first or 0.0) * RATE))
    return Movie(times, np.stack(pictures), np.concatenate([before, *pieces]))


def shift(sound: NDArray[np.float64], voice: NDArray[np.int16], most: int = 3000) -> int:
    """By how many samples ``sound`` comes later than ``voice``: where they match best."""
    length = min(sound.size, voice.size) - 2 * most
    assert length > 4800
    line = sound[: length + 2 * most]
    size = 1 << (line.size + length).bit_length()
    spectrum = np.fft.rfft(line, size) * np.conj(np.fft.rfft(voice[most : most + length], size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: 2 * most])) - most


def find(piece: NDArray[Any], line: NDArray[Any]) -> tuple[int, float]:
    """Where a piece of sound is in a line of sound, and how alike it is there, 1 the most."""
    line, piece = line.astype(np.float64), piece.astype(np.float64)
    size = 1 << (line.size + piece.size).bit_length()
    spectrum = np.fft.rfft(line, size) * np.conj(np.fft.rfft(piece, size))
    match = np.fft.irfft(spectrum, size)[: line.size - piece.size + 1]
    at = int(np.argmax(match))
    there = line[at : at + piece.size]
    return at, float(match[at] / (np.linalg.norm(there) * np.linalg.norm(piece) + 1e-9))


def noise(seconds: float, seed: int = 0) -> NDArray[np.int16]:
    """A hiss whose every stretch is its own: the best thing to find a place in."""
    rng = np.random.default_rng(seed)
    hiss = np.convolve(rng.standard_normal(round(seconds * RATE)), np.ones(6) / 6, "same")
    return np.asarray(np.clip(hiss * 8000, -32000, 32000), np.int16)
