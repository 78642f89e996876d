"""What one address may have at once, and how fast: sockets, requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from daetalker.streamer.addresses import address_key
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.rate_limit import RateLimit

__all__ = ["AddressLimits", "TooMany"]

MAX_REQUESTS = 32
"""HTTP requests that one address may have open at once; a browser opens 6."""

REQUESTS_PER_S = 100.0
REQUESTS_AT_ONCE = 1000.0
"""A page loads about fifty files."""

MAX_IDLE = 4096
"""Addresses that are remembered although nothing of theirs is open."""


class TooMany(StreamerError):
    """An address has as much as it may."""


@dataclass
class _Address:
    pace: RateLimit
    sockets: int = 0
    requests: int = 0


class AddressLimits:
    """Counts what is open for each address.  For one thread.

    Networks of IPv6 count as one address, whoever has one has all of it.
    """

    def __init__(self, max_sockets: int, now: Callable[[], float] = time.monotonic) -> None:
        self._max_sockets = max_sockets
        self._now = now
        self._addresses: dict[str, _Address] = {}

    @contextmanager
    def socket(self, address: str) -> Iterator[None]:
        """Hold one WebSocket.

        Raises:
            TooMany: if that would be one too many, or too fast.
        """
        mine = self._of(address)
        if mine.sockets >= self._max_sockets:
            raise TooMany(
                f"Your address has {mine.sockets} connections open, which is all it may: "
                "close one of them."
            )
        _keep_pace(mine)
        mine.sockets += 1
        try:
            yield
        finally:
            mine.sockets -= 1

    @contextmanager
    def request(self, address: str) -> Iterator[None]:
        """Hold one HTTP request.

        Raises:
            TooMany: if that would be one too many, or too fast.
        """
        mine = self._of(address)
        if mine.requests >= MAX_REQUESTS:
            raise TooMany(f"Your address has {MAX_REQUESTS} requests open: wait for their answers.")
        _keep_pace(mine)
        mine.requests += 1
        try:
            yield
        finally:
            mine.requests -= 1

    def _of(self, address: str) -> _Address:
        key = address_key(address)
        if key not in self._addresses:
            if len(self._addresses) >= MAX_IDLE:
                self._forget_idle()
            pace = RateLimit(REQUESTS_PER_S, self._now, REQUESTS_AT_ONCE)
            self._addresses[key] = _Address(pace)
        return self._addresses[key]

    def _forget_idle(self) -> None:
        self._addresses = {
            key: one for key, one in self._addresses.items() if one.sockets or one.requests
        }


def _keep_pace(address: _Address) -> None:
    if not address.pace.take():
        raise TooMany(
            f"Your address asks more than {REQUESTS_PER_S:.0f} times a second: slow down."
        )
