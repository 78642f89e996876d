"""Media types and their constants: the units everything else in this room speaks.

Time is counted in samples.  Frame f shows the speech of model samples [640 f, 640 (f + 1)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CHUNK_SAMPLES",
    "FPS",
    "FRAME_S",
    "MODEL_RATE",
    "SAMPLES_PER_FRAME",
    "VOICE_PER_FRAME",
    "VOICE_RATE",
    "VideoFrame",
    "VoiceChunk",
    "VoiceResampler",
    "frame_count",
    "to_model_rate",
]

FPS = 25
FRAME_S = 1.0 / FPS
MODEL_RATE = 16_000
VOICE_RATE = 48_000
SAMPLES_PER_FRAME = MODEL_RATE // FPS
VOICE_PER_FRAME = VOICE_RATE // FPS
CHUNK_SAMPLES = 960
"""48 kHz samples in one voice chunk: 20 ms, the packet time of Opus."""

_RATIO = VOICE_RATE // MODEL_RATE
_TAPS = 97


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One picture.

    Attributes:
        index: frame number; the frame's media time is ``index / 25`` seconds.
        rgb: ``[S, S, 3]`` uint8, not to be written to: a held picture is shared between frames.
        pose: yaw, pitch, roll in degrees.
        speaking: True if the voice gate is more than half open.
        latent: ``[512]`` float32, what was decoded.
    """

    index: int
    rgb: NDArray[np.uint8]
    pose: tuple[float, float, float]
    speaking: bool
    latent: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class VoiceChunk:
    """20 ms of voice.

    Attributes:
        start: position of the first sample at 48 kHz; frame f's voice starts at ``1920 f``.
        pcm: ``[960]`` int16.
        utterance: number of the utterance that an agent speaks here; None for a microphone's voice
            and for silence.
        last: True for the last chunk of an utterance that was not interrupted.
    """

    start: int
    pcm: NDArray[np.int16]
    utterance: int | None = None
    last: bool = False


@lru_cache(maxsize=1)
def _low_pass() -> NDArray[np.int64]:
    """Kaiser-windowed sinc, -6 dB at 8 kHz, 15-bit integers that sum to 2**15."""
    n = np.arange(_TAPS) - _TAPS // 2
    taps = np.sinc(n / _RATIO) * np.kaiser(_TAPS, 5.7)
    fixed = np.rint(taps / taps.sum() * 2**15).astype(np.int64)
    fixed[_TAPS // 2] += 2**15 - fixed.sum()
    return np.asarray(fixed, np.int64)


class VoiceResampler:
    """48 kHz int16 to 16 kHz float32, as a stream.

    A linear-phase low-pass in integer arithmetic, so that the result does not depend on how the
    voice is cut into chunks.  It waits for nothing: the output is 1 ms late instead (half of its
    2 ms of taps), a fortieth of a frame.
    """

    def __init__(self) -> None:
        self._tail = np.zeros(_TAPS - 1, np.int64)
        self._phase = 0

    def push(self, pcm: NDArray[np.int16]) -> NDArray[np.float32]:
        """``[N]`` at 48 kHz in, about ``[N / 3]`` in [-1, 1] out."""
        line = np.concatenate([self._tail, pcm.astype(np.int64)])
        self._tail = line[line.size - (_TAPS - 1) :]
        first = -self._phase % _RATIO
        self._phase = (self._phase + pcm.size) % _RATIO
        if first >= pcm.size:
            return np.zeros(0, np.float32)
        views = np.lib.stride_tricks.sliding_window_view(line, _TAPS)[first::_RATIO]
        return (views @ _low_pass()).astype(np.float32) / np.float32(2.0**30)

    def silence(self) -> None:
        """Forget the voice inside the filter, keep the position."""
        self._tail = np.zeros(_TAPS - 1, np.int64)


def to_model_rate(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    """A whole voice from 48 kHz int16 to 16 kHz float32 in [-1, 1], with the filter's last 2 ms.

    Exactly what a live session hears; `frame_count` says how many frames the voice fills.
    """
    return VoiceResampler().push(np.concatenate([pcm, np.zeros(_TAPS - 1, np.int16)]))


def frame_count(pcm: NDArray[np.int16]) -> int:
    """Number of frames that a 48 kHz voice fills, the last one perhaps in part."""
    return -(-pcm.size // VOICE_PER_FRAME)
