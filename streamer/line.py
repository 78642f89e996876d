"""A WebSocket as typed messages in and out, with the limits on what comes in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from pydantic import BaseModel
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from daetalker.streamer import protocol as p
from daetalker.streamer.rate_limit import RateLimit

__all__ = ["Line", "RateLimit"]

MAX_MESSAGES_PER_S = 50.0
MAX_SURPLUS = 1000
"""Messages beyond that rate after which the client is sent away."""

_NOTED_ELSEWHERE: tuple[p.ErrorCode, ...] = ("server_full", "engine_failed")

FAREWELL_S = 1.0
"""What a client that does not read gets to hear the goodbye."""


class Line:
    """One client's socket, after it has been accepted."""

    def __init__(
        self,
        socket: WebSocket,
        now: Callable[[], float] = time.monotonic,
        refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """A line; ``refused`` is called with the reason of every refusal."""
        self._socket = socket
        self._refused = refused
        self._surplus = 0
        self._allowed = RateLimit(MAX_MESSAGES_PER_S, now)
        self._complained_too_fast = RateLimit(1.0, now)
        self._said_goodbye = False

    async def receive(self) -> BaseModel:
        """The next good message; bad ones are answered and passed over.

        Raises:
            ProtocolError: ``too_fast`` if the client does not stop flooding.
            WebSocketDisconnect: if the client has gone.
        """
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received.get("code", 1005))
            if not self._allowed.take():
                self._surplus += 1
                if self._surplus >= MAX_SURPLUS:
                    raise p.ProtocolError("too_fast", "Far too many messages: goodbye.")
                # One complaint a second: an answer to each would double the flood.
                if self._complained_too_fast.take():
                    limit = f"{MAX_MESSAGES_PER_S:.0f} messages a second"
                    await self.complain(
                        p.ProtocolError("too_fast", f"More than {limit}: some were not read.")
                    )
                continue
            text = received.get("text")
            try:
                if text is None:
                    raise p.ProtocolError("bad_message", "Messages are text, not binary.")
                return p.parse_client_message(text)
            except p.ProtocolError as error:
                await self.complain(error)

    async def send(self, message: BaseModel) -> None:
        """Send a message.

        Raises:
            WebSocketDisconnect: if the client has gone.
        """
        if self._socket.application_state is not WebSocketState.CONNECTED:
            raise WebSocketDisconnect(1006)
        try:
            await self._socket.send_text(p.to_json(message))
        except (RuntimeError, OSError) as error:  # what servers raise after the peer's close
            raise WebSocketDisconnect(1006) from error

    async def complain(self, error: p.ProtocolError) -> None:
        """Tell the client of its mistake; the conversation goes on."""
        self._refused(error.code)
        await self.send(p.Error(code=error.code, message=error.message))

    async def refuse(self, error: p.ProtocolError) -> None:
        """Tell the client what ends the conversation.

        Raises:
            WebSocketDisconnect: if the client has gone.
        """
        if error.code not in _NOTED_ELSEWHERE:
            self._refused(error.code)
        await self.send(p.Error(code=error.code, message=error.message, fatal=True))

    async def goodbye(self, message: str, retry_s: float | None) -> None:
        """Say goodbye, once; a second time nothing is said, and nobody is waited for.

        Raises:
            WebSocketDisconnect: if the client has gone.
        """
        if self._said_goodbye:
            return
        self._said_goodbye = True
        with suppress(TimeoutError):  # it does not read
            async with asyncio.timeout(FAREWELL_S):
                await self.send(p.Goodbye(message=message, retry_s=retry_s))

    async def close(self, message: str, retry_s: float | None, code: int = 1000) -> None:
        """Say goodbye and close.

        Nothing happens if the socket is closed already, or if the client does not read.
        """
        try:
            await self.goodbye(message, retry_s)
            async with asyncio.timeout(FAREWELL_S):
                await self._socket.close(code)
        except (WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
            return
