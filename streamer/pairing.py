"""Moments: each picture with exactly its 40 ms of voice, for whoever writes both into one place."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_PER_FRAME, VideoFrame, VoiceChunk
from daetalker.streamer.outlet import Outlet

__all__ = ["Moment", "moments"]

_CHUNKS_PER_FRAME = VOICE_PER_FRAME // CHUNK_SAMPLES
_EARLY_FRAMES = 50


@dataclass(frozen=True, eq=False)
class Moment:
    """One frame's time: what is seen and heard in it.

    Attributes:
        index: frame number; its media time is ``index / 25`` seconds.
        rgb: ``[S, S, 3]`` uint8, not to be written to.
        pose: yaw, pitch, roll in degrees.
        speaking: True if the voice gate is more than half open.
        pcm: ``[1920]`` int16, mono at 48 kHz.
        utterance: number of the utterance spoken here, None for microphones and silence.
        last: True if that utterance ends here.
        held: True if the picture is the one before because the right one never came.
    """

    index: int
    rgb: NDArray[np.uint8]
    pose: tuple[float, float, float]
    speaking: bool
    pcm: NDArray[np.int16]
    utterance: int | None
    last: bool
    held: bool


async def moments(outlet: Outlet) -> AsyncGenerator[Moment, None]:
    """Pair an outlet's frames and voice by media time, the indices rising by one.

    The voice leads: it is never skipped by a session, while a slow computer skips pictures.  A
    moment is complete with its second voice chunk, 20 ms after its picture is due.  Where this
    reader itself is too slow and loses voice, the indices jump.

    Args:
        outlet: one that keeps at least 5 frames; nobody else may read it.
    """
    shown: VideoFrame | None = None
    ahead: list[VideoFrame] = []
    chunks: list[VoiceChunk] = []
    # One item but at the very beginning; full: the oldest voice goes.
    early: deque[list[VoiceChunk]] = deque(maxlen=_EARLY_FRAMES)
    try:
        while True:
            chunk = await outlet.voice()
            place = chunk.start % VOICE_PER_FRAME // CHUNK_SAMPLES
            if place == 0 or (chunks and chunk.start != chunks[-1].start + CHUNK_SAMPLES):
                chunks = []
            if len(chunks) != place:
                continue  # the reader joined, or lost a chunk, in mid-frame
            chunks.append(chunk)
            if len(chunks) < _CHUNKS_PER_FRAME:
                continue
            early.append(chunks)
            index = chunks[0].start // VOICE_PER_FRAME
            ahead += outlet.waiting_video()
            while ahead and ahead[0].index <= index:
                shown = ahead.pop(0)
            while shown is not None and early:
                yield _pair(shown, early.popleft())
    except SessionClosed:
        return


def _pair(shown: VideoFrame, chunks: list[VoiceChunk]) -> Moment:
    index = chunks[0].start // VOICE_PER_FRAME
    return Moment(
        index=index,
        rgb=shown.rgb,
        pose=shown.pose,
        speaking=shown.speaking,
        pcm=np.concatenate([chunk.pcm for chunk in chunks]),
        utterance=chunks[0].utterance,
        last=chunks[-1].last,
        held=shown.index != index,
    )
