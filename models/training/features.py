"""Windows of speech cut as the stream cuts them, and their acoustic features.

A pseudo-sentence (section 3.2.4) of the stream is a run of windows with a common start; before its
start a window holds silence.  One set of windows is clean and covers the whole recording, the other
is drawn at random with gain, noise and a pseudo-sentence start inside the window.

Shapes: W windows, N samples a window, F feature frames, C feature width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daetalker.models.acoustic import FrontEnd
from daetalker.models.training.data import SAMPLES_PER_FRAME
from daetalker.models.training.progress import View
from daetalker.models.training.store import cached_rows

SILENT = View()


@dataclass(frozen=True)
class WindowSet:
    """Features of many windows.

    Attributes:
        features: ``[W, F, C]`` float16, memory-mapped.
        ends: ``[W]`` video frame after the window's last one.
        history: ``[W]`` frames of the window that hold speech; before them is silence.
        hold: if given, ``[W]`` one video frame that stands for all of the window's frames.
    """

    features: NDArray[np.float16]
    ends: NDArray[np.int64]
    history: NDArray[np.int64]
    hold: NDArray[np.int64] | None = None


def cut_window(audio: NDArray[np.float32], end: int, frames: int) -> NDArray[np.float32]:
    """The ``frames`` video frames of samples before frame ``end``, silent before the start."""
    length = frames * SAMPLES_PER_FRAME
    window = np.zeros(length, np.float32)
    stop = min(end * SAMPLES_PER_FRAME, len(audio))
    start = end * SAMPLES_PER_FRAME - length
    window[max(0, -start) : max(0, stop - start)] = audio[max(0, start) : stop]
    return window


def pink_noise(samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Unit-variance noise that falls 3 dB an octave."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum))))
    noise = np.fft.irfft(spectrum, samples)
    return (noise / noise.std()).astype(np.float32)


def _features(
    name: str,
    cache: Path,
    front_end: FrontEnd,
    windows: int,
    window: Callable[[int], NDArray[np.float32]],
    frames: int,
    view: View,
    batch: int = 32,
) -> NDArray[np.float16]:
    def rows(start: int, stop: int) -> NDArray[np.float16]:
        heard = front_end(np.stack([window(i) for i in range(start, stop)]))
        return heard.numpy().astype(np.float16)

    def progress(done: int, total: int) -> None:
        view.rows("acoustic features, window", done, total)

    shape = (windows, 2 * frames, front_end.width)
    return cached_rows(cache / f"{name}.npy", shape, np.float16, rows, batch, progress)


def clean_windows(
    name: str,
    audio: NDArray[np.float32],
    front_end: FrontEnd,
    cache: Path,
    frames: int = 50,
    first: int = 4,
    step: int = 2,
    view: View = SILENT,
) -> WindowSet:
    """One window every ``step`` video frames over the whole recording."""
    ends = np.arange(first, len(audio) // SAMPLES_PER_FRAME + 1, step)

    def window(i: int) -> NDArray[np.float32]:
        return cut_window(audio, ends[i], frames)

    features = _features(name, cache, front_end, len(ends), window, frames, view)
    return WindowSet(features, ends, np.full(len(ends), frames))


def augmented_windows(
    name: str,
    audio: NDArray[np.float32],
    front_end: FrontEnd,
    cache: Path,
    count: int = 5000,
    frames: int = 50,
    seed: int = 5,
    view: View = SILENT,
) -> WindowSet:
    """Random windows: gain -16 to 6 dB, pink noise at 12 to 45 dB, 3 in 10 start inside."""
    rng = np.random.default_rng(seed)
    total = len(audio) // SAMPLES_PER_FRAME
    ends = rng.integers(8, total + 1, count)
    gain = 10 ** (rng.uniform(-16, 6, count) / 20)
    snr_db = rng.uniform(12, 45, count)
    inside = rng.random(count) < 0.3
    history = np.where(inside, rng.integers(4, frames, count), frames)
    noise = pink_noise(60 * 16_000, rng)
    starts = rng.integers(0, len(noise) - frames * SAMPLES_PER_FRAME, count)

    def window(i: int) -> NDArray[np.float32]:
        x = cut_window(audio, ends[i], frames)
        x[: len(x) - history[i] * SAMPLES_PER_FRAME] = 0.0
        x = x * np.float32(gain[i])
        level = np.sqrt((x**2).mean()) + 1e-6
        hiss = noise[starts[i] : starts[i] + len(x)] * np.float32(level * 10 ** (-snr_db[i] / 20))
        return np.clip(x + hiss, -1.0, 1.0).astype(np.float32)

    features = _features(name, cache, front_end, count, window, frames, view)
    return WindowSet(features, ends, history)


def quiet_windows(
    name: str,
    closed: NDArray[np.int64],
    front_end: FrontEnd,
    cache: Path,
    count: int = 400,
    frames: int = 50,
    seed: int = 6,
    view: View = SILENT,
) -> WindowSet:
    """Digital silence and quiet rooms (pink noise and mains hum below -45 dBFS).

    Args:
        closed: video frames with the mouth shut; each window is given one of them as target.
    """
    rng = np.random.default_rng(seed)
    length = frames * SAMPLES_PER_FRAME
    noise = pink_noise(60 * 16_000, rng)
    level = np.where(rng.random(count) < 0.25, 0.0, 10 ** (rng.uniform(-80, -45, count) / 20))
    starts = rng.integers(0, len(noise) - length, count)
    hum_hz, hum = rng.choice([50.0, 60.0, 100.0, 120.0], count), rng.random(count)
    seconds = np.arange(length) / 16_000

    def window(i: int) -> NDArray[np.float32]:
        tone = hum[i] * np.sin(2 * np.pi * hum_hz[i] * seconds)
        return (level[i] * (noise[starts[i] : starts[i] + length] + tone)).astype(np.float32)

    features = _features(name, cache, front_end, count, window, frames, view)
    whole = np.full(count, frames)
    return WindowSet(features, whole, whole, hold=rng.choice(closed, count))
