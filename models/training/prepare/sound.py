"""A clip's sound on the clock of its pictures: 16 kHz mono, 640 samples a frame.

Shapes: T frames of 25 a second, N = 640 T samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.data import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, DataError
from daetalker.models.training.prepare.source import Clip

# Sound that strays further than this from where it should be has a hole, or runs over one.
HOLE_S = 0.04
FULL_SCALE = 0.999


@dataclass(frozen=True)
class Sound:
    """What was heard.

    Attributes:
        samples: ``[N]`` float32 in [-1, 1]; zero where there is none.
        covered: ``[T]`` share of each frame's samples that the file holds.
        clipped: ``[T]`` share of each frame's samples, as stored, that stand at full scale.
    """

    samples: NDArray[np.float32]
    covered: NDArray[np.float32]
    clipped: NDArray[np.float32]

    @property
    def level_db(self) -> float:
        """Loudness of the loudest tenth of the frames, in dB of full scale: speech, not pauses."""
        if not self.samples.size:
            return -200.0
        power = np.square(self.samples.reshape(-1, SAMPLES_PER_FRAME), dtype=np.float64).mean(1)
        return float(10 * np.log10(np.quantile(power, 0.9) + 1e-20))


def read_sound(clip: Clip, frames: int) -> Sound:
    """The first audio stream from the first picture on, for ``frames`` frames.

    Raises:
        DataError: if the sound cannot be decoded.
    """
    samples = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
    there = np.zeros(frames * SAMPLES_PER_FRAME, np.bool_)
    full, stored = np.zeros(frames), np.zeros(frames)

    def place(position: int, chunk: NDArray[np.float32]) -> int:
        first, last = max(0, position), min(len(samples), position + len(chunk))
        if last > first:
            samples[first:last] = chunk[first - position : last - position]
            there[first:last] = True
        return position + len(chunk)

    try:
        with av.open(str(clip.path)) as container:
            resampler: av.AudioResampler | None = None
            position, expected_s = 0, 0.0
            for frame in container.decode(audio=0):
                time_s = float(frame.time) - clip.start_s if frame.time is not None else expected_s
                if resampler is None or abs(time_s - expected_s) > HOLE_S:
                    if resampler is not None:
                        for chunk in _resampled(resampler, None):
                            position = place(position, chunk)
                    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
                    position, expected_s = round(time_s * SAMPLE_RATE), time_s
                _count_full(frame, time_s, full, stored)
                expected_s += frame.samples / frame.sample_rate
                for chunk in _resampled(resampler, frame):
                    position = place(position, chunk)
            if resampler is not None:
                for chunk in _resampled(resampler, None):
                    position = place(position, chunk)
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"cannot read the sound of {clip.path}: {error}") from error
    covered = there.reshape(-1, SAMPLES_PER_FRAME).mean(1).astype(np.float32)
    clipped = (full / np.maximum(stored, 1)).astype(np.float32)
    return Sound(np.clip(samples, -1, 1), covered, clipped)


def _resampled(
    resampler: av.AudioResampler, frame: av.AudioFrame | None
) -> Iterator[NDArray[np.float32]]:
    for out in resampler.resample(frame):
        yield out.to_ndarray().reshape(-1).astype(np.float32, copy=False)


def shifted(samples: NDArray[np.float32], late_ms: float) -> NDArray[np.float32]:
    """``[N]`` with sound that came ``late_ms`` after its picture moved forward to it."""
    shift = round(late_ms * SAMPLE_RATE / 1000)
    out = np.zeros_like(samples)
    if abs(shift) < len(samples):
        if shift >= 0:
            out[: len(samples) - shift] = samples[shift:]
        else:
            out[-shift:] = samples[:shift]
    return out


def _count_full(
    frame: av.AudioFrame, time_s: float, full: NDArray[np.float64], stored: NDArray[np.float64]
) -> None:
    """Add the samples at full scale, and all samples, to the frames they belong to."""
    raw = frame.to_ndarray()
    channels = frame.layout.nb_channels
    raw = raw if frame.format.is_planar else raw.reshape(-1, channels).T
    if raw.dtype == np.uint8:
        loud = np.abs(raw.astype(np.float32) - 128) / 127
    elif raw.dtype in (np.int16, np.int32):
        loud = np.abs(raw.astype(np.float32)) / (2.0 ** (8 * raw.itemsize - 1) - 1)
    else:
        loud = np.abs(raw.astype(np.float32))
    at_full: NDArray[np.bool_] = np.any(loud >= FULL_SCALE, axis=0)
    times_s = time_s + np.arange(len(at_full)) / frame.sample_rate
    number = np.floor(times_s * FPS).astype(np.int64)
    inside = (number >= 0) & (number < len(full))
    np.add.at(full, number[inside], at_full[inside])
    np.add.at(stored, number[inside], 1.0)
