"""Feed: voice that comes as data instead of from a microphone, cut into utterances.

A program writes PCM as fast or as slowly as it likes; the session takes it frame by frame in real
time.  An utterance begins and ends on a frame's boundary, so that each frame's 40 ms of voice
belong to one utterance or to none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import VOICE_PER_FRAME, VOICE_RATE

__all__ = ["MAX_RATE", "MIN_RATE", "Feed", "Playback", "Utterance", "VoiceConverter"]

MIN_RATE, MAX_RATE = 8_000, 192_000


@dataclass(frozen=True)
class Playback:
    """How an utterance went.

    Attributes:
        position_s: seconds of it that were given out.
        interrupted: True if it was cut short.
    """

    position_s: float
    interrupted: bool


class Utterance:
    """One thing said, from its first sample to its end or its interruption."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ended = False
        self._pieces: deque[NDArray[np.int16]] = deque()
        self._waiting = 0
        self._length = 0
        self._given_out = 0
        self._done: asyncio.Future[Playback] = asyncio.get_running_loop().create_future()

    async def done(self) -> Playback:
        """Wait until its last sample was given out, or it was interrupted."""
        return await asyncio.shield(self._done)

    @property
    def waiting(self) -> int:
        """Samples at 48 kHz that no frame has taken yet."""
        return self._waiting

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Append ``[N]`` samples at 48 kHz."""
        self._pieces.append(pcm)
        self._waiting += pcm.size
        self._length += pcm.size

    def take(self) -> NDArray[np.int16] | None:
        """A frame's ``[1920]`` samples, None if they are not all there yet.

        The last frame is filled up with zeros; it is all zeros if the end was only known after
        every sample had been taken, for an end needs a frame to be told with.
        """
        if self._waiting < VOICE_PER_FRAME and not self.ended:
            return None
        frame = np.zeros(VOICE_PER_FRAME, np.int16)
        filled = 0
        while self._pieces and filled < frame.size:
            piece = self._pieces.popleft()
            part = piece[: frame.size - filled]
            frame[filled : filled + part.size] = part
            filled += part.size
            if part.size < piece.size:
                self._pieces.appendleft(piece[part.size :])
        self._waiting -= filled
        return frame

    def given_out(self, samples: int) -> None:
        """Count samples that have left the session."""
        self._given_out = min(self._given_out + samples, self._length)

    def finish(self, interrupted: bool) -> None:
        """Tell whoever waits; only the first call counts."""
        if not self._done.done():
            self._done.set_result(Playback(self._given_out / VOICE_RATE, interrupted))


class Feed:
    """The utterances of one session, in order; for the event loop's thread of the session."""

    def __init__(self) -> None:
        self._count = 0
        # Waiting to be taken; the last one may still be written to.  Bounded by `Session.say`.
        self._queue: deque[Utterance] = deque()
        # Taken in whole or in part, but not given out to the end.
        self._sounding: dict[int, Utterance] = {}
        self._drained = asyncio.Event()

    @property
    def active(self) -> bool:
        """True while an utterance is being written or waits: the microphone is not heard."""
        return bool(self._queue)

    @property
    def waiting(self) -> int:
        """Samples at 48 kHz that no frame has taken yet."""
        return sum(utterance.waiting for utterance in self._queue)

    @property
    def current(self) -> Utterance:
        """The utterance that is being written; begins one if need be."""
        if not self._queue or self._queue[-1].ended:
            self._count += 1
            self._queue.append(Utterance(self._count))
            self._sounding[self._count] = self._queue[-1]
        return self._queue[-1]

    def end(self) -> Utterance | None:
        """End the utterance that is being written, and return it; None if there is none."""
        if not self._queue or self._queue[-1].ended:
            return None
        self._queue[-1].ended = True
        return self._queue[-1]

    def take(self) -> tuple[NDArray[np.int16], int, bool] | None:
        """The next frame of voice ``[1920]``, its utterance, and whether it is its last one."""
        if not self._queue:
            return None
        utterance = self._queue[0]
        frame = utterance.take()
        if frame is None:
            return None
        self._drained.set()
        last = utterance.ended and not utterance.waiting
        if last:
            self._queue.popleft()
        return frame, utterance.number, last

    def given_out(self, number: int, samples: int, last: bool) -> None:
        """Note that voice of an utterance has left the session."""
        utterance = self._sounding.get(number)
        if utterance is None:
            return
        utterance.given_out(samples)
        if last:
            del self._sounding[number]
            utterance.finish(interrupted=False)

    def clear(self) -> None:
        """Interrupt everything that is not given out to its end."""
        self._queue.clear()
        sounding, self._sounding = self._sounding, {}
        for utterance in sounding.values():
            utterance.ended = True
            utterance.finish(interrupted=True)
        self._drained.set()

    async def room(self) -> None:
        """Wait until a frame was taken, or all was cleared."""
        self._drained.clear()
        await self._drained.wait()


class VoiceConverter:
    """PCM of one rate, mono or stereo, to mono at 48 kHz, as a stream."""

    def __init__(self, rate: int, channels: int) -> None:
        """A converter of one utterance.

        Raises:
            ValueError: if the rate or the number of channels is out of range.
        """
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(f"rate must be {MIN_RATE} to {MAX_RATE} samples a second, not {rate}")
        if channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, not {channels}")
        self.rate, self.channels = rate, channels
        self._layout = "mono" if channels == 1 else "stereo"
        self._same = (rate, channels) == (VOICE_RATE, 1)
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=VOICE_RATE)

    def push(self, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        """``[N]`` samples, the channels interleaved, to what is ready of them at 48 kHz.

        Raises:
            ValueError: if ``pcm`` is not one-dimensional int16 of whole sample groups.
        """
        if pcm.ndim != 1 or pcm.dtype != np.int16 or pcm.size % self.channels:
            raise ValueError(
                f"voice must be [N] int16, N a multiple of {self.channels} channels, "
                f"got {pcm.shape} {pcm.dtype}"
            )
        if self._same or not pcm.size:
            return pcm
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm).reshape(1, -1), format="s16", layout=self._layout
        )
        frame.sample_rate = self.rate
        return _joined(self._resampler.resample(frame))

    def flush(self) -> NDArray[np.int16]:
        """What the filter still holds; the converter is of no more use then."""
        if self._same:
            return np.zeros(0, np.int16)
        return _joined(self._resampler.resample(None))


def _joined(frames: list[av.AudioFrame]) -> NDArray[np.int16]:
    if not frames:
        return np.zeros(0, np.int16)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16)
