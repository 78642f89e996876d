"""A visitor of the soak: a client in a process of its own, so that it can be killed like one.

``python -m daetalker.streamer.bench_visitor URL`` connects, prints a line once it sees the avatar,
talks until its standard input ends, and then leaves with a goodbye.
"""

from __future__ import annotations

import asyncio
import sys

from daetalker.streamer.bench_client import BenchClient
from daetalker.streamer.bench_voice import synthetic_voice
from daetalker.streamer.errors import StreamerError

__all__ = ["SEES"]

SEES = "sees"


async def _visit(url: str) -> None:
    async with BenchClient(url, synthetic_voice(4.0)) as client:
        await client.wait_for_video()
        print(SEES, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    try:
        asyncio.run(_visit(sys.argv[1]))
    except (StreamerError, OSError, TimeoutError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
