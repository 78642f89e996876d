"""Voice line: the voice that was heard, in chunks, until they are due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import CHUNK_SAMPLES, VoiceChunk
from daetalker.streamer.pacer import Pacer

__all__ = ["VoiceLine"]

# An interrupted voice fades within 10 ms, so that its end is no click.
_FADE = np.linspace(1.0, 0.0, CHUNK_SAMPLES // 2, dtype=np.float32)


class VoiceLine:
    """Cuts voice into chunks of 20 ms and gives each out beside its frame."""

    def __init__(self) -> None:
        self._epoch = 0
        self._rest = np.zeros(0, np.int16)
        self._start = 0
        # Full at 4 s, beyond any delay: the oldest chunk goes.
        self._waiting: asyncio.Queue[tuple[int, VoiceChunk]] = asyncio.Queue(200)

    def push(
        self, pcm: NDArray[np.int16], utterance: int | None = None, last: bool = False
    ) -> None:
        """Take voice ``[N]`` at 48 kHz.

        Args:
            utterance: number of the utterance it belongs to, which begins and ends on chunk
                boundaries.
            last: True if the utterance ends here.
        """
        line = np.concatenate([self._rest, pcm])
        whole = line.size - line.size % CHUNK_SAMPLES
        for place in range(0, whole, CHUNK_SAMPLES):
            end = place + CHUNK_SAMPLES
            chunk = VoiceChunk(self._start, line[place:end], utterance, last and end == whole)
            self._start += CHUNK_SAMPLES
            if self._waiting.full():
                self._waiting.get_nowait()
            self._waiting.put_nowait((self._epoch, chunk))
        self._rest = line[whole:]

    def silence(self) -> None:
        """Make silence of everything that waits."""
        self._epoch += 1
        self._rest = np.zeros_like(self._rest)

    async def give_out(self, pacer: Pacer, give: Callable[[VoiceChunk], None]) -> None:
        """Call ``give`` with every chunk when it is due, for ever."""
        spoken = self._epoch
        while True:
            epoch, chunk = await self._waiting.get()
            await pacer.until_voice(chunk.start)
            if epoch != self._epoch:
                quiet = np.zeros_like(chunk.pcm)
                if spoken == epoch:
                    quiet[: _FADE.size] = np.rint(chunk.pcm[: _FADE.size] * _FADE)
                chunk = VoiceChunk(chunk.start, quiet)
            spoken = self._epoch
            give(chunk)
