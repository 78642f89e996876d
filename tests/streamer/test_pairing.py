"""Moments: voice leads, pictures are held where they are missing."""

from __future__ import annotations

import asyncio

import numpy as np

from daetalker.streamer.media import CHUNK_SAMPLES, VideoFrame, VoiceChunk
from daetalker.streamer.outlet import Outlet
from daetalker.streamer.pairing import Moment, moments


def frame(index: int) -> VideoFrame:
    rgb = np.full((2, 2, 3), index, np.uint8)
    return VideoFrame(index, rgb, (0.0, 0.0, 0.0), False, np.zeros(4, np.float32))


def chunk(number: int, utterance: int | None = None, last: bool = False) -> VoiceChunk:
    pcm = np.full(CHUNK_SAMPLES, number, np.int16)
    return VoiceChunk(number * CHUNK_SAMPLES, pcm, utterance, last)


async def paired(frames: list[int], chunks: list[VoiceChunk]) -> list[Moment]:
    outlet = Outlet(frames=50)
    for index in frames:
        outlet.offer_video(frame(index))
    for piece in chunks:
        outlet.offer_voice(piece)
    outlet.close()
    return [moment async for moment in moments(outlet)]


async def test_each_picture_has_exactly_its_voice() -> None:
    seen = await paired([0, 1, 2], [chunk(n) for n in range(6)])
    assert [m.index for m in seen] == [0, 1, 2]
    assert [int(m.rgb[0, 0, 0]) for m in seen] == [0, 1, 2]
    assert [(int(m.pcm[0]), int(m.pcm[-1])) for m in seen] == [(0, 1), (2, 3), (4, 5)]
    assert not any(m.held for m in seen)


async def test_a_missing_picture_is_held() -> None:
    seen = await paired([0, 3], [chunk(n) for n in range(8)])
    assert [(int(m.rgb[0, 0, 0]), m.held) for m in seen] == [
        (0, False), (0, True), (0, True), (3, False)
    ]  # fmt: skip


async def test_voice_before_the_first_picture_waits_for_it() -> None:
    outlet = Outlet(frames=50)
    for number in range(4):
        outlet.offer_voice(chunk(number))
    reading = asyncio.create_task(anext(moments(outlet)))
    await asyncio.sleep(0.01)
    assert not reading.done()
    outlet.offer_video(frame(2))
    for number in range(4, 6):
        outlet.offer_voice(chunk(number))
    first = await reading
    assert (first.index, int(first.rgb[0, 0, 0]), first.held) == (0, 2, True)
    assert int(first.pcm[0]) == 0, "no word is lost"
    outlet.close()


async def test_who_joins_in_mid_frame_starts_with_the_next() -> None:
    seen = await paired([4, 5], [chunk(n) for n in range(9, 12)])
    assert [m.index for m in seen] == [5]
    assert int(seen[0].rgb[0, 0, 0]) == 5


async def test_lost_voice_makes_indices_jump_and_never_mixes_frames() -> None:
    seen = await paired([0, 1, 2, 3], [chunk(0), chunk(1), chunk(2), chunk(5), chunk(6), chunk(7)])
    assert [m.index for m in seen] == [0, 3]
    assert [(int(m.pcm[0]), int(m.pcm[-1])) for m in seen] == [(0, 1), (6, 7)]


async def test_an_utterances_end_is_told_with_its_last_moment() -> None:
    said = [chunk(0), chunk(1), chunk(2, 1), chunk(3, 1), chunk(4, 1), chunk(5, 1, last=True)]
    seen = await paired([0, 1, 2], said)
    assert [(m.utterance, m.last) for m in seen] == [(None, False), (1, False), (1, True)]
