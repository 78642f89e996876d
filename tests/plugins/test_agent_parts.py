"""The agent plugin's parts that need no server."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from pydantic import ValidationError

from daetalker.plugins.agent.backlog import Backlog, Full, Piece
from daetalker.plugins.agent.media import Picture, Sound, pack_sound, pack_video, unpack
from daetalker.plugins.agent.messages import End, Finished, Started, read
from daetalker.plugins.agent.plugin import AgentPlugin, AgentSettings
from daetalker.plugins.agent.tally import Tally
from daetalker.streamer import protocol as p
from daetalker.streamer.media import VoiceChunk

pytestmark = pytest.mark.asyncio


async def test_bytes_in_any_portions_come_out_as_whole_samples() -> None:
    pcm = np.random.default_rng(0).integers(-(2**15), 2**15, 2 * 9000).astype(np.int16)
    data = pcm.astype("<i2").tobytes()
    backlog = Backlog(8000, 2, max_s=10, preroll_s=0)
    sizes = np.random.default_rng(1).integers(1, 700, 1000)
    for size in sizes:
        backlog.push(data[:size])
        data = data[size:]
    backlog.end()
    pieces: list[Piece] = []
    while not pieces or not pieces[-1].last:
        pieces.append(await backlog.take())
    assert all(piece.pcm.size % 2 == 0 for piece in pieces)
    assert max(piece.pcm.size for piece in pieces) == 2 * 2000, "a quarter of a second at most"
    np.testing.assert_array_equal(np.concatenate([piece.pcm for piece in pieces]), pcm)


async def test_a_sample_that_never_came_whole_is_dropped_with_the_end() -> None:
    backlog = Backlog(8000, 1, max_s=1, preroll_s=0)
    backlog.push(b"\x01\x00\x02")
    backlog.end()
    backlog.push(b"\x03\x00")
    piece = await backlog.take()
    assert (piece.utterance, piece.pcm.tolist(), piece.last) == (1, [1], True)
    piece = await backlog.take()
    assert (piece.utterance, piece.pcm.tolist(), piece.last) == (2, [3], False)


async def test_what_does_not_fit_is_refused_whole_and_room_comes_back() -> None:
    backlog = Backlog(8000, 1, max_s=1, preroll_s=0)
    backlog.push(bytes(15_000))
    with pytest.raises(Full):
        backlog.push(bytes(1_002))
    assert backlog.seconds == 15_000 / 16_000
    await backlog.take()
    backlog.push(bytes(1_002))


async def test_an_utterance_waits_for_its_preroll_but_not_for_ever() -> None:
    backlog = Backlog(8000, 1, max_s=10, preroll_s=0.2)
    taking = asyncio.ensure_future(backlog.take())
    backlog.push(bytes(320))
    await asyncio.sleep(0.02)
    assert not taking.done()
    backlog.push(bytes(3200))
    assert (await taking).pcm.size == 1760

    backlog.clear()
    backlog.push(bytes(320))
    assert (await backlog.take()).pcm.size == 160, "the time is up"

    backlog.clear()
    backlog.push(bytes(320))
    backlog.end()
    began = asyncio.get_running_loop().time()
    assert (await backlog.take()).last
    assert asyncio.get_running_loop().time() - began < 0.15, "nothing more can come"


async def test_clearing_tells_which_utterances_were_there() -> None:
    backlog = Backlog(8000, 1, max_s=10, preroll_s=0)
    for _ in range(3):
        backlog.push(bytes(320))
        backlog.end()
    await backlog.take()
    assert backlog.clear() == [2, 3]
    backlog.end()  # of nothing
    backlog.push(bytes(320))
    assert (await backlog.take()).utterance == 4


def _chunk(utterance: int | None, last: bool = False) -> VoiceChunk:
    return VoiceChunk(0, np.zeros(960, np.int16), utterance, last)


async def test_the_tally_joins_the_agents_numbers_with_the_sessions() -> None:
    tally = Tally()
    tally.begin(1)
    assert tally.hear(_chunk(None)) == []
    assert tally.hear(_chunk(7)) == [Started(utterance=1)]
    assert tally.hear(_chunk(7)) == []
    assert tally.sounding == 1
    tally.begin(2)
    assert tally.hear(_chunk(7, last=True)) == []
    assert tally.finish(1, 0.06, interrupted=False) == [
        Finished(utterance=1, position_s=0.06, interrupted=False)
    ]
    assert tally.finish(1, 0.06, interrupted=False) == [], "once is enough"
    assert tally.hear(_chunk(8)) == [Started(utterance=2)]


async def test_after_an_interrupt_everything_is_reported_with_what_was_heard_of_it() -> None:
    tally = Tally()
    tally.begin(1)
    tally.begin(2)
    tally.hear(_chunk(1))
    dropped = tally.interrupt([2, 3])
    assert dropped == [Finished(utterance=3, position_s=0.0, interrupted=True)]
    assert tally.hear(_chunk(1)) == [Finished(utterance=2, position_s=0.0, interrupted=True)]
    assert tally.hear(_chunk(None)) == [Finished(utterance=1, position_s=0.04, interrupted=True)]
    tally.begin(4)
    assert tally.hear(_chunk(2)) == [Started(utterance=4)], "the session never had 3"


async def test_media_messages_go_there_and_back() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    message = pack_video(2**40, rgb, True)
    assert message[:4] == b"V\x01\x00\x00" and message[4:12] == (2**40).to_bytes(8, "little")
    picture = unpack(message, 4)
    assert isinstance(picture, Picture) and picture.index == 2**40 and picture.speaking
    np.testing.assert_array_equal(picture.rgb, rgb)

    pcm = np.arange(960, dtype=np.int16)
    message = pack_sound(1920, pcm, True, True)
    assert message[:4] == b"A\x03\x00\x00" and message[12:16] == b"\x00\x00\x01\x00"
    sound = unpack(message, 4)
    assert isinstance(sound, Sound) and sound.start == 1920 and sound.spoken and sound.last
    np.testing.assert_array_equal(sound.pcm, pcm)
    with pytest.raises(ValueError, match="begins with V or A"):
        unpack(b"X" + message[1:], 4)


async def test_messages_of_the_page_that_have_no_place_here_are_refused() -> None:
    assert read('{"type": "end"}') == End()
    assert read('{"type":"preset","name":"left"}') == p.SelectPreset(name="left")
    for text, names in {
        '{"type":"hello","protocol":1}': "hello",
        '{"type":"end","now":true}': "type",
        "[]": "object",
        "{": "not JSON",
    }.items():
        with pytest.raises(p.ProtocolError, match=names):
            read(text)


async def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="resume_s must be below pause_s"):
        AgentSettings(pause_s=2.0, resume_s=3.0)
    with pytest.raises(ValidationError, match="pause_s below buffer_s"):
        AgentSettings(pause_s=20.0, buffer_s=10.0)


async def test_doctor_has_something_to_say() -> None:
    (finding,) = AgentPlugin.examine(AgentSettings())
    assert finding.status == "ok" and "websockets" in finding.message
