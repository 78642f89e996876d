"""A tiny LiveKit server for tests: the real SDK connects to it over the real wire.

It speaks as much of LiveKit's signalling (protobuf on a WebSocket) as rooms, byte streams, RPC and
publishing need, and is the peer of everyone's publisher connection through aiortc: data goes back
and forth on it, and what is published is decoded here, where tests look at it.  Nobody receives
media, so there are no subscriber connections.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import candidate_from_sdp
from livekit.protocol import models, rtc
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

KEY, SECRET = "devkey", "a secret of at least thirty-two bytes"


@dataclass
class Published:
    """What one participant publishes, as it arrives.

    Attributes:
        voice: when each piece came, and its samples at 48 kHz, one channel.
        pictures: when each came, and ``[H, W, 3]``.
    """

    requests: list[rtc.AddTrackRequest] = field(default_factory=list)
    codecs: list[str] = field(default_factory=list)
    voice: list[tuple[float, NDArray[np.int16]]] = field(default_factory=list)
    pictures: list[tuple[float, NDArray[np.uint8]]] = field(default_factory=list)


class Participant:
    """One client: its socket, its connection, its data channels."""

    def __init__(self, server: TinyLiveKit, socket: ServerConnection, claims: Any) -> None:
        self.server = server
        self.socket = socket
        self.room: str = claims["video"]["room"]
        number = len(server.seen)
        self.info = models.ParticipantInfo(
            sid=f"PA_{number}",
            identity=claims["sub"],
            name=claims.get("name", ""),
            state=models.ParticipantInfo.State.ACTIVE,
            attributes=claims.get("attributes", {}),
            kind=models.ParticipantInfo.Kind.AGENT
            if claims.get("kind") == "agent"
            else models.ParticipantInfo.Kind.STANDARD,
            permission=models.ParticipantPermission(
                can_subscribe=True, can_publish=True, can_publish_data=True
            ),
            version=1,
        )
        self.published = Published()
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.on("datachannel", self._on_channel)
        self.connection.on("track", self._on_track)
        self.channels: dict[str, RTCDataChannel] = {}
        self._unsent: dict[str, list[bytes]] = {}
        self._early: list[Any] = []
        self._readers: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """From the join to the leave."""
        others = self.server.others(self)
        await self.say(
            join=rtc.JoinResponse(
                room=models.Room(sid=f"RM_{self.room}", name=self.room),
                participant=self.info,
                other_participants=[other.info for other in others],
                server_version="1.9.0",
                subscriber_primary=False,
                ping_interval=10,
                ping_timeout=30,
                server_info=models.ServerInfo(version="1.9.0", protocol=16),
            )
        )
        await self.server.tell_others(self)
        try:
            async for message in self.socket:
                assert isinstance(message, bytes)
                if await self._handle(rtc.SignalRequest.FromString(message)):
                    break
        except ConnectionClosed:
            pass
        finally:
            self.info.state = models.ParticipantInfo.State.DISCONNECTED
            self.server.here.remove(self)
            for reader in self._readers:
                reader.cancel()
            await self.connection.close()
            await self.server.tell_others(self)

    async def say(self, **response: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self.socket.send(rtc.SignalResponse(**response).SerializeToString())

    async def _handle(self, request: rtc.SignalRequest) -> bool:
        """Act on one message; True if the client leaves."""
        kind = request.WhichOneof("message")
        if kind == "offer":
            await self._answer(request.offer)
        elif kind == "trickle":
            await self._add_candidate(json.loads(request.trickle.candidateInit))
        elif kind == "add_track":
            await self._publish(request.add_track)
        elif kind == "ping_req":
            now_ms = int(time.time() * 1000)
            pong = rtc.Pong(last_ping_timestamp=request.ping_req.timestamp, timestamp=now_ms)
            await self.say(pong_resp=pong)
        return bool(kind == "leave")

    async def _answer(self, offer: rtc.SessionDescription) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        early, self._early = self._early, []
        for candidate in early:
            await self._add_candidate(candidate)
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        answer = self.connection.localDescription
        await self.say(answer=rtc.SessionDescription(type="answer", sdp=answer.sdp, id=offer.id))

    async def _add_candidate(self, found: dict[str, Any]) -> None:
        described: Any = self.connection.remoteDescription  # aiortc's types leave None out
        if described is None:
            self._early.append(found)
        elif found["candidate"]:
            candidate = candidate_from_sdp(found["candidate"].removeprefix("candidate:"))
            candidate.sdpMid = found["sdpMid"]
            candidate.sdpMLineIndex = found["sdpMLineIndex"]
            await self.connection.addIceCandidate(candidate)

    async def _publish(self, request: rtc.AddTrackRequest) -> None:
        self.published.requests.append(request)
        track = models.TrackInfo(
            sid=f"TR_{self.info.sid}_{len(self.info.tracks)}",
            type=request.type,
            name=request.name,
            source=request.source,
            width=request.width,
            height=request.height,
        )
        self.info.tracks.append(track)
        self.info.version += 1
        await self.say(track_published=rtc.TrackPublishedResponse(cid=request.cid, track=track))
        await self.server.tell_others(self)

    async def listen(self, kind: str) -> None:
        """Say that somebody has subscribed to what is published, ``audio`` or ``video``."""
        for track in self.info.tracks:
            if models.TrackType.Name(track.type).lower() == kind:
                await self.say(track_subscribed=rtc.TrackSubscribed(track_sid=track.sid))

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self.channels[channel.label] = channel
        for packet in self._unsent.pop(channel.label, []):
            channel.send(packet)

        def forward(data: bytes) -> None:
            packet = models.DataPacket.FromString(data)
            packet.participant_identity = self.info.identity
            packet.participant_sid = self.info.sid
            wanted = list(packet.destination_identities)
            for other in self.server.others(self):
                if not wanted or other.info.identity in wanted:
                    other.deliver(channel.label, packet.SerializeToString())

        channel.on("message", forward)

    def deliver(self, label: str, packet: bytes) -> None:
        """Send data to this client, now or when its channel opens."""
        channel = self.channels.get(label)
        if channel is None:
            self._unsent.setdefault(label, []).append(packet)
        elif channel.readyState == "open":
            channel.send(packet)

    def _on_track(self, track: MediaStreamTrack) -> None:
        reader = asyncio.ensure_future(self._read(track))
        self._readers.add(reader)

    async def _read(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            await track.recv()  # now it is published for certain
            if not self.server.nobody_listens:
                await self.listen(track.kind)
            while True:
                frame: Any = await track.recv()
                now_s = time.monotonic()
                if track.kind == "video":
                    rgb = frame.to_ndarray(format="rgb24")
                    self.published.pictures.append((now_s, rgb))
                else:
                    pcm = frame.to_ndarray().reshape(-1, 2)[:, 0]
                    self.published.voice.append((now_s, pcm))


class TinyLiveKit:
    """Rooms and who is in them.

    Attributes:
        url: what `rtc.Room.connect` takes.
        here: who is connected.
        seen: everyone who ever was, by identity.
        nobody_listens: while True, nobody subscribes to what is published.
    """

    def __init__(self) -> None:
        self.url = ""
        self.here: list[Participant] = []
        self.seen: dict[str, Participant] = {}
        self.nobody_listens = False

    def others(self, one: Participant) -> list[Participant]:
        """Who else is in the room."""
        return [p for p in self.here if p is not one and p.room == one.room]

    async def tell_others(self, one: Participant) -> None:
        """Send around what has become of a participant."""
        for other in self.others(one):
            await other.say(update=rtc.ParticipantUpdate(participants=[one.info]))

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        participant = Participant(self, socket, _claims(socket.request))
        self.here.append(participant)
        self.seen[participant.info.identity] = participant
        await participant.run()

    def _screen(self, socket: ServerConnection, request: Request) -> Response | None:
        """Old signalling only; and tokens of another project are refused."""
        path = urlsplit(request.path).path
        if path != "/rtc":
            known = path == "/rtc/validate"
            status = HTTPStatus.UNAUTHORIZED if known else HTTPStatus.NOT_FOUND
            return socket.respond(status, "invalid token" if known else "not found")
        try:
            _claims(request)
        except ValueError as error:
            return socket.respond(HTTPStatus.UNAUTHORIZED, str(error))
        return None


def _claims(request: Request) -> Any:
    """The token's claims; its signature is checked by the real verifier."""
    from livekit import api

    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    token = token or parse_qs(urlsplit(request.path).query).get("access_token", [""])[0]
    try:
        api.TokenVerifier(KEY, SECRET).verify(token)
    except Exception as error:
        raise ValueError(f"invalid token: {error}") from None
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


@contextlib.asynccontextmanager
async def tiny_livekit() -> AsyncIterator[TinyLiveKit]:
    """Serve on a free port until the block ends."""
    livekit = TinyLiveKit()
    async with serve(
        livekit._serve, "127.0.0.1", 0, process_request=livekit._screen, compression=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        livekit.url = f"ws://127.0.0.1:{port}"
        yield livekit


def token_of(room: str, identity: str, kind: str = "agent", **attributes: str) -> str:
    """A token as LiveKit's own library makes it."""
    from livekit import api

    return (
        api.AccessToken(KEY, SECRET)
        .with_kind(kind)  # type: ignore[arg-type]
        .with_identity(identity)
        .with_grants(api.VideoGrants(room_join=True, room=room))
        .with_attributes(attributes)
        .to_jwt()
    )
