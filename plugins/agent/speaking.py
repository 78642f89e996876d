"""One agent on its socket: voice and commands in, news of the utterances out.

``Speaking.run`` is the whole story.  The socket is read all the time and never waits: voice goes
into a `Backlog`, an interrupt goes straight to the session, answers leave through a queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.websockets import WebSocket, WebSocketDisconnect

from daetalker.plugins.agent.backlog import Backlog, Full
from daetalker.plugins.agent.messages import Buffer, ClientMessage, End, Ready, State, read
from daetalker.plugins.agent.tally import Tally
from daetalker.plugins.agent.wire import End as Over
from daetalker.plugins.agent.wire import forward_media, send
from daetalker.streamer import protocol as p
from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.line import RateLimit
from daetalker.streamer.live_session import LiveSession, Spoken

__all__ = ["Limits", "Speaking"]

STATE_INTERVAL_S = 0.5
MAX_TEXTS_PER_S = 30.0
CALL_INTERVAL_S = 0.04
"""At least this between two calls that speak: many small messages become one."""


@dataclass(frozen=True)
class Limits:
    """How much may wait, and for how long; seconds.

    Attributes:
        buffer_s: voice that may wait; more is refused.
        pause_s: above this the agent is asked to hold back.
        resume_s: below this it is asked to go on.
        preroll_s: of an utterance that comes in real time, this much is awaited first.
        idle_s: an agent that sends nothing for so long is sent away.
    """

    buffer_s: float
    pause_s: float
    resume_s: float
    preroll_s: float
    idle_s: float


class Speaking:
    """The conversation after the session was opened."""

    def __init__(
        self,
        socket: WebSocket,
        session: LiveSession,
        limits: Limits,
        *,
        rate: int,
        channels: int,
        media: bool,
    ) -> None:
        self._socket = socket
        self._session = session
        self._limits = limits
        self._rate, self._channels, self._media = rate, channels, media
        self._backlog = Backlog(rate, channels, max_s=limits.buffer_s, preroll_s=limits.preroll_s)
        self._tally = Tally()
        self._held_back = False
        self._epoch = 0
        self._heard_of_s = time.monotonic()
        # Full: the agent does not read; it is sent away.
        self._outbox: asyncio.Queue[BaseModel] = asyncio.Queue(256)
        # Full: the command is refused as too fast.
        self._commands: asyncio.Queue[p.Command] = asyncio.Queue(32)

    async def run(self, stopping: asyncio.Event) -> str:
        """Until someone ends it; returns why.  The caller closes session and socket."""
        reasons: list[str] = []
        try:
            async with asyncio.TaskGroup() as group:
                self._tell(self._ready())
                tasks = {
                    "write": self._write(),
                    "listen": self._listen(),
                    "feed": self._feed(group),
                    "obey": self._obey(),
                    "hear": self._hear(),
                    "report": self._report(),
                    "stop": self._stop(stopping),
                }
                if self._media:
                    tasks["media"] = forward_media(self._socket, self._session)
                for name, task in tasks.items():
                    group.create_task(task, name=f"agent {self._session.id}: {name}")
        except* Over as over:
            reasons += [_first(over).reason]
        except* SessionClosed:
            reasons.append("the session ended")
        except* WebSocketDisconnect:
            reasons.append("the client left")
        return reasons[0]

    def _ready(self) -> Ready:
        session = self._session
        return Ready(
            session=session.id,
            watch=f"/stage?session={session.id}",
            size=session.size,
            fps=session.avatar.fps,
            delay_ms=round(session.delay_s * 1000, 1),
            rate=self._rate,
            channels=self._channels,
        )

    # In.

    async def _listen(self) -> None:
        allowed = RateLimit(MAX_TEXTS_PER_S, time.monotonic)
        complained = RateLimit(1.0, time.monotonic)
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received.get("code", 1005))
            self._heard_of_s = time.monotonic()
            try:
                if received.get("bytes") is not None:
                    self._take_voice(received["bytes"])
                elif allowed.take():
                    await self._act(read(received["text"]))
                elif complained.take():  # one complaint a second, or answers double the flood
                    limit = f"{MAX_TEXTS_PER_S:.0f} texts a second"
                    raise p.ProtocolError("too_fast", f"More than {limit}: some were not read.")
            except p.ProtocolError as error:
                self._complain(error)

    def _take_voice(self, data: bytes) -> None:
        try:
            self._backlog.push(data)
        except Full:
            raise p.ProtocolError(
                "buffer_full",
                f"{self._limits.buffer_s:.0f} s of voice wait already and these "
                f"{len(data)} bytes were dropped; send no faster than the 'buffer' messages allow.",
            ) from None
        if not self._held_back and self._backlog.seconds > self._limits.pause_s:
            self._held_back = True
            self._tell_buffer()

    async def _act(self, message: ClientMessage) -> None:
        match message:
            case End():
                self._backlog.end()
            case p.Interrupt():
                await self._interrupt()
            case p.Ping(id=number):
                self._tell(p.Pong(id=number))
            case p.Bye():
                raise Over("bye")
            case _:
                try:
                    self._commands.put_nowait(message)
                except asyncio.QueueFull:
                    raise p.ProtocolError(
                        "too_fast", "Earlier commands are not done yet; this one was dropped."
                    ) from None

    async def _interrupt(self) -> None:
        self._epoch += 1
        dropped = self._backlog.clear()
        await self._session.interrupt()
        self._tell_all(self._tally.interrupt(dropped))
        self._ease_off()

    # Onwards to the session.

    async def _feed(self, group: asyncio.TaskGroup) -> None:
        """Hand voice to the session, which holds this up while it has enough."""
        while True:
            piece = await self._backlog.take()
            epoch, began_s = self._epoch, time.monotonic()
            self._tally.begin(piece.utterance)
            if piece.pcm.size:
                await self._session.speak(piece.pcm, self._rate, self._channels)
            self._ease_off()
            if piece.last and epoch == self._epoch:
                spoken = await self._session.end_utterance()
                if spoken is not None:
                    group.create_task(self._await_end(piece.utterance, spoken))
                elif epoch == self._epoch:  # there was not one whole sample in it
                    self._tell_all(self._tally.finish(piece.utterance, 0.0, interrupted=False))
            else:
                await asyncio.sleep(began_s + CALL_INTERVAL_S - time.monotonic())

    async def _await_end(self, utterance: int, spoken: Spoken) -> None:
        playback = await spoken.done()
        position_s, interrupted = playback.position_s, playback.interrupted
        self._tell_all(self._tally.finish(utterance, position_s, interrupted))

    async def _obey(self) -> None:
        while True:
            command = await self._commands.get()
            try:
                await self._session.command(command)
            except p.ProtocolError as error:
                self._complain(error)

    # Out.

    async def _hear(self) -> None:
        """Follow what the session gives out, to tell when utterances start and where they end."""
        async with self._session.outlet() as outlet:
            while True:
                self._tell_all(self._tally.hear(await outlet.voice()))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(STATE_INTERVAL_S)
            state = self._session.state().model_dump()
            self._tell(State.model_validate({**state, "utterance": self._tally.sounding}))
            if time.monotonic() - self._heard_of_s > self._limits.idle_s:
                raise Over(f"nothing came for {self._limits.idle_s:.0f} s")

    async def _write(self) -> None:
        while True:
            await send(self._socket, await self._outbox.get())

    async def _stop(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        raise Over("the server is stopping")

    def _ease_off(self) -> None:
        if self._held_back and self._backlog.seconds < self._limits.resume_s:
            self._held_back = False
            self._tell_buffer()

    def _tell_buffer(self) -> None:
        self._tell(Buffer(seconds=round(self._backlog.seconds, 2), hold=self._held_back))

    def _complain(self, error: p.ProtocolError) -> None:
        self._tell(p.Error(code=error.code, message=error.message))

    def _tell_all(self, messages: Iterable[BaseModel]) -> None:
        for message in messages:
            self._tell(message)

    def _tell(self, message: BaseModel) -> None:
        try:
            self._outbox.put_nowait(message)
        except asyncio.QueueFull:
            raise Over("the client does not read its messages") from None


def _first(group: BaseExceptionGroup[Over]) -> Over:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")
