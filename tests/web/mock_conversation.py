"""How the mock server talks with one client, and what its conversations share."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.sdp import candidate_from_sdp
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.web.mock_face import SIZE
from tests.web.mock_plugins import PLUGINS
from tests.web.mock_presets import POSE_RANGE, MockPresets
from tests.web.mock_session import FPS, Face, MockSession, Voice

REFUSALS = {
    "server_full": ("server_full", "All 4 places are taken.", 1013),
    "engine_failed": ("engine_failed", "Mock: engine_failed.", 1011),
    "unsupported_protocol": ("unsupported_protocol", "Mock: unsupported_protocol.", 1000),
    "signed_out": ("not_allowed", "A link with a token is needed.", 4401),
}
"""Error code, sentence and close code that a hello is answered with."""

SCENARIOS = ("ok", "refuse", "too_many", "no_media", *REFUSALS)
LOADS = ("load_ok", "load_reduced", "load_overloaded")
GOODBYES = {
    "stop": ("the server is being restarted", 1.0, 1001),
    "time_over": ("your hour is over", None, 1000),
}
"""Sentence, `retry_s` and close code."""

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
        self.load = "ok"
        self.frozen = asyncio.Event()

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
            "consent": {
                "person": "nobody",
                "agreed_by": "nobody had to",
                "statement": "Mira is synthetic.",
                "uses": [],
                "date": "",
            },
            "pose_range": POSE_RANGE,
            "presets": self.presets.list(),
        }

    async def do_to_all(self, name: str) -> None:
        for conversation in list(self.conversations):
            if name == "deaf":
                conversation.deaf = True
            elif name in GOODBYES:
                await conversation.leave(*GOODBYES[name])
            else:
                with contextlib.suppress(RuntimeError):
                    await conversation.ws.close()

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
        self.deaf = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = contextlib.ExitStack()

    async def send(self, type_: str, **fields: Any) -> None:
        if self.deaf:
            return
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
            case "hello" if scenario in REFUSALS:
                code, text, close_code = REFUSALS[scenario]
                await self.complain(code, text, fatal=True)
                await self.ws.close(close_code)
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
            synthetic=True,
            mark="AI",
            profile="default",
            delay_ms=360.0,
            ice_servers=[],
            can_edit=mock.can_edit,
            can_steer=True,
            plugins=mock.plugins,
        )

    async def leave_with(self, session: MockSession) -> None:
        await session.ended.wait()
        await self.leave("the session ended", 1.0)

    async def leave(self, text: str, retry_s: float | None, close_code: int = 1000) -> None:
        await self.send("goodbye", message=text, retry_s=retry_s)
        with contextlib.suppress(RuntimeError):
            await self.ws.close(close_code)

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
        face = Face(session, own=not self.watching, frozen=self.mock.frozen)
        connection.addTransceiver(face, direction="sendonly")
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
            await self.send("state", **session.state(), load=self.mock.load)
