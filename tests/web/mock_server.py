"""A stand-in for the server that speaks docs/protocol.md, to look at the page and to test it.

It needs no avatar: a drawn face opens its mouth as loud as the microphone is.  Run it and open the
address it prints::

    PYTHONPATH=.dev:. python tests/web/mock_server.py --port 8090

``POST /mock/NAME`` changes how the next conversations go (``SCENARIOS``, ``SWITCHES``), or does
something to the present ones (``drop``, ``stop``).  ``--mouth still`` and ``--mouth restless`` are
avatars with a fault that the end-to-end test must find.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import av
import numpy as np
import uvicorn
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.sdp import candidate_from_sdp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from daetalker.streamer.page import SECURITY_HEADERS, load_page
from tests.web.mock_face import SIZE, draw_face
from tests.web.mock_plugins import PLUGIN_SCRIPTS, PLUGINS
from tests.web.mock_presets import POSE_RANGE, MockPresets
from tests.web.mock_session import FPS, Face, MockSession, Voice

SCENARIOS = ("ok", "server_full", "engine_failed", "unsupported_protocol", "refuse", "no_media")
MOUTHS = ("follows", "still", "restless")
SWITCHES = ("editable", "read_only", "with_plugins", "without_plugins", "fresh_presets")


class Mock:
    """What the conversations share."""

    def __init__(self, mouth: str) -> None:
        self.mouth = mouth
        self.scenario = "ok"
        self.can_edit = True
        self.plugins: list[dict[str, Any]] = []
        self.presets = MockPresets()
        self.conversations: set[Conversation] = set()
        self.sessions: dict[str, MockSession] = {}
        self.counted = 0

    def switch(self, name: str) -> None:
        match name:
            case "editable" | "read_only":
                self.can_edit = name == "editable"
            case "with_plugins" | "without_plugins":
                self.plugins = PLUGINS if name == "with_plugins" else []
            case "fresh_presets":
                self.presets.reset()

    def avatar(self) -> dict[str, Any]:
        return {
            "name": "mira",
            "label": "Mira",
            "size": SIZE,
            "fps": FPS,
            "synthetic": True,
            "pose_range": POSE_RANGE,
            "presets": self.presets.list(),
        }

    async def tell_presets(self) -> None:
        for conversation in list(self.conversations):
            await conversation.send("presets", presets=self.presets.list())


class Conversation:
    """One client, who speaks in a session of its own or watches another's."""

    def __init__(self, mock: Mock, ws: WebSocket) -> None:
        self.mock = mock
        self.ws = ws
        self.connection: RTCPeerConnection | None = None
        self.session: MockSession | None = None
        self.watching = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = contextlib.ExitStack()

    async def send(self, type_: str, **fields: Any) -> None:
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            await self.ws.send_text(json.dumps({"type": type_, **fields}))

    async def run(self) -> None:
        await self.ws.accept()
        self.mock.conversations.add(self)
        try:
            while await self.handle(json.loads(await self.ws.receive_text())):
                pass
        except (WebSocketDisconnect, RuntimeError):  # RuntimeError: closed by drop()
            pass
        finally:
            self.mock.conversations.discard(self)
            if self.session is not None and not self.watching:
                self.session.ended.set()
                del self.mock.sessions[self.session.id]
            for task in self.tasks:
                task.cancel()
            self.closing.close()
            if self.connection is not None:
                await self.connection.close()

    async def handle(self, message: dict[str, Any]) -> bool:
        """Act on a message; False ends the conversation."""
        scenario = self.mock.scenario
        match message["type"]:
            case "hello" if scenario in ("server_full", "engine_failed", "unsupported_protocol"):
                await self.complain(scenario, f"Mock: {scenario}.", fatal=True)
                await self.ws.close()
                return False
            case "hello":
                await self.welcome(message.get("watch"))
            case "offer" if scenario != "no_media":
                await self.answer(message["sdp"])
            case "candidate" if self.connection is not None and message["candidate"]:
                candidate = candidate_from_sdp(message["candidate"].removeprefix("candidate:"))
                candidate.sdpMid = message["sdpMid"]
                candidate.sdpMLineIndex = message["sdpMLineIndex"]
                await self.connection.addIceCandidate(candidate)
            case "save_preset" | "delete_preset":
                await self.change_presets(message)
            case "ping":
                await self.send("pong", id=message["id"])
            case "bye":
                return False
            case _ if self.session is not None:
                try:
                    self.session.command(message)
                except KeyError as error:
                    await self.complain("unknown_preset", f"There is no preset {error}.")
        return True

    async def complain(self, code: str, text: str, *, fatal: bool = False) -> None:
        await self.send("error", code=code, message=text, fatal=fatal)

    async def welcome(self, watch: str | None) -> None:
        mock = self.mock
        if watch is None:
            mock.counted += 1
            self.session = MockSession(f"mock{mock.counted}", mock.mouth, mock.presets)
            mock.sessions[self.session.id] = self.session
        else:
            newest = next(reversed(mock.sessions), "")
            self.session = mock.sessions.get(newest if watch == "latest" else watch)
            self.watching = True
            if self.session is None:
                await self.complain("unknown_session", "There is no such session.")
                return
            self.spawn(self.leave_with(self.session))
        await self.send(
            "welcome",
            protocol=1,
            session=self.session.id,
            avatar=mock.avatar(),
            profile="default",
            delay_ms=360.0,
            ice_servers=[],
            can_edit=mock.can_edit,
            plugins=mock.plugins,
        )

    async def leave_with(self, session: MockSession) -> None:
        await session.ended.wait()
        await self.send("goodbye", reason="the session ended")
        with contextlib.suppress(RuntimeError):
            await self.ws.close()

    async def change_presets(self, message: dict[str, Any]) -> None:
        if not self.mock.can_edit:
            await self.complain("not_allowed", "Presets may not be changed from here.")
            return
        try:
            if message["type"] == "save_preset":
                self.mock.presets.save(message)
            else:
                self.mock.presets.delete(message["name"])
        except ValueError as error:
            await self.complain("bad_preset", f"{error}")
        except KeyError as error:
            await self.complain("unknown_preset", f"There is no preset {error}.")
        else:
            await self.mock.tell_presets()

    async def answer(self, sdp: str) -> None:
        session = self.session
        assert session is not None
        self.connection = connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if self.watching:
            voice = Voice(session, self.closing.enter_context(session.overheard()))
        else:
            voice = Voice(session)
            connection.on("track", self.listen)
        connection.addTrack(voice)
        connection.addTransceiver(Face(session, own=not self.watching), direction="sendonly")
        await connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        await connection.setLocalDescription()
        await self.send("answer", sdp=connection.localDescription.sdp)
        self.spawn(self.report(session))

    def listen(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio" and self.session is not None:
            self.spawn(self.session.listen(track))

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def report(self, session: MockSession) -> None:
        while True:
            await asyncio.sleep(0.5)
            await self.send("state", **session.state())


def create_app(mock: Mock) -> Starlette:
    page = load_page()
    page["/stage"] = page["/stage.html"]
    preview = _png(draw_face(0.0))

    async def file(request: Request) -> Response:
        found = page.get(request.url.path)
        if found is None:
            return Response("Nothing here.", 404, headers=SECURITY_HEADERS)
        return Response(found.body, media_type=found.media_type, headers=SECURITY_HEADERS)

    async def avatars(_: Request) -> Response:
        return JSONResponse([mock.avatar()])

    async def picture(_: Request) -> Response:
        return Response(preview, media_type="image/png")

    async def plugin_script(request: Request) -> Response:
        script = PLUGIN_SCRIPTS[request.path_params["name"]]
        return Response(script, media_type="text/javascript", headers=SECURITY_HEADERS)

    async def greet(request: Request) -> Response:
        session = (await request.json())["session"]
        return JSONResponse({"text": f"Hello, {session}."})

    async def control(request: Request) -> Response:
        name = request.path_params["name"]
        if name in SCENARIOS:
            mock.scenario = name
        elif name in MOUTHS:
            mock.mouth = name
        elif name in SWITCHES:
            mock.switch(name)
            await mock.tell_presets()
        elif name in ("drop", "stop"):
            for conversation in list(mock.conversations):
                with contextlib.suppress(RuntimeError):
                    if name == "stop":
                        await conversation.send("goodbye", reason="the server is stopping")
                    await conversation.ws.close()
        elif name != "count":
            return Response("No such scenario.\n", 404)
        interrupted = sum(session.interrupted for session in mock.sessions.values())
        return JSONResponse({"conversations": len(mock.conversations), "interrupted": interrupted})

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
            Route("/plugins/{name}/page.js", plugin_script),
            Route("/plugins/hello/greet", greet, methods=["POST"]),
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
