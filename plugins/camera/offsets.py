"""Offsets between pictures and voice, from what arrived at their consumers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import VOICE_PER_FRAME, VOICE_RATE

__all__ = ["Heard", "Offset", "Seen", "offsets", "summary"]

_WINDOW_FRAMES = 5
_SEARCH_S = 0.4
_LEAST_LIKENESS = 0.8
_LEAST_LEVEL = 100.0


class Seen(NamedTuple):
    """A frame at the camera: when it came, and a number that tells it from others."""

    time_s: float
    digest: int


class Heard(NamedTuple):
    """A block of the recording ``[N]`` int16, and when it came."""

    time_s: float
    pcm: NDArray[np.int16]


class Offset(NamedTuple):
    """One comparison: when, and by how much the picture came later than its voice."""

    time_s: float
    offset_s: float


def offsets(
    seen: Sequence[Seen],
    pictures: Mapping[int, int],
    voice: Mapping[int, NDArray[np.int16]],
    heard: Sequence[Heard],
) -> list[Offset]:
    """Compare every picture that can be told from the others and whose voice is loud enough.

    Args:
        seen: what the camera got.
        pictures: digest of each moment's picture, by index.
        voice: ``[1920]`` int16 of each moment, by index.
        heard: what was recorded.
    """
    if not heard:
        return []
    recording = np.concatenate([block.pcm for block in heard]).astype(np.float32)
    ends = np.cumsum([block.pcm.size for block in heard])
    came_s = np.array([block.time_s for block in heard])
    counts = Counter(pictures.values())
    index_of = {digest: index for index, digest in pictures.items() if counts[digest] == 1}
    found = []
    for arrival in seen:
        index = index_of.pop(arrival.digest, None)  # a repetition on the camera does not count
        window = None if index is None else _window(voice, index)
        if window is None:
            continue
        block = min(int(np.searchsorted(came_s, arrival.time_s)), len(ends) - 1)
        sample = _place(recording, window, int(ends[block]))
        if sample is None:
            continue
        block = int(np.searchsorted(ends, sample, side="right"))
        # The block's last sample has just been heard when the block comes.
        heard_s = came_s[block] - (ends[block] - sample) / VOICE_RATE
        found.append(Offset(arrival.time_s, float(arrival.time_s - heard_s)))
    return found


def summary(found: Sequence[Offset], seen: Sequence[Seen]) -> dict[str, float]:
    """The figures of `measure_offset`."""
    times_s = np.array([offset.time_s for offset in found])
    milliseconds = 1000.0 * np.array([offset.offset_s for offset in found])
    slope = np.polyfit((times_s - times_s[0]) / 60.0, milliseconds, 1)[0]
    figures = {
        "camera_microphone_offset_ms": np.median(np.abs(milliseconds)),
        "camera_microphone_offset_p95_ms": np.percentile(np.abs(milliseconds), 95),
        "camera_microphone_bias_ms": np.median(milliseconds),
        "drift_ms_per_minute": slope,
        "camera_fps": (len(seen) - 1) / (seen[-1].time_s - seen[0].time_s),
        "matched": len(found),
    }
    return {name: round(float(value), 2) for name, value in figures.items()}


def _window(voice: Mapping[int, NDArray[np.int16]], index: int) -> NDArray[np.float32] | None:
    """The voice from a picture on; None where it is too quiet to be found."""
    frames = [voice.get(at) for at in range(index, index + _WINDOW_FRAMES)]
    pieces = [frame for frame in frames if frame is not None]
    if len(pieces) < _WINDOW_FRAMES:
        return None
    window = np.concatenate(pieces).astype(np.float32)
    loud = np.sqrt(np.mean(np.square(window[:VOICE_PER_FRAME]))) > _LEAST_LEVEL
    return window if loud else None


def _place(recording: NDArray[np.float32], window: NDArray[np.float32], about: int) -> int | None:
    """Where in the recording the window is, within 0.4 s of sample ``about``; None: nowhere."""
    reach = round(_SEARCH_S * VOICE_RATE)
    first = max(0, about - reach)
    line = recording[first : about + reach + window.size]
    if line.size < window.size:
        return None
    size = 1 << (line.size + window.size).bit_length()
    product = np.fft.rfft(line, size) * np.conj(np.fft.rfft(window, size))
    likeness = np.fft.irfft(product, size)[: line.size - window.size + 1]
    best = int(np.argmax(likeness))
    there = line[best : best + window.size]
    norm = float(np.linalg.norm(there) * np.linalg.norm(window))
    if norm == 0.0 or likeness[best] < _LEAST_LIKENESS * norm:
        return None
    return first + best
