"""Every limit of docs/security.md, hit over a real socket, and the answer that it says there."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RtpPacket
from websockets.exceptions import ConnectionClosed

from daetalker.streamer import address_limits, audio_limit, door, http_guard, line, signalling
from daetalker.streamer.audio_limit import BURST_PACKETS, MAX_PACKETS_PER_S, AudioLimit
from daetalker.streamer.conversation import MAX_CANDIDATES, MAX_OFFERS
from daetalker.streamer.door import MAX_BODY_BYTES
from daetalker.streamer.offer_limits import MAX_SDP_BYTES, MAX_SDP_CANDIDATES, MAX_SDP_LINES
from daetalker.streamer.server import WEBSOCKET_MAX_BYTES
from tests.streamer.serving import (
    PATIENCE_S,
    Running,
    Talker,
    offering,
    refused,
    running,
    settings_for,
    talker,
)


@pytest_asyncio.fixture
async def server(bundle: Path) -> AsyncIterator[Running]:
    async with running(settings_for(bundle, max_per_address=3)) as server:
        yield server


async def ask(server: Running, text: bytes) -> bytes:
    """What comes back on a plain socket until the server closes it."""
    async with dialled(server) as (reader, writer):
        writer.write(text)
        with contextlib.suppress(ConnectionResetError):
            return await asyncio.wait_for(reader.read(), PATIENCE_S)
        return b""


@contextlib.asynccontextmanager
async def dialled(
    server: Running,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(server.url).port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def post(*headers: str, path: str = "/api/sessions/x/command") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, *headers, "", ""]).encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def closed(client: Talker) -> int:
    """The code with which the server closes the socket."""
    with pytest.raises(ConnectionClosed) as caught:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await client.socket.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


# HTTP


async def test_long_headers(server: Running) -> None:
    answer = await ask(server, b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000)
    assert status(answer) == 400
    assert refused(server, "bad_request") == 1


async def test_what_is_no_http(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        assert status(await ask(server, b"\x00\x01\x02rubbish\r\n\r\n")) == 400
    assert refused(server, "bad_request") == 5
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: loc"])
async def test_slow_headers(bundle: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(http_guard, "HEADERS_S", 0.3)
    async with running(settings_for(bundle)) as server:
        assert status(await ask(server, begun)) == 408
        assert refused(server, "bad_request") == 1


async def test_slow_headers_of_a_second_request(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_guard, "HEADERS_S", 0.3)
    async with running(settings_for(bundle)) as server, dialled(server) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status(await asyncio.wait_for(reader.readuntil(b"}"), PATIENCE_S)) == 200
        writer.write(b"GET /x")
        assert status(await asyncio.wait_for(reader.read(), PATIENCE_S)) == 408


async def test_an_idle_connection(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daetalker.streamer.server.KEEP_ALIVE_S", 1)
    async with running(settings_for(bundle)) as server:
        answer = await ask(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status(answer) == 200  # and closed by the server, or this would not return


async def test_a_long_body(server: Running) -> None:
    too_many = MAX_BODY_BYTES + 1
    assert status(await ask(server, post(f"Content-Length: {too_many}"))) == 413
    chunk = b"%x\r\n" % 65_536 + b" " * 65_536 + b"\r\n"
    answer = await ask(server, post("Transfer-Encoding: chunked") + chunk * 17)
    assert status(answer) == 413
    assert refused(server, "too_large") == 2
    over = 70_000  # more than a command may have, less than a body
    answer = await ask(
        server,
        post(f"Content-Length: {over}", "Connection: close") + b" " * over,
    )
    assert status(answer) in (404, 413)


async def test_a_slow_body(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "BODY_S", 0.3)
    async with running(settings_for(bundle)) as server:
        assert status(await ask(server, post("Content-Length: 10") + b"{")) == 408
        assert refused(server, "bad_request") == 1


async def test_requests_open_at_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_limits, "MAX_REQUESTS", 2)
    async with running(settings_for(bundle)) as server, contextlib.AsyncExitStack() as held:
        for _ in range(2):
            _, writer = await held.enter_async_context(dialled(server))
            writer.write(post("Content-Length: 10") + b"{")
            await writer.drain()
        await asyncio.sleep(0.2)
        answer = await ask(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status(answer) == 429 and b"retry-after: 5" in answer.lower()
        assert refused(server, "too_many") == 1


async def test_requests_too_fast(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_limits, "REQUESTS_AT_ONCE", 3.0)
    monkeypatch.setattr(address_limits, "REQUESTS_PER_S", 0.001)
    async with running(settings_for(bundle)) as server:
        get = b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert [status(await ask(server, get)) for _ in range(4)] == [404, 404, 404, 429]


async def test_connections_of_one_address(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_guard, "MAX_PER_ADDRESS", 3)
    async with running(settings_for(bundle)) as server, contextlib.AsyncExitStack() as held:
        for _ in range(3):
            await held.enter_async_context(dialled(server))
        await asyncio.sleep(0.2)
        assert await ask(server, b"") == b""  # closed without a word
        assert refused(server, "too_many") == 1
        await held.aclose()
        await asyncio.sleep(0.2)
        assert status(await ask(server, b"rubbish\r\n\r\n")) == 400  # the places are free again


async def test_connections_in_all(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_guard, "MAX_CONNECTIONS", 2)
    async with running(settings_for(bundle)) as server, contextlib.AsyncExitStack() as held:
        for _ in range(2):
            await held.enter_async_context(dialled(server))
        await asyncio.sleep(0.2)
        assert await ask(server, b"") == b""
        assert refused(server, "too_many") == 1


# WebSocket


async def test_sockets_of_one_address(server: Running) -> None:
    async with contextlib.AsyncExitStack() as held:
        for _ in range(3):
            await held.enter_async_context(talker(server.url))
        async with talker(server.url) as fourth:
            error = await fourth.hear("error")
            assert (error["code"], error["fatal"]) == ("too_many", True)
            assert await closed(fourth) == 4429
    assert refused(server, "too_many") == 1
    async with talker(server.url) as again:
        assert (await again.hello())["type"] == "welcome"


async def test_a_socket_that_does_not_say_hello(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signalling, "HELLO_TIMEOUT_S", 0.3)
    async with running(settings_for(bundle)) as server, talker(server.url) as client:
        assert (await client.hear("goodbye"))["message"] == "no hello came"
        assert await closed(client) == 1000
        assert refused(server, "no_hello") == 1


async def test_a_long_message(server: Running) -> None:
    async with talker(server.url) as client:
        await client.say(json.dumps({"type": "offer", "sdp": "v" * 70_000}))
        assert (await client.hear("error"))["code"] == "too_large"
        await client.say("x" * (WEBSOCKET_MAX_BYTES + 1))
        assert await closed(client) == 1009
    assert refused(server, "too_large") == 1


async def test_too_many_messages(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "MAX_SURPLUS", 30)
    async with running(settings_for(bundle)) as server, talker(server.url) as client:
        with contextlib.suppress(ConnectionClosed):
            for number in range(500):
                await client.say({"type": "ping", "id": number})
        assert await closed(client) == 1008
        assert refused(server, "too_fast") >= 1
        await server.empty()


async def test_large_offers(server: Running) -> None:
    async with offering() as (_, sdp), talker(server.url) as client:
        assert len(sdp) < MAX_SDP_BYTES / 3  # far from what is offered
        await client.hello()
        candidate = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
        for bad in (
            sdp + "a=x:" + "y" * MAX_SDP_BYTES + "\r\n",
            sdp + "a=x\r\n" * MAX_SDP_LINES,
            sdp + candidate * (MAX_SDP_CANDIDATES + 1),
        ):
            await client.say({"type": "offer", "sdp": bad})
            error = await client.hear("error")
            assert error["code"] == "bad_sdp" and "at most" in error["message"]
        assert refused(server, "bad_sdp") == 3
        await client.say({"type": "offer", "sdp": sdp})  # the socket lives on
        assert (await client.hear("answer", "error"))["type"] == "answer"


async def test_endless_offers(server: Running) -> None:
    async with talker(server.url) as client:
        await client.hello()
        codes = []
        for _ in range(MAX_OFFERS + 1):
            await client.say({"type": "offer", "sdp": "v=0"})
            codes.append((await client.hear("error"))["code"])
        assert codes == ["bad_sdp"] * MAX_OFFERS + ["too_many"]


async def test_endless_candidates(server: Running) -> None:
    candidate: dict[str, Any] = {
        "type": "candidate",
        "candidate": "candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host",
        "sdpMid": "0",
        "sdpMLineIndex": 0,
    }
    async with talker(server.url) as client:
        await client.hello()
        for _ in range(MAX_CANDIDATES + 1):
            await client.say(candidate)
            await asyncio.sleep(0.021)  # slower than the limit on messages
        error = await client.hear("error")
        assert error["code"] == "too_many" and str(MAX_CANDIDATES) in error["message"]


# Sound


def test_the_pace_of_packets_is_arithmetic() -> None:
    now_s = 0.0
    limit = AudioLimit(lambda: now_s)
    assert sum(limit.take() for _ in range(1000)) == BURST_PACKETS
    now_s += 1.0
    assert sum(limit.take() for _ in range(1000)) == MAX_PACKETS_PER_S
    assert not limit.exhausted
    for _ in range(1000):
        limit.take()
    assert limit.exhausted


async def test_a_flood_of_sound(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_limit, "PATIENCE_PACKETS", 50)
    async with offering() as (connection, sdp), talker(server.url) as client:
        await client.hello()
        await client.say({"type": "offer", "sdp": sdp})
        answer = (await client.hear("answer"))["sdp"]
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await _connected(connection)
        flooding = asyncio.create_task(_flood(connection))
        try:
            goodbye = await client.hear("goodbye")
            assert (goodbye["message"], goodbye["retry_s"]) == (
                "far too many packets of sound",
                None,
            )
            assert await closed(client) == 1008
        finally:
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)
    assert refused(server, "too_much_audio") == 1


async def _connected(connection: RTCPeerConnection) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while connection.connectionState != "connected":
            await asyncio.sleep(0.02)


async def _flood(connection: RTCPeerConnection) -> None:
    """Packets of sound, a thousand a second, past the library's own pace."""
    sender: Any = next(one for one in connection.getSenders() if one.track is not None)
    packet = RtpPacket(payload_type=96, payload=b"\xf8\xff\xfe")
    packet.ssrc = 12_345  # a second voice beside the one that the library sends
    number = 0
    while True:
        for _ in range(20):
            number = (number + 1) % 65_536
            packet.sequence_number, packet.timestamp = number, number * 960 % 2**32
            await sender.transport._send_rtp(packet.serialize())
        await asyncio.sleep(0.02)
