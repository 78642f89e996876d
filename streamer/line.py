"""A WebSocket as typed messages in and out, with the limits on what comes in."""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import BaseModel
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from daetalker.streamer import protocol as p

MAX_MESSAGES_PER_S = 50.0


class Line:
    """One client's socket, after it has been accepted."""

    def __init__(self, socket: WebSocket, now: Callable[[], float] = time.monotonic) -> None:
        self._socket = socket
        self._allowed = RateLimit(MAX_MESSAGES_PER_S, now)
        self._complained_too_fast = RateLimit(1.0, now)

    async def receive(self) -> BaseModel:
        """The next good message; bad ones are answered and passed over.

        Raises:
            WebSocketDisconnect: if the client has gone.
        """
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received.get("code", 1005))
            if not self._allowed.take():
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
        await self.send(p.Error(code=error.code, message=error.message))

    async def close(self, reason: str) -> None:
        """Say goodbye and close; nothing happens if the socket is closed already."""
        try:
            await self.send(p.Goodbye(reason=reason))
            await self._socket.close()
        except (WebSocketDisconnect, RuntimeError, OSError):
            return


class RateLimit:
    """A token bucket: ``rate_per_s`` on average, ``burst`` at once, or else a second's worth.

    For one thread at a time.
    """

    def __init__(
        self, rate_per_s: float, now: Callable[[], float], burst: float | None = None
    ) -> None:
        self._rate_per_s = rate_per_s
        self._burst = rate_per_s if burst is None else burst
        self._now = now
        self._tokens = self._burst
        self._last = now()

    def take(self, count: float = 1.0) -> bool:
        """True if so many more are allowed now; else none is taken."""
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate_per_s)
        self._last = now
        if self._tokens < count:
            return False
        self._tokens -= count
        return True
