"""WebRTC over real loopback sockets, and the parts of a peer that need none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from aiortc import RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from daetalker.streamer import protocol as p
from daetalker.streamer.bench_client import BenchClient
from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_RATE, VideoFrame, VoiceChunk
from daetalker.streamer.outlet import Outlet
from daetalker.streamer.peer import check_offer, parse_candidate
from daetalker.streamer.tracks import VideoTrack, VoiceTrack
from tests.streamer.serving import (
    PATIENCE_S,
    Running,
    buzz,
    offering,
    running,
    settings_for,
    talker,
)

CANDIDATE = "candidate:1 1 udp 2122260223 192.0.2.7 51234 typ host"


@pytest_asyncio.fixture
async def server(bundle: Path) -> AsyncIterator[Running]:
    async with running(settings_for(bundle, lost_after_s=2)) as server:
        yield server


async def test_a_client_gets_frames_and_voice_in_one_stream(server: Running) -> None:
    async with asyncio.timeout(PATIENCE_S):
        async with BenchClient(server.url, buzz(3.0), keep_frames=5) as client:
            await client.wait_for_video()
            while (
                len(client.received.frame_ticks) < 20
                or client.received.voice_samples < VOICE_RATE
                or not any(state.speaking for state in client.received.states)
            ):
                await asyncio.sleep(0.05)
            assert server.hub.sessions == 1
            received = client.received
        await server.empty()
    assert received.error is None
    assert received.luma[0].shape == (32, 32)
    # Timestamps are frame numbers: whole steps of 40 ms, whatever the machine's pace.
    steps = np.diff(received.frame_ticks)
    assert np.all(steps > 0)
    assert np.all(steps % 3600 == 0)
    assert received.states[-1].latency_ms == pytest.approx(280)


async def test_tracks_of_an_answer_share_one_stream_and_vp8_comes_first(server: Running) -> None:
    async with talker(server.url) as client, offering() as (_, sdp):
        await client.hello()
        await client.say({"type": "offer", "sdp": sdp})
        answer = (await client.hear("answer"))["sdp"]
    streams = {line.split()[0] for line in answer.splitlines() if line.startswith("a=msid:")}
    assert len(streams) == 1
    audio, video = answer.split("m=")[1:]
    assert "a=sendrecv" in audio
    assert "a=sendonly" in video
    payload = video.split()[3]
    assert f"a=rtpmap:{payload} VP8/90000" in video
    assert "a=candidate:" in audio


async def test_a_client_that_vanishes_leaves_nothing(server: Running) -> None:
    """Its socket stays open, as after pulling a cable, but its packets stop."""
    async with (
        asyncio.timeout(PATIENCE_S),
        talker(server.url) as client,
        offering() as (connection, sdp),
    ):
        await client.hello()
        await client.say({"type": "offer", "sdp": sdp})
        answer = (await client.hear("answer"))["sdp"]
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        while connection.connectionState != "connected":
            await asyncio.sleep(0.05)
        silence_sockets(connection)
        goodbye = await client.hear("goodbye")
    assert goodbye["message"] == "the client fell silent"
    await server.empty()


def silence_sockets(connection: Any) -> None:
    """From here on nothing that this connection sends leaves."""
    for transceiver in connection.getTransceivers():
        ice = transceiver.receiver.transport.transport._connection
        for protocol in ice._protocols:
            protocol.transport.sendto = lambda *_: None


async def test_a_closed_socket_frees_the_peer(server: Running) -> None:
    client = BenchClient(server.url, buzz(1.0))
    async with asyncio.timeout(PATIENCE_S):
        async with client:
            await client.wait_for_video()
            assert client._socket is not None
            client._socket.transport.abort()
            await server.empty()


@pytest.mark.parametrize(
    ("sdp", "code"),
    [
        ("", "bad_sdp"),
        ("hello", "bad_sdp"),
        ("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", "bad_sdp"),
        ("v=0\r\nm=audio\r\n", "bad_sdp"),
        ("v=0\r\nm=audio x y z\r\n", "bad_sdp"),
    ],
)
def test_what_is_no_offer_is_refused(sdp: str, code: str) -> None:
    with pytest.raises(p.ProtocolError) as caught:
        check_offer(sdp)
    assert caught.value.code == code
    assert "\n" not in caught.value.message


async def test_an_offer_of_too_many_sections_is_refused() -> None:
    async with offering() as (_, sdp):
        check_offer(sdp)
        head, audio, video = sdp.partition("m=")[0], *("m=" + s for s in sdp.split("m=")[1:])
        with pytest.raises(p.ProtocolError) as caught:
            check_offer(head + audio + video * 8)
        assert caught.value.code == "bad_sdp"
        with pytest.raises(p.ProtocolError) as caught:
            check_offer(head + video)
        assert caught.value.code == "no_audio"


def test_candidates_are_read() -> None:
    found = parse_candidate(p.Candidate(candidate=CANDIDATE, sdpMid="0", sdpMLineIndex=None))
    assert found is not None
    assert (found.ip, found.port, found.sdpMid) == ("192.0.2.7", 51234, "0")
    assert parse_candidate(p.Candidate(candidate="", sdpMid=None, sdpMLineIndex=None)) is None


@pytest.mark.parametrize("text", ["x", "candidate:", CANDIDATE.replace("51234", "many"), CANDIDATE])
def test_what_is_no_candidate_is_refused(text: str) -> None:
    with pytest.raises(p.ProtocolError) as caught:
        parse_candidate(p.Candidate(candidate=text, sdpMid=None, sdpMLineIndex=None))
    assert caught.value.code == "bad_message"


async def test_tracks_carry_positions_as_timestamps_and_end_with_the_outlet() -> None:
    outlet = Outlet()
    video, voice = VideoTrack(outlet), VoiceTrack(outlet)
    rgb = np.full((16, 16, 3), 200, np.uint8)
    outlet.offer_video(VideoFrame(7, rgb, (0.0, 0.0, 0.0), False, np.zeros(512, np.float32)))
    pcm = np.arange(CHUNK_SAMPLES, dtype=np.int16)
    outlet.offer_voice(VoiceChunk(1920, pcm))
    picture, sound = await video.recv(), await voice.recv()
    assert picture.pts is not None and picture.time_base is not None
    assert picture.pts * picture.time_base == pytest.approx(7 / 25)
    assert (sound.pts, sound.sample_rate) == (1920, VOICE_RATE)
    assert np.array_equal(sound.to_ndarray().reshape(-1), pcm)
    outlet.close()
    for track in (video, voice):
        with pytest.raises(MediaStreamError):
            await track.recv()
