"""The agent plugin: two WebSockets, one to speak through a session, one for raw media."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import metadata
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from daetalker.plugins.agent.messages import Media
from daetalker.plugins.agent.speaking import Limits, Speaking
from daetalker.plugins.agent.wire import forward_media, say_goodbye, send
from daetalker.streamer import protocol as p
from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.media import FPS, VOICE_RATE
from daetalker.streamer.plugin import Finding, Host, Plugin, PluginSettings

__all__ = ["AgentPlugin", "AgentSettings"]


class AgentSettings(PluginSettings):
    """Settings of the agent plugin; times in seconds of voice, unless said otherwise."""

    sessions: Annotated[int, Field(ge=1, le=8)] = 4
    """Agents at once; each takes one of the server's places too."""
    buffer_s: Annotated[float, Field(ge=5.0, le=600.0)] = 120.0
    """Voice that may wait; more is refused with `buffer_full`."""
    pause_s: Annotated[float, Field(ge=1.0, le=300.0)] = 10.0
    """More than this waits: the agent is asked to hold back."""
    resume_s: Annotated[float, Field(ge=0.1, le=100.0)] = 2.0
    """Less than this waits: the agent is asked to go on."""
    preroll_ms: Annotated[float, Field(ge=0.0, le=1000.0)] = 100.0
    """An utterance that comes in real time starts when this much of it is here."""
    idle_s: Annotated[float, Field(ge=1.0, le=86_400.0)] = 600.0
    """Seconds after which an agent that sends nothing is sent away."""

    @model_validator(mode="after")
    def _marks_in_order(self) -> AgentSettings:
        if not self.resume_s < self.pause_s < self.buffer_s:
            raise ValueError("resume_s must be below pause_s, and pause_s below buffer_s")
        return self

    def limits(self) -> Limits:
        """What a conversation needs to know of them."""
        preroll_s = self.preroll_ms / 1000.0
        return Limits(self.buffer_s, self.pause_s, self.resume_s, preroll_s, self.idle_s)


class _Wanted(BaseModel):
    """The query of the speak socket."""

    model_config = ConfigDict(extra="forbid")

    avatar: Annotated[str, Field(max_length=256)] | None = None
    rate: Annotated[int, Field(ge=8_000, le=192_000)] = 24_000
    channels: Annotated[int, Field(ge=1, le=2)] = 1
    media: bool = False


class AgentPlugin(Plugin):
    """Serves ``/plugins/agent/speak`` and ``/plugins/agent/media``."""

    name: ClassVar[str] = "agent"
    Settings = AgentSettings

    def __init__(self, host: Host, settings: AgentSettings) -> None:
        super().__init__(host, settings)
        self._speaking = 0
        self._stopping = asyncio.Event()

    def routes(self) -> Sequence[BaseRoute]:
        return (
            WebSocketRoute("/speak", self._serve_speak),
            WebSocketRoute("/media", self._serve_media),
        )

    async def stop(self) -> None:
        self._stopping.set()

    @classmethod
    def examine(cls, settings: AgentSettings) -> Iterable[Finding]:
        version = metadata.version("websockets")
        yield Finding(
            "agent",
            "ok",
            f"{settings.sessions} agents at once, {settings.buffer_s:.0f} s of voice each; "
            f"websockets {version} for the Python client",
        )

    async def _serve_speak(self, socket: WebSocket) -> None:
        await socket.accept()
        reason = "the client left"
        try:
            reason = await self._speak(socket)
        except p.ProtocolError as error:  # no session could be had
            reason = error.message
            await _give_up(socket, error)
        except WebSocketDisconnect:
            pass
        except Exception:  # a fault of ours ends one conversation, not the plugin
            self.host.log.exception("an agent's conversation failed")
            reason = "an internal error"
        finally:
            await say_goodbye(socket, reason)

    async def _speak(self, socket: WebSocket) -> str:
        if not socket.scope["operator"]:
            raise p.ProtocolError("not_allowed", _OPERATORS_ONLY)
        wanted = _wanted(socket)
        if self._speaking >= self.settings.sessions:
            raise p.ProtocolError(
                "server_full",
                f"{self._speaking} agents speak already; see the plugin's setting 'sessions'.",
            )
        self._speaking += 1
        try:
            session = await self.host.open_session(wanted.avatar)
            self.host.log.info("session %s: an agent speaks", session.id)
            try:
                return await Speaking(
                    socket,
                    session,
                    self.settings.limits(),
                    rate=wanted.rate,
                    channels=wanted.channels,
                    media=wanted.media,
                ).run(self._stopping)
            finally:
                await session.close()
        finally:
            self._speaking -= 1

    async def _serve_media(self, socket: WebSocket) -> None:
        await socket.accept()
        reason = "the session ended"
        try:
            await self._watch(socket)
        except p.ProtocolError as error:
            reason = error.message
            await _give_up(socket, error)
        except WebSocketDisconnect:
            pass
        finally:
            await say_goodbye(socket, reason)

    async def _watch(self, socket: WebSocket) -> None:
        which = socket.query_params.get("session", "latest")
        if which == "latest" and not socket.scope["operator"]:
            raise p.ProtocolError("not_allowed", _OPERATORS_ONLY)
        session = await self.host.find(which)  # whoever knows an id was told it by its owner
        await send(
            socket, Media(session=session.id, size=session.size, fps=FPS, voice_rate=VOICE_RATE)
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(forward_media(socket, session), name="agent media")
                group.create_task(_until_closed(socket), name="agent media: closed")
        except* (SessionClosed, WebSocketDisconnect):
            pass  # the usual ends


_OPERATORS_ONLY = (
    "Only operators may do this: come from this machine to a server on localhost, or send the "
    "server's control_token."
)


def _wanted(socket: WebSocket) -> _Wanted:
    query = {name: value for name, value in socket.query_params.items() if name != "token"}
    try:
        return _Wanted.model_validate(query)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise p.ProtocolError("bad_message", f"?{name}: {first['msg'].lower()}.") from None


async def _give_up(socket: WebSocket, error: p.ProtocolError) -> None:
    with suppress(WebSocketDisconnect):
        await send(socket, p.Error(code=error.code, message=error.message, fatal=True))


async def _until_closed(socket: WebSocket) -> None:
    """Read and ignore what a media client sends, until it leaves."""
    while True:
        received: Any = await socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1005))
