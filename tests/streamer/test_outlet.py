from __future__ import annotations

import asyncio

import numpy as np
import pytest

from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.media import CHUNK_SAMPLES, VideoFrame, VoiceChunk
from daetalker.streamer.outlet import Outlet


def frame(index: int) -> VideoFrame:
    blank = np.zeros((2, 2, 3), np.uint8)
    return VideoFrame(index, blank, (0.0, 0.0, 0.0), False, np.zeros(4, np.float32))


def chunk(n: int) -> VoiceChunk:
    return VoiceChunk(n * CHUNK_SAMPLES, np.zeros(CHUNK_SAMPLES, np.int16))


async def test_the_latest_frame_wins_and_drops_are_counted() -> None:
    outlet = Outlet()
    for n in range(3):
        outlet.offer_video(frame(n))
    assert (await outlet.video()).index == 2
    assert outlet.dropped_frames == 2


async def test_a_recorder_gets_every_frame() -> None:
    outlet = Outlet(frames=3)
    for n in range(3):
        outlet.offer_video(frame(n))
    assert [f.index for f in outlet.waiting_video()] == [0, 1, 2]
    assert outlet.dropped_frames == 0 and outlet.waiting_video() == []


async def test_voice_is_kept_for_two_seconds_then_the_oldest_goes() -> None:
    outlet = Outlet()
    for n in range(103):
        outlet.offer_voice(chunk(n))
    assert (await outlet.voice()).start == 3 * CHUNK_SAMPLES
    assert outlet.dropped_chunks == 3


async def test_a_waiting_reader_gets_the_next_frame() -> None:
    outlet = Outlet()
    reader = asyncio.create_task(outlet.video())
    await asyncio.sleep(0)
    outlet.offer_video(frame(5))
    assert (await reader).index == 5


async def test_closing_wakes_readers_once_what_is_left_is_read() -> None:
    left: list[Outlet] = []
    with Outlet(leave=left.append) as outlet:
        outlet.offer_video(frame(1))
        reader = asyncio.create_task(outlet.voice())
        await asyncio.sleep(0)
    with pytest.raises(SessionClosed):
        await reader
    assert (await outlet.video()).index == 1
    with pytest.raises(SessionClosed):
        await outlet.video()
    outlet.close()
    outlet.offer_video(frame(2))
    assert left == [outlet] and outlet.waiting_video() == []
