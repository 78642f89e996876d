"""What uvicorn leaves out: a client that is slow with its headers, or opens and opens connections.

uvicorn itself bounds the size of the headers (``h11_max_incomplete_event_size``, answered by 400)
and how long an idle connection is kept after an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from daetalker.streamer.addresses import address_key, is_trusted
from daetalker.streamer.refusals import Refusals
from daetalker.streamer.settings import Settings

__all__ = ["HEADERS_S", "MAX_HEADER_BYTES", "MAX_PER_ADDRESS", "guarded_http", "quiet_uvicorn"]

HEADERS_S = 10.0
"""How long the headers of a request may take, from its first byte or the connection's opening."""

MAX_HEADER_BYTES = 32 * 1024
KEEP_ALIVE_S = 5
MAX_CONNECTIONS = 512
"""Connections in all, WebSockets included; one more is closed at once."""

MAX_PER_ADDRESS = 64
"""Connections of one address that are no WebSockets; a browser opens 6.  Trusted proxies: any."""

_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 27\r\n\r\nThe request took too long.\n"
)


def guarded_http(settings: Settings, refusals: Refusals) -> type[asyncio.Protocol]:
    """A protocol class for uvicorn's ``http``, for one server."""
    open_now: Counter[str] = Counter()

    class GuardedProtocol(H11Protocol):
        _key: str | None = None
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            address = self.client[0] if self.client else "unknown"
            if len(self.connections) > MAX_CONNECTIONS:
                refusals.note("too_many", address, "connections in all")
                transport.abort()
                return
            if not is_trusted(address, settings.trusted_proxies):
                key = address_key(address)
                if open_now[key] >= MAX_PER_ADDRESS:
                    refusals.note("too_many", address, "connections")
                    transport.abort()
                    return
                open_now[key] += 1
                self._key = key
            self._expect_headers()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_waiting()
            elif not self.transport.is_closing() and self._timer is None and self._key is not None:
                self._expect_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._let_go()
            super().connection_lost(exc)

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self._let_go()  # from now on it is counted as a WebSocket
            super().handle_websocket_upgrade(event)

        def send_400_response(self, msg: str) -> None:
            refusals.note("bad_request", self.client[0] if self.client else "unknown")
            super().send_400_response(msg)

        def _expect_headers(self) -> None:
            self._timer = self.loop.call_later(HEADERS_S, self._too_slow)

        def _too_slow(self) -> None:
            self._timer = None
            if self.transport.is_closing():
                return
            refusals.note("bad_request", self.client[0] if self.client else "unknown", "too slow")
            self.transport.write(_TOO_SLOW)
            self.transport.close()

        def _stop_waiting(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _let_go(self) -> None:
            self._stop_waiting()
            if self._key is not None:
                open_now[self._key] -= 1
                if not open_now[self._key]:
                    del open_now[self._key]
                self._key = None

    return GuardedProtocol


_SAID_BY_REFUSALS = (
    "Invalid HTTP request received",
    "Unsupported upgrade request",
    "No supported WebSocket library",
)


def _not_said_twice(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_SAID_BY_REFUSALS)


def quiet_uvicorn() -> None:
    """Keep uvicorn from logging a line for every bad request: a flood would fill the disk."""
    logger: Any = logging.getLogger("uvicorn.error")
    if _not_said_twice not in logger.filters:
        logger.addFilter(_not_said_twice)
