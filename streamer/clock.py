"""Clocks: time as an argument.  Seconds, from an arbitrary origin."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

__all__ = ["Clock", "MonotonicClock", "SimulatedClock"]

_SETTLE_ROUNDS = 8


class Clock(Protocol):
    """What a session knows about time."""

    def now(self) -> float:
        """Seconds; never goes back."""

    async def sleep_until(self, when_s: float) -> None:
        """Return once ``now() >= when_s``, at once if it is already."""


class MonotonicClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep_until(self, when_s: float) -> None:
        # A timer may fire a hair early (its resolution), hence the loop.
        while (left_s := when_s - self.now()) > 0.0:
            await asyncio.sleep(left_s)


class SimulatedClock:
    """Time that passes only when `advance` is awaited."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now = start_s
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    async def sleep_until(self, when_s: float) -> None:
        if when_s <= self._now:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (when_s, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, waking sleepers in order, each at exactly its own time."""
        await self.advance_to(self._now + seconds)

    async def advance_to(self, when_s: float) -> None:
        """Let time pass until ``when_s``; see `advance`."""
        await _let_others_run()
        while self._sleepers and self._sleepers[0][0] <= when_s:
            self._now = max(self._now, self._sleepers[0][0])
            # All who sleep until this instant wake before anyone of them acts.
            while self._sleepers and self._sleepers[0][0] <= self._now:
                _, _, woken = heapq.heappop(self._sleepers)
                if not woken.done():
                    woken.set_result(None)
            await _let_others_run()
        self._now = max(self._now, when_s)
        await _let_others_run()


async def _let_others_run() -> None:
    for _ in range(_SETTLE_ROUNDS):
        await asyncio.sleep(0)
