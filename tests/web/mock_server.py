"""A stand-in for the server that speaks docs/protocol.md, to look at the page and to test it.

It needs no avatar: a drawn face opens its mouth as loud as the microphone is.  Run it and open the
address it prints::

    PYTHONPATH=.dev:. python tests/web/mock_server.py --port 8090

``POST /mock/NAME`` changes how the next conversations go (``SCENARIOS``), or does something to the
present ones (``drop``, ``stop``).  ``--mouth still`` and ``--mouth restless`` are avatars with a
fault that the end-to-end test must find.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import math
import socket
from collections import deque
from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
import uvicorn
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack
from aiortc.sdp import candidate_from_sdp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from daetalker.streamer.page import SECURITY_HEADERS, load_page
from tests.web.mock_face import SIZE, draw_face

FPS = 25
CHUNKS_PER_S = 50
DELAY_CHUNKS = 18  # 360 ms
SCENARIOS = ("ok", "server_full", "engine_failed", "unsupported_protocol", "refuse", "no_media")
MOUTHS = ("follows", "still", "restless")

AVATAR: dict[str, Any] = {
    "name": "mira",
    "label": "Mira",
    "size": SIZE,
    "fps": FPS,
    "synthetic": True,
    "pose_range": {"yaw": [-30, 30], "pitch": [-18, 18], "roll": [-12, 12]},
    "presets": [
        {"name": "straight", "label": "Straight", "yaw": 0, "pitch": 0, "roll": 0},
        {"name": "left", "label": "Left", "yaw": -18, "pitch": 0, "roll": 0},
        {"name": "right", "label": "Right", "yaw": 18, "pitch": 0, "roll": 0},
        {"name": "up", "label": "Up", "yaw": 0, "pitch": 11, "roll": 0},
        {"name": "thinking", "label": "Thinking", "yaw": 10, "pitch": 6, "roll": -6},
    ],
}


class Mock:
    """What the conversations share."""

    def __init__(self, mouth: str) -> None:
        self.mouth = mouth
        self.scenario = "ok"
        self.conversations: set[Conversation] = set()


class Conversation:
    """One client: its pose and microphone, and the connection that shows them."""

    def __init__(self, mock: Mock, ws: WebSocket) -> None:
        self.mock = mock
        self.ws = ws
        self.connection: RTCPeerConnection | None = None
        self.pose = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0}
        self.target = dict(self.pose)
        self.preset: str | None = None
        self.muted = False
        self.heard: deque[bytes] = deque(maxlen=100)  # full: the oldest 20 ms are dropped
        self.level = 0.0
        self.tasks: set[asyncio.Task[None]] = set()

    async def send(self, type_: str, **fields: Any) -> None:
        await self.ws.send_text(json.dumps({"type": type_, **fields}))

    async def run(self) -> None:
        await self.ws.accept()
        self.mock.conversations.add(self)
        try:
            while True:
                message = json.loads(await self.ws.receive_text())
                if not await self.handle(message):
                    break
        except (WebSocketDisconnect, RuntimeError):  # RuntimeError: closed by drop()
            pass
        finally:
            self.mock.conversations.discard(self)
            for task in self.tasks:
                task.cancel()
            if self.connection is not None:
                await self.connection.close()

    async def handle(self, message: dict[str, Any]) -> bool:
        """Act on a message; False ends the conversation."""
        scenario = self.mock.scenario
        match message["type"]:
            case "hello" if scenario in ("server_full", "engine_failed", "unsupported_protocol"):
                await self.send("error", code=scenario, message=f"Mock: {scenario}.", fatal=True)
                await self.ws.close()
                return False
            case "hello":
                await self.send(
                    "welcome",
                    protocol=1,
                    session="mock",
                    avatar=AVATAR,
                    profile="default",
                    delay_ms=360.0,
                    ice_servers=[],
                )
            case "offer" if scenario != "no_media":
                await self.answer(message["sdp"])
            case "candidate" if self.connection is not None and message["candidate"]:
                candidate = candidate_from_sdp(message["candidate"].removeprefix("candidate:"))
                candidate.sdpMid = message["sdpMid"]
                candidate.sdpMLineIndex = message["sdpMLineIndex"]
                await self.connection.addIceCandidate(candidate)
            case "pose":
                self.target = {axis: float(message[axis]) for axis in self.target}
                self.preset = None
            case "preset":
                chosen = next(p for p in AVATAR["presets"] if p["name"] == message["name"])
                self.target = {axis: float(chosen[axis]) for axis in self.target}
                self.preset = message["name"]
            case "natural":
                self.target = dict.fromkeys(self.target, 0.0)
                self.preset = None
            case "mute":
                self.muted = message["on"]
            case "ping":
                await self.send("pong", id=message["id"])
            case "bye":
                return False
        return True

    async def answer(self, sdp: str) -> None:
        self.connection = connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.on("track", self.listen)
        connection.addTrack(DelayedVoice(self))
        connection.addTransceiver(Face(self), direction="sendonly")
        await connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        await connection.setLocalDescription()
        await self.send("answer", sdp=connection.localDescription.sdp)
        self.spawn(self.report())

    def listen(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self.spawn(self.pump(track))

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def pump(self, track: MediaStreamTrack) -> None:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                for sound in resampler.resample(frame):
                    self.heard.append(bytes(sound.planes[0])[: sound.samples * 2])

    async def report(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            await self.send(
                "state",
                speaking=self.level > 0.05,
                fps=25.0,
                latency_ms=360.0,
                late=0,
                pose={axis: round(angle, 2) for axis, angle in self.pose.items()},
                preset=self.preset,
                muted=self.muted,
            )


class DelayedVoice(AudioStreamTrack):
    """The microphone, 360 ms later; its loudness opens the mouth."""

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation
        self._chunk = 0
        self._began: float | None = None

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        self._began = loop.time() if self._began is None else self._began
        await asyncio.sleep(max(0.0, self._began + self._chunk / CHUNKS_PER_S - loop.time()))
        heard = self._conversation.heard
        pcm = heard.popleft() if len(heard) > DELAY_CHUNKS else bytes(1920)
        samples = np.frombuffer(pcm.ljust(1920, b"\0")[:1920], np.int16)
        rms = float(np.sqrt(np.mean((samples / 32768.0) ** 2)))
        conversation = self._conversation
        conversation.level += 0.5 * (min(1.0, rms * 8) - conversation.level)
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = 48_000
        frame.pts, frame.time_base = self._chunk * 960, Fraction(1, 48_000)
        self._chunk += 1
        return frame


class Face(MediaStreamTrack):
    """The drawn face at 25 frames a second."""

    kind = "video"

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation
        self._index = 0
        self._start: float | None = None

    async def recv(self) -> av.VideoFrame:
        loop = asyncio.get_running_loop()
        self._start = loop.time() if self._start is None else self._start
        # Latest wins: a machine that cannot draw 25 a second skips some instead of falling behind.
        self._index = max(self._index + 1, int((loop.time() - self._start) * FPS))
        await asyncio.sleep(max(0.0, self._start + self._index / FPS - loop.time()))
        conversation = self._conversation
        pose, seconds = conversation.pose, self._index / FPS
        for axis, angle in conversation.target.items():
            pose[axis] += 0.2 * (angle - pose[axis])
        sway = 1.2 * math.sin(seconds * 1.3)
        opening = {
            "follows": conversation.level,
            "still": 0.0,
            "restless": 0.5 + 0.5 * math.sin(seconds * 14),
        }[conversation.mock.mouth]
        rgb = await asyncio.to_thread(
            draw_face, opening, pose["yaw"] + sway, pose["pitch"], pose["roll"]
        )
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = self._index * 3600, Fraction(1, 90_000)
        return frame


def create_app(mock: Mock) -> Starlette:
    page = load_page()
    preview = _png(draw_face(0.0))

    async def file(request: Request) -> Response:
        found = page.get(request.url.path)
        if found is None:
            return Response("Nothing here.", 404, headers=SECURITY_HEADERS)
        return Response(found.body, media_type=found.media_type, headers=SECURITY_HEADERS)

    async def avatars(_: Request) -> Response:
        return JSONResponse([AVATAR])

    async def picture(_: Request) -> Response:
        return Response(preview, media_type="image/png")

    async def control(request: Request) -> Response:
        name = request.path_params["name"]
        if name in SCENARIOS:
            mock.scenario = name
        elif name in MOUTHS:
            mock.mouth = name
        elif name in ("drop", "stop"):
            for conversation in list(mock.conversations):
                with contextlib.suppress(RuntimeError):
                    if name == "stop":
                        await conversation.send("goodbye", reason="the server is stopping")
                    await conversation.ws.close()
        else:
            return Response("No such scenario.\n", 404)
        return JSONResponse({"conversations": len(mock.conversations)})

    async def websocket(ws: WebSocket) -> None:
        if mock.scenario == "refuse":
            await ws.close()
            return
        await Conversation(mock, ws).run()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield

    return Starlette(
        routes=[
            WebSocketRoute("/ws", websocket),
            Route("/api/avatars", avatars),
            Route("/avatar/{name}/preview.png", picture),
            Route("/mock/{name}", control, methods=["POST"]),
            Route("/{path:path}", file),
        ],
        lifespan=lifespan,
    )


def _png(rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--mouth", choices=MOUTHS, default="follows")
    options = parser.parse_args()
    sock = socket.create_server((options.host, options.port))
    print(f"http://{options.host}:{sock.getsockname()[1]}/", flush=True)
    config = uvicorn.Config(create_app(Mock(options.mouth)), log_level="warning", lifespan="on")
    uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    main()
