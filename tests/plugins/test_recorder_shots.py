"""Pictures find their own sound, also those that are late."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import numpy as np

from daetalker.plugins.recorder.shots import PATIENCE_FRAMES, Shot, shots
from daetalker.streamer.media import CHUNK_SAMPLES, VideoFrame, VoiceChunk
from daetalker.streamer.outlet import Outlet


def picture(index: int) -> VideoFrame:
    rgb = np.full((2, 2, 3), index, np.uint8)
    return VideoFrame(index, rgb, (0.0, 0.0, 0.0), False, np.zeros(1, np.float32))


def chunks(index: int) -> list[VoiceChunk]:
    return [
        VoiceChunk((2 * index + half) * CHUNK_SAMPLES, np.full(CHUNK_SAMPLES, index, np.int16))
        for half in (0, 1)
    ]


async def film(frames: int, late: int, skipped: range = range(0)) -> list[Shot]:
    """A session whose pictures come ``late`` frames after their voice."""
    outlet = Outlet(frames=50)

    async def play() -> None:
        for index in range(frames + late):
            if index < frames:
                for chunk in chunks(index):
                    outlet.offer_voice(chunk)
            if index >= late and index - late not in skipped:
                outlet.offer_video(picture(index - late))
            await asyncio.sleep(0)
        outlet.close()

    playing = asyncio.create_task(play())
    async with aclosing(shots(outlet)) as film:
        taken = [shot async for shot in film]
    await playing
    return taken


async def test_pictures_in_time_and_late_ones_are_with_their_sound() -> None:
    for late in (0, 1, 5, PATIENCE_FRAMES - 1):
        taken = await film(40, late)
        assert [shot.frame for shot in taken] == list(range(40))
        for shot in taken:
            assert not shot.held
            assert shot.rgb[0, 0, 0] == shot.frame == shot.pcm[0] == shot.pcm[-1]


async def test_a_skipped_picture_is_held() -> None:
    taken = await film(40, 3, skipped=range(10, 14))
    assert [shot.frame for shot in taken] == list(range(40))
    assert [shot.frame for shot in taken if shot.held] == [10, 11, 12, 13]
    assert {int(shot.rgb[0, 0, 0]) for shot in taken[10:14]} == {9}
    assert taken[14].rgb[0, 0, 0] == 14


async def test_patience_has_an_end() -> None:
    outlet = Outlet(frames=50)
    outlet.offer_video(picture(0))
    for index in range(PATIENCE_FRAMES + 4):
        for chunk in chunks(index):
            outlet.offer_voice(chunk)
    taken = []
    async with aclosing(shots(outlet)) as film:
        async for shot in film:
            taken.append(shot)
            if shot.frame == 3:
                break
    assert [shot.held for shot in taken] == [False, True, True, True]


async def test_it_begins_in_mid_frame_and_with_the_first_picture() -> None:
    outlet = Outlet(frames=50)
    for index in range(4):
        for chunk in chunks(index)[index == 0 :]:
            outlet.offer_voice(chunk)
        if index >= 2:
            outlet.offer_video(picture(index))
    outlet.close()
    async with aclosing(shots(outlet)) as film:
        assert [shot.frame async for shot in film] == [2, 3]
