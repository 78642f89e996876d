"""A client for the agent sockets, for programs that are not part of the server.

::

    async with AgentClient("http://127.0.0.1:8080", avatar="mira", rate=24_000) as agent:
        await agent.say(pcm)
        number = await agent.end()
        print(await agent.finished(number))
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from daetalker.plugins.agent.media import Picture, Sound, unpack
from daetalker.plugins.agent.ring import Ring

__all__ = ["AgentClient", "AgentError", "Finished", "Picture", "Sound"]

_OPEN_S = 30.0
_MESSAGE_BYTES = 48 * 1024
_AHEAD_S = 20.0
"""Voice is sent at most this far ahead of being spoken, even if the server has not answered yet."""

_LOOK_S = 0.05
_EVENTS_KEPT = 1000
_MEDIA_KEPT = 150


class AgentError(Exception):
    """The server refused, or has gone; one sentence.

    Attributes:
        code: of the protocol, or ``closed``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Finished:
    """How an utterance went: ``position_s`` seconds of it were spoken."""

    position_s: float
    interrupted: bool


class AgentClient:
    """One session, spoken through.  For one event loop.

    Attributes:
        session: the session's id.
        watch: address of a page that shows it.
        size: pixels of a frame's side.
        delay_s: from voice to picture.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        avatar: str | None = None,
        rate: int = 24_000,
        channels: int = 1,
        media: bool = False,
        token: str | None = None,
    ) -> None:
        """A client of the server at ``url``; ``media`` asks for pictures and voice as well.

        Args:
            avatar: None for the server's own.
            rate: of the PCM that you will send, 8000 to 192000 samples a second.
            channels: 1, or 2 interleaved.
            token: the server's ``control_token``, if it has one.
        """
        self.session, self.watch, self.size, self.delay_s = "", "", 0, 0.0
        self._url = url
        self._query: dict[str, Any] = {"rate": rate, "channels": channels, "media": int(media)}
        if avatar is not None:
            self._query["avatar"] = avatar
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._bytes_per_s = 2.0 * channels * rate
        self._spoken_by_s = 0.0
        self._leaving = AsyncExitStack()
        self._socket: ClientConnection | None = None
        self._free = asyncio.Event()
        self._free.set()
        self._interrupts = 0
        self._said = False
        self._ends = 0
        self._finished: dict[int, asyncio.Future[Finished]] = {}
        # Full: the oldest goes; nobody reads them.
        self._events: Ring[dict[str, Any]] = Ring(_EVENTS_KEPT)
        self._media: Ring[Picture | Sound] = Ring(_MEDIA_KEPT)

    async def __aenter__(self) -> AgentClient:
        """Open the session.

        Raises:
            AgentError: if the server refuses, or is not there.
        """
        parts = urlsplit(self._url)
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        path = parts.path.rstrip("/") + "/plugins/agent/speak"
        address = urlunsplit((scheme, parts.netloc, path, urlencode(self._query), ""))
        try:
            self._socket = await connect(
                address,
                additional_headers=self._headers,
                open_timeout=_OPEN_S,
                max_size=None,
                compression=None,
            )
        except (OSError, InvalidHandshake, TimeoutError) as error:
            raise AgentError(
                "closed", f"no agent socket at {address}: {error}; is the plugin 'agent' on?"
            ) from None
        self._leaving.push_async_callback(self._socket.close)
        try:
            first = json.loads(await self._socket.recv())
        except ConnectionClosed:
            first = {"type": "error", "code": "closed", "message": "The server closed the socket."}
        if first["type"] != "ready":
            await self._leaving.aclose()
            raise AgentError(first["code"], first["message"])
        self.session, self.size = first["session"], first["size"]
        self.delay_s = first["delay_ms"] / 1000.0
        self.watch = urlunsplit((parts.scheme, parts.netloc, *urlsplit(first["watch"])[2:]))
        reading = asyncio.create_task(self._read(self._socket), name="agent client")
        self._leaving.push_async_callback(_cancel, reading)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._leaving.aclose()

    async def say(self, pcm: NDArray[np.int16] | bytes) -> None:
        """Send voice, as fast as the server wants it: waits while it has enough.

        An `interrupt` meanwhile ends the waiting, and the rest is not sent.

        Args:
            pcm: ``[N]`` int16, the channels interleaved, or the same as little-endian bytes.
        """
        data = pcm if isinstance(pcm, bytes) else np.asarray(pcm, "<i2").tobytes()
        interrupts = self._interrupts
        for start in range(0, len(data), _MESSAGE_BYTES):
            await self._room(interrupts)
            if interrupts != self._interrupts:
                return
            part = data[start : start + _MESSAGE_BYTES]
            self._said = True
            began_s = max(self._spoken_by_s, time.monotonic())
            self._spoken_by_s = began_s + len(part) / self._bytes_per_s
            await self._send(part)

    async def end(self) -> int:
        """End the utterance; its number, counted from 1.

        Raises:
            AgentError: if nothing was said.
        """
        if not self._said:
            raise AgentError("bad_message", "There is nothing to end: say something first.")
        self._said = False
        self._ends += 1
        self._expect(self._ends)
        await self.command({"type": "end"})
        return self._ends

    async def interrupt(self) -> None:
        """Be silent now; everything that was sent is dropped."""
        self._interrupts += 1
        if self._said:  # it has a number, though it was never ended
            self._said = False
            self._ends += 1
        self._spoken_by_s = 0.0
        self._free.set()
        await self.command({"type": "interrupt"})

    async def command(self, command: Mapping[str, Any] | BaseModel) -> None:
        """Send any command of the protocol; what is wrong with it comes back as an event."""
        if isinstance(command, BaseModel):
            command = command.model_dump(exclude_none=True)
        await self._send(json.dumps(dict(command)))

    async def finished(self, number: int) -> Finished:
        """Wait until an utterance is over.

        Raises:
            AgentError: if the server goes before.
        """
        return await asyncio.shield(self._expect(number))

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the server says, from the beginning: started, finished, state, error and others."""
        while (event := await self._events.take()) is not None:
            yield event

    async def media(self) -> AsyncIterator[Picture | Sound]:
        """Pictures and voice, 25 and 50 a second; a slow reader loses the oldest."""
        while (item := await self._media.take()) is not None:
            yield item

    async def _room(self, interrupts: int) -> None:
        """Wait until the server wants more, or there was an interrupt."""
        await self._free.wait()
        while self._spoken_by_s - time.monotonic() > _AHEAD_S and interrupts == self._interrupts:
            await asyncio.sleep(_LOOK_S)

    def _expect(self, number: int) -> asyncio.Future[Finished]:
        return self._finished.setdefault(number, asyncio.get_running_loop().create_future())

    async def _send(self, message: str | bytes) -> None:
        assert self._socket is not None, "use `async with`"
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            raise AgentError("closed", "The server has ended the session.") from None

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for message in socket:
                if isinstance(message, bytes):
                    self._media.put(unpack(message, self.size))
                else:
                    self._note(json.loads(message))
        except ConnectionClosed:
            pass
        finally:
            self._events.end()
            self._media.end()
            self._free.set()
            for future in self._finished.values():
                if not future.done():
                    future.set_exception(AgentError("closed", "The server ended the session."))
                    future.exception()  # perhaps nobody asks

    def _note(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "buffer":
                if event["hold"]:
                    self._free.clear()
                else:
                    self._free.set()
            case "finished":
                future = self._expect(event["utterance"])
                if not future.done():
                    future.set_result(Finished(event["position_s"], event["interrupted"]))
                while len(self._finished) > _EVENTS_KEPT:
                    del self._finished[next(iter(self._finished))]
        self._events.put(event)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
