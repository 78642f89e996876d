"""The measuring client: a real WebRTC client that speaks a known voice and notes every frame.

It talks to the server as a browser does, over a WebSocket and a loopback connection, and notes the
``time.monotonic()`` of every audio packet it hands out and of every frame it gets.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray
from pydantic import BaseModel
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from daetalker.streamer import protocol as p
from daetalker.streamer.bench_relay import Relay, sdp_candidates, stand_in_sdp
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_RATE
from daetalker.streamer.tracks import FRAME_TICKS, VIDEO_CLOCK_HZ

_M = TypeVar("_M")

ANSWER_TIMEOUT_S = 30.0
FIRST_FRAME_TIMEOUT_S = 30.0


class BenchError(StreamerError):
    """The measurement could not be made; the message says at which step."""


@dataclass
class Received:
    """What the client noted.

    Attributes:
        packet_times_s: when each 20 ms audio packet was handed to the sender.
        frame_times_s, frame_ticks: when each frame came, and its 90 kHz timestamp from the first.
        luma: ``[N, H, W]`` pictures of the first ``keep_frames`` frames, those that came.
        voice_samples: samples of voice that came back.
        sounds: when each piece of voice came back, and its peak level, of int16.
        sound_ticks: position of each piece at 48 kHz, from the first, and its samples.
        states: the server's ``state`` messages.
        error: first error message of the server, if any.
        left_s: when the server closed the socket, if it did.
    """

    welcome: p.Welcome | None = None
    packet_times_s: list[float] = field(default_factory=list)
    frame_times_s: list[float] = field(default_factory=list)
    frame_ticks: list[int] = field(default_factory=list)
    luma: list[NDArray[np.uint8]] = field(default_factory=list)
    voice_samples: int = 0
    sounds: list[tuple[float, int]] = field(default_factory=list)
    sound_ticks: list[tuple[int, int]] = field(default_factory=list)
    states: list[p.State] = field(default_factory=list)
    error: p.Error | None = None
    left_s: float | None = None


class SpeechTrack(MediaStreamTrack):
    """A voice as a microphone gives it: 20 ms at a time, at the time it was spoken, repeated."""

    kind = "audio"

    def __init__(self, voice: NDArray[np.int16], times_s: list[float]) -> None:
        super().__init__()
        self._voice = voice[: len(voice) // CHUNK_SAMPLES * CHUNK_SAMPLES]
        self._times_s = times_s
        self._start_s: float | None = None

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        if self._start_s is None:
            self._start_s = time.monotonic()
        number = len(self._times_s)
        # A packet leaves when its last sample has been spoken; targets are absolute.
        due_s = self._start_s + (number + 1) * CHUNK_SAMPLES / VOICE_RATE
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        at = number * CHUNK_SAMPLES % len(self._voice)
        sound = av.AudioFrame.from_ndarray(
            self._voice[at : at + CHUNK_SAMPLES].reshape(1, -1), format="s16", layout="mono"
        )
        sound.sample_rate = VOICE_RATE
        sound.pts = number * CHUNK_SAMPLES
        sound.time_base = Fraction(1, VOICE_RATE)
        self._times_s.append(time.monotonic())
        return sound


class BenchClient:
    """One client, which talks or watches; ``async with`` connects and leaves.

    Attributes:
        received: what has been noted so far.
    """

    def __init__(
        self,
        url: str,
        voice: NDArray[np.int16] | None,
        *,
        avatar: str | None = None,
        watch: str | None = None,
        keep_frames: int = 0,
        keep_voice: Path | None = None,
        relay: Relay | None = None,
        number: int = 0,
    ) -> None:
        """A client that is not connected yet.

        Args:
            voice: ``[N]`` at 48 kHz to speak again and again; None to say nothing.
            watch: id of a session to watch instead of having one.
            keep_frames: keep the pictures of so many frames' time.
            keep_voice: file for the voice that comes back, int16 mono at 48 kHz.
            relay: poor network that the media goes through.
            number: distinguishes the clients of one relay.
        """
        self.received = Received()
        self._relay = relay
        self._number = number
        self._voice_file: BinaryIO | None = keep_voice.open("wb") if keep_voice else None
        self.first_frame = asyncio.Event()
        self._url = url
        self._hello = p.Hello(protocol=p.PROTOCOL_VERSION, avatar=avatar, watch=watch)
        self._keep_frames = keep_frames
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if voice is None:
            self._connection.addTransceiver("audio", direction="recvonly")
        else:
            self._connection.addTrack(SpeechTrack(voice, self.received.packet_times_s))
        self._connection.addTransceiver("video", direction="recvonly")
        self._connection.on("track", self._on_track)
        self._socket: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> BenchClient:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _connect(self) -> None:
        socket_url = self._url.replace("http", "ws", 1) + "/ws"
        self._socket = await connect(socket_url, max_size=2**20, open_timeout=10)
        await self.send(self._hello)
        welcome = await self._expect(p.Welcome)
        self.received.welcome = welcome
        await self._connection.setLocalDescription()
        await self.send(p.Offer(sdp=await self._relayed(self._connection.localDescription.sdp)))
        answer = await self._expect(p.Answer)
        answer_sdp = await self._relayed(answer.sdp, answers=True)
        await self._connection.setRemoteDescription(
            RTCSessionDescription(sdp=answer_sdp, type="answer")
        )
        self._tasks.append(asyncio.create_task(self._listen(), name="bench listen"))

    async def _relayed(self, sdp: str, answers: bool = False) -> str:
        """The description as the other side should see it."""
        if self._relay is None:
            return sdp
        side: Literal["client", "server"] = "server" if answers else "client"
        stand_ins = await self._relay.stand_in(self._number, side, sdp_candidates(sdp))
        return stand_in_sdp(sdp, stand_ins)

    async def send(
        self, message: p.Hello | p.Offer | p.Pose | p.SelectPreset | p.Mute | p.Ping | p.Bye
    ) -> None:
        """Send a message to the server."""
        assert self._socket is not None
        await self._socket.send(message.model_dump_json(exclude_none=True))

    async def _next(self) -> BaseModel:
        assert self._socket is not None
        text = await self._socket.recv()
        return p.parse_server_message(text if isinstance(text, str) else text.decode())

    async def _expect(self, kind: type[_M]) -> _M:
        while True:
            message = await self._next()
            if isinstance(message, kind):
                return message
            if isinstance(message, p.Error):
                self.received.error = message
                raise BenchError(f"the server refused: {message.message}")

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = await self._next()
                if isinstance(message, p.State):
                    self.received.states.append(message)
                elif isinstance(message, p.Error) and self.received.error is None:
                    self.received.error = message
        self.received.left_s = time.monotonic()

    def _on_track(self, track: MediaStreamTrack) -> None:
        pump = self._watch if track.kind == "video" else self._hear
        self._tasks.append(asyncio.create_task(pump(track), name=f"bench {track.kind}"))

    async def _watch(self, track: MediaStreamTrack) -> None:
        noted = self.received
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                noted.frame_times_s.append(time.monotonic())
                assert isinstance(frame, av.VideoFrame)
                assert frame.pts is not None and frame.time_base is not None
                ticks = round(frame.pts * frame.time_base * VIDEO_CLOCK_HZ)
                noted.frame_ticks.append(ticks)
                self.first_frame.set()
                if ticks < self._keep_frames * FRAME_TICKS:
                    noted.luma.append(_luma(frame))

    async def _hear(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                sound = await track.recv()
                assert isinstance(sound, av.AudioFrame)
                noted = self.received
                pcm = sound.to_ndarray().reshape(-1)
                peak = int(np.abs(pcm.astype(np.int32)).max())
                noted.sounds.append((time.monotonic(), peak))
                at = sound.pts if sound.pts is not None else noted.voice_samples
                noted.sound_ticks.append((at, sound.samples))
                noted.voice_samples += sound.samples
                if self._voice_file is not None:
                    # The library decodes to interleaved stereo; the server's voice is mono.
                    self._voice_file.write(pcm[:: len(pcm) // sound.samples].tobytes())

    async def wait_for_video(self) -> None:
        """Until the first frame is there.

        Raises:
            BenchError: if none comes in time.
        """
        try:
            async with asyncio.timeout(FIRST_FRAME_TIMEOUT_S):
                await self.first_frame.wait()
        except TimeoutError:
            raise BenchError("no video came: is UDP between local ports allowed?") from None

    async def close(self) -> None:
        """Say bye and free everything."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):
                await self.send(p.Bye())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._connection.close()
        if self._socket is not None:
            await self._socket.close()
            self._socket = None
        if self._voice_file is not None:
            self._voice_file.close()
            self._voice_file = None


def _luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The Y plane as it came over the wire, ``[H, W]`` in 16 to 235."""
    plane = frame.planes[0]
    lines = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
    picture: NDArray[np.uint8] = lines[: frame.height, : frame.width].copy()
    return picture
