"""Two hundred clients come and go, half of them without a word: nothing is left of them.

A client that is killed leaves a closed socket behind; one that is stopped (a laptop that sleeps)
leaves nothing at all, and is given up by the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from asyncio.subprocess import Process
from pathlib import Path

import pytest

from tests.streamer.odd import POOL, OddServer, line, odd_server, start
from tests.streamer.odd_clients import talk

CYCLES = int(os.environ.get("DAETALKER_CYCLES", "200"))
TOGETHER = 5
HALVES = 3
LOST_S = 30.0
"""Given up by then: 2 s for those with media, 15 s for a socket without (server.py)."""

MOST_MB = 25.0
"""The allocator's high water; measured 13, and nothing more by another 280 killed clients."""

MOST_FILES = 2
MOST_TASKS = 1
MOST_OBJECTS = 2500
"""What may be left of a hundred and more clients: about ten objects of Python for each."""


async def polite(url: str) -> None:
    clients = await asyncio.gather(*(talk(url) for _ in range(TOGETHER)))
    await asyncio.gather(*(client.close() for client in clients))


async def vanishing(url: str, how: signal.Signals) -> Process:
    """Clients and some that stop half way, all gone at once."""
    process = await start("odd_clients.py", url, str(TOGETHER), str(HALVES))
    await line(process, "ready")
    process.send_signal(how)
    return process


async def come_and_go(url: str, rounds: int, stopped: list[Process], *hows: signal.Signals) -> None:
    """In each round as many polite ones as vanishing ones."""
    for number in range(rounds):
        how = hows[number % len(hows)]
        process, _ = await asyncio.gather(vanishing(url, how), polite(url))
        if how is signal.SIGSTOP:
            stopped.append(process)
        else:
            await process.communicate()


async def empty(server: OddServer, sockets: float) -> dict[str, float]:
    """Wait until nobody is there, or has been given up who said nothing; the figures then."""
    end_s = time.monotonic() + LOST_S
    while time.monotonic() < end_s:
        figures = await server.figures()
        if not figures["sessions"] and figures["sockets"] <= sockets:
            break
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)
    return await server.figures()


@pytest.mark.slow
async def test_nothing_is_left_of_those_who_came_and_went(bundle: Path) -> None:
    stopped: list[Process] = []
    rounds = max(6, CYCLES // (2 * TOGETHER))
    settings = {"lost_after_s": 2, "max_per_address": 200, "log_level": "error"}
    try:
        async with odd_server(bundle, **settings) as server:
            fresh = await server.figures()
            # What is made once (thread pools, caches) is made by the first ones.
            await come_and_go(server.url, 4, stopped, signal.SIGKILL)
            before = await empty(server, fresh["sockets"])
            start_s = time.monotonic()
            await come_and_go(server.url, rounds - 4, stopped, signal.SIGKILL, signal.SIGSTOP)
            took_s = time.monotonic() - start_s
            after = await empty(server, before["sockets"])
            clients = (rounds - 4) * (2 * TOGETHER + HALVES)
            print(f"\n{clients} clients in {took_s:.0f} s")
            for name, figure in after.items():
                print(f"  {name}: {before[name]:.1f} -> {figure:.1f}")
            grown = {name: figure - before[name] for name, figure in after.items()}
            assert grown["files"] <= MOST_FILES and grown["sockets"] <= MOST_FILES
            assert grown["threads"] < POOL
            assert grown["tasks"] <= MOST_TASKS
            assert grown["objects"] <= MOST_OBJECTS
            assert grown["rss_mb"] <= MOST_MB
    finally:
        for process in stopped:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
