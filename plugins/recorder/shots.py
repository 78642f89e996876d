"""Shots: an outlet's pictures and voice by media time, as `pairing.moments`, but patient.

A picture that a busy computer shows some frames too late is still the picture of its own sound: the
client's player puts it there, and a film has all the time it wants to do the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.media import CHUNK_SAMPLES, FPS, VOICE_PER_FRAME, VideoFrame, VoiceChunk
from daetalker.streamer.outlet import Outlet

__all__ = ["Shot", "shots"]

PATIENCE_FRAMES = FPS // 2


class Shot(NamedTuple):
    """One frame's time.

    Attributes:
        frame: its number; its media time is ``frame / 25`` seconds.
        rgb: ``[S, S, 3]`` uint8, not to be written to.
        pcm: ``[1920]`` int16, mono at 48 kHz.
        held: True if the picture is the one before because the right one never came.
    """

    frame: int
    rgb: NDArray[np.uint8]
    pcm: NDArray[np.int16]
    held: bool


async def shots(outlet: Outlet) -> AsyncGenerator[Shot, None]:
    """Each frame's time from the first picture on, until the session ends; at most 0.5 s late.

    Where this reader itself is so slow that the outlet drops voice, the indices jump.
    """
    pairing = _Pairing()
    try:
        while True:
            voice = await outlet.voice()
            pairing.see(outlet.waiting_video())
            pairing.hear(voice)
            for shot in pairing.ready(PATIENCE_FRAMES):
                yield shot
    except SessionClosed:
        pairing.see(outlet.waiting_video())
        for shot in pairing.ready(0):
            yield shot


class _Pairing:
    def __init__(self) -> None:
        self._shown: VideoFrame | None = None
        # Both are bounded by the patience: whatever is older goes out.
        self._pictures: deque[VideoFrame] = deque()
        self._sounds: deque[tuple[int, NDArray[np.int16]]] = deque()
        self._half: VoiceChunk | None = None

    def see(self, frames: list[VideoFrame]) -> None:
        self._pictures.extend(frames)

    def hear(self, chunk: VoiceChunk) -> None:
        before, self._half = self._half, None
        if chunk.start % VOICE_PER_FRAME == 0:
            self._half = chunk
        elif before is not None and chunk.start == before.start + CHUNK_SAMPLES:
            sound = np.concatenate([before.pcm, chunk.pcm])
            self._sounds.append((before.start // VOICE_PER_FRAME, sound))

    def ready(self, patience: int) -> Iterator[Shot]:
        """What is complete, or has waited long enough."""
        while self._sounds:
            index, sound = self._sounds[0]
            came = bool(self._pictures) and self._pictures[-1].index >= index
            if not came and len(self._sounds) <= patience:
                return
            self._sounds.popleft()
            while self._pictures and self._pictures[0].index <= index:
                self._shown = self._pictures.popleft()
            if self._shown is not None:  # before the first picture there is nothing to film
                yield Shot(index, self._shown.rgb, sound, self._shown.index != index)
