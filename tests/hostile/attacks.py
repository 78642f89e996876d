"""Hostile clients: each attack is one connection that a stranger might make, and what it left.

They speak through raw sockets, so that nothing on our side makes them well-behaved.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

__all__ = ["ATTACKS", "Place"]

PATIENCE_S = 4.0
_HELLO = {"type": "hello", "protocol": 1}


@dataclass(frozen=True)
class Place:
    """Where the server is.

    Attributes:
        offer: SDP as a good client sends it.
        media_ports: finds the UDP ports that its sessions have open now.
        secret: a word that attacks put into what they send; no log may hold it.
    """

    host: str
    port: int
    offer: str
    media_ports: Callable[[], list[int]]
    secret: str


Attack = Callable[[Place, random.Random], Awaitable[None]]


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def _wire(place: Place) -> AsyncIterator[_Ends]:
    reader, writer = await asyncio.open_connection(place.host, place.port, limit=1 << 22)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 1.0)


async def _push(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send; a server that has hung up already is no mistake of the attack."""
    with contextlib.suppress(OSError, TimeoutError):
        writer.write(data)
        await asyncio.wait_for(writer.drain(), PATIENCE_S)


async def _drain(reader: asyncio.StreamReader, seconds: float = 0.3) -> bytes:
    """What comes within so long."""
    data = b""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(seconds):
            while piece := await reader.read(65_536):
                data += piece
    return data


# HTTP.


async def garbage(place: Place, rng: random.Random) -> None:
    """Bytes that are nothing."""
    async with _wire(place) as (reader, writer):
        await _push(writer, rng.randbytes(rng.choice([1, 10, 1000, 70_000])))
        await _drain(reader)


async def half_a_request(place: Place, rng: random.Random) -> None:
    """A request that stops in the middle, and then the line is cut."""
    whole = b"POST /api/sessions/latest/command HTTP/1.1\r\nHost: 127.0.0.1\r\n" \
            b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"type\":"  # fmt: skip
    async with _wire(place) as (reader, writer):
        await _push(writer, whole[: rng.randrange(1, len(whole))])
        await _drain(reader, 0.1)


async def slow_loris(place: Place, rng: random.Random) -> None:
    """A header that never ends, a few bytes at a time."""
    async with _wire(place) as (_, writer):
        await _push(writer, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        for _ in range(6):
            await _push(writer, b"X-%d: a\r\n" % rng.randrange(99))
            await asyncio.sleep(0.3)


async def giant_headers(place: Place, rng: random.Random) -> None:
    """Megabytes of headers."""
    async with _wire(place) as (reader, writer):
        await _push(writer, b"GET /" + b"a" * rng.choice([10, 9000]) + b" HTTP/1.1\r\n")
        for number in range(64):
            await _push(writer, b"X-%d: " % number + b"b" * 32_000 + b"\r\n")
        await _drain(reader)


async def giant_body(place: Place, rng: random.Random) -> None:
    """A body of tens of megabytes, or one that says it has."""
    async with _wire(place) as (reader, writer):
        head = b"POST /api/sessions/latest/command HTTP/1.1\r\nHost: 127.0.0.1\r\n" \
               b"Content-Type: application/json\r\n"  # fmt: skip
        if rng.random() < 0.5:
            await _push(writer, head + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(200):
                await _push(writer, b"10000\r\n" + b"[" * 65_536 + b"\r\n")
        else:
            await _push(writer, head + b"Content-Length: 99999999999999\r\n\r\n" + b"1" * 4096)
        await _drain(reader)


async def odd_requests(place: Place, rng: random.Random) -> None:
    """Requests that are almost good."""
    request = rng.choice(
        [
            b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            b"GET /avatar/%2e%2e%2fx/preview.png HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://[\r\n\r\n",
            b"PUT /api/presets/x HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil\r\n"
            b"Content-Length: 2\r\n\r\n{}",
            b"DELETE /api/presets/" + b"n" * 200 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            b"POST /api/sessions/latest/command HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            b"GET /?token=" + place.secret.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            b"GET /api/presets?avatar=%ff%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(300),  # TLS
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: " + b"a=b; " * 2000 + b"\r\n\r\n",
        ]
    )
    async with _wire(place) as (reader, writer):
        await _push(writer, request * rng.choice([1, 1, 20]))
        await _drain(reader)


async def reset(place: Place, rng: random.Random) -> None:
    """Cut off in the middle, so that the server's next write meets a reset."""
    _, writer = await asyncio.open_connection(place.host, place.port)
    await _push(writer, _handshake(place)[: rng.choice([10, 400])])
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# WebSocket.


def _handshake(place: Place, path: str = "/ws", extra: str = "") -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {place.host}:{place.port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    ).encode()


def frame(data: bytes, opcode: int = 1, *, last: bool = True, masked: bool = True) -> bytes:
    """One WebSocket frame as a client sends it."""
    head = bytes([opcode | (0x80 if last else 0)])
    flag = 0x80 if masked else 0
    if len(data) < 126:
        head += bytes([flag | len(data)])
    elif len(data) < 65_536:
        head += bytes([flag | 126]) + len(data).to_bytes(2, "big")
    else:
        head += bytes([flag | 127]) + len(data).to_bytes(8, "big")
    return head + (bytes(4) + data if masked else data)  # a mask of zeros changes nothing


def _json(value: object) -> bytes:
    return frame(json.dumps(value).encode())


@contextlib.asynccontextmanager
async def _talk(place: Place, *, hello: bool = False) -> AsyncIterator[_Ends]:
    async with _wire(place) as (reader, writer):
        await _push(writer, _handshake(place))
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        if hello:
            await _push(writer, _json(_HELLO))
            await _drain(reader, 0.2)
        yield reader, writer


async def bad_frames(place: Place, rng: random.Random) -> None:
    """Frames that no WebSocket has."""
    bad = rng.choice(
        [
            frame(b"hi", masked=False),
            frame(b"x" * 200, opcode=9),
            frame(b"\xff\xfe"),
            bytes([0x81, 0xFF]) + b"\xff" * 8,
            frame(b"", opcode=3),
            frame(b"a", opcode=0),
            bytes([0xF1, 0x80]) + bytes(4),
            frame(b"\x03", opcode=8),
            rng.randbytes(400),
        ]
    )
    async with _talk(place, hello=rng.random() < 0.3) as (reader, writer):
        await _push(writer, bad)
        await _drain(reader)


async def oversized(place: Place, rng: random.Random) -> None:
    """Messages too long, whole or in pieces."""
    async with _talk(place, hello=rng.random() < 0.3) as (reader, writer):
        if rng.random() < 0.5:
            await _push(writer, frame(b"[" * rng.choice([70_000, 3_000_000])))
        else:
            await _push(writer, frame(b"{", last=False))
            for _ in range(300):
                await _push(writer, frame(b" " * 9000, opcode=0, last=False))
        await _drain(reader)


async def json_bombs(place: Place, rng: random.Random) -> None:
    """Texts that are hard to read."""
    bombs = [
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b'{"type":"ping","id":' + b"9" * 60_000 + b"}",
        b'{"type":"pose","yaw":1e99999999,"pitch":0,"roll":0}',
        b'{"type":"hello","protocol":1,"avatar":"' + b"\\ud800" * 10_000 + b'"}',
        b'{"type":"preset","name":"' + "🙂".encode() * 15_000 + b'"}',
        b'{"type":"hello","protocol":1,"protocol":2}' * 3,
        json.dumps({"type": "say", "file": "../" + place.secret}).encode(),
    ]
    async with _talk(place, hello=rng.random() < 0.3) as (reader, writer):
        for bomb in rng.sample(bombs, 4):
            await _push(writer, frame(bomb))
        await _drain(reader)


async def flood(place: Place, rng: random.Random) -> None:
    """A thousand messages or pings at once, and nothing is read."""
    kind = rng.choice([frame(b"p", opcode=9), _json(_HELLO), _json({"type": "ping", "id": 1}),
                       frame(b"\0" * 100, opcode=2)])  # fmt: skip
    async with _talk(place, hello=rng.random() < 0.3) as (_, writer):
        await _push(writer, kind * 1000)
        await asyncio.sleep(0.2)


async def hello_and_gone(place: Place, rng: random.Random) -> None:
    """A seat taken and left without a word."""
    async with _talk(place) as (reader, writer):
        await _push(writer, _json(_HELLO))
        await _drain(reader, rng.choice([0.0, 0.1]))


async def wrong_ways_in(place: Place, rng: random.Random) -> None:
    """Pages of other sites, other versions, and sockets that are not there."""
    way = rng.choice(
        [
            _handshake(place, extra="Origin: http://evil.example\r\n"),
            _handshake(place, path="/nowhere"),
            _handshake(place, path="/ws?token=" + place.secret),
            _handshake(place).replace(b"Version: 13", b"Version: 99"),
            _handshake(place).replace(b"Upgrade: websocket\r\n", b""),
            _handshake(place, extra="Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        ]
    )
    async with _wire(place) as (reader, writer):
        await _push(writer, way + _json(_HELLO))
        await _drain(reader)


# SDP, candidates, media.


async def bad_offers(place: Place, rng: random.Random) -> None:
    """Offers that cannot be, or cost much."""
    lines = place.offer.split("\r\n")
    audio = [line for line in lines if not line.startswith("a=candidate")]
    offer = rng.choice(
        [
            "v=0\r\n" + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" * 1500,
            "\r\n".join(line for line in lines if "ice-" not in line),
            "\r\n".join(line for line in lines if "fingerprint" not in line),
            "\r\n".join(lines + [f"a=candidate:{n} 1 udp {n} 10.0.{n % 250}.9 {n} typ host"
                                 for n in range(1, 900)]),
            "\r\n".join(line.replace("actpass", "holdconn") for line in lines),
            "\r\n".join(rng.sample(lines, len(lines))),
            "\r\n".join(audio).replace("opus/48000/2", "opus/1/99"),
            place.offer[: rng.randrange(len(place.offer))],
            "a=" + place.secret * 100,
            rng.randbytes(3000).decode("latin-1"),
        ]
    )  # fmt: skip
    async with _talk(place, hello=True) as (reader, writer):
        await _push(writer, _json({"type": "offer", "sdp": offer}))
        await _drain(reader, 0.5)
        await _push(writer, _json({"type": "offer", "sdp": offer}))
        await _drain(reader, 0.1)


async def candidates(place: Place, rng: random.Random) -> None:
    """A thousand candidates, of any kind, before or after an offer."""
    async with _talk(place, hello=True) as (reader, writer):
        if rng.random() < 0.5:
            await _push(writer, _json({"type": "offer", "sdp": place.offer}))
            await _drain(reader, 0.3)
        for number in range(1000):
            line = rng.choice(
                [
                    f"candidate:{number} 1 udp 1 10.9.{number % 250}.1 {number + 1} typ host",
                    f"candidate:{number} 1 udp 1 {place.secret}.local 9 typ host",
                    "candidate:" + "9" * 900,
                    "candidate:1 1 tcp 1 ::1 9 typ host tcptype active",
                ]
            )
            message = {"type": "candidate", "candidate": line, "sdpMid": "0", "sdpMLineIndex": 0}
            await _push(writer, _json(message))
        await _drain(reader)


async def media_garbage(place: Place, rng: random.Random) -> None:
    """STUN, DTLS and RTP that nobody asked for, to the ports of running sessions."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=(place.host, 0)
    )
    try:
        async with _talk(place, hello=True) as (reader, writer):
            await _push(writer, _json({"type": "offer", "sdp": place.offer}))
            await _drain(reader, 0.6)
            for port in place.media_ports()[:24]:
                for _ in range(6):
                    size = rng.choice([1, 12, 20, 200, 1400])
                    body = rng.randbytes(size)
                    packet = rng.choice(
                        [
                            body,
                            b"\x00\x01\x00\x00\x21\x12\xa4\x42" + body,  # STUN binding
                            b"\x00\x01\xff\xff\x21\x12\xa4\x42" + body,
                            b"\x16\xfe\xff" + body,  # DTLS
                            b"\x80\x6f" + body,  # RTP
                            b"\x80\xc8" + body,  # RTCP
                        ]
                    )
                    transport.sendto(packet, (place.host, port))
            await _drain(reader, 0.1)
    finally:
        transport.close()


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        garbage, half_a_request, slow_loris, giant_headers, giant_body, odd_requests, reset,
        bad_frames, oversized, json_bombs, flood, hello_and_gone, wrong_ways_in, bad_offers,
        candidates, media_garbage,
    )
}  # fmt: skip
