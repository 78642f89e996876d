"""Clients in a process of their own, to be killed: ``python odd_clients.py URL TALKERS HALVES``.

Prints ``ready`` once every talker gets pictures, then waits to be killed.
"""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
from websockets.asyncio.client import connect

from daetalker.streamer.bench_client import BenchClient, BenchError
from tests.streamer.serving import offering

VOICE = np.zeros(48_000, np.int16)


async def talk(url: str, tries: int = 4) -> BenchClient:
    """A client that gets pictures; a very busy machine may need several tries."""
    client = BenchClient(url, VOICE)
    try:
        await client.__aenter__()
        await client.wait_for_video()
    except (BenchError, OSError):  # TimeoutError is one
        await client.close()
        if tries > 1:
            return await talk(url, tries - 1)
        raise
    return client


async def stop_half_way(url: str, stage: int) -> object:
    """Stop after the socket, the hello, or the offer, whose answer is thrown away."""
    socket = await connect(url.replace("http", "ws", 1) + "/ws", open_timeout=60)
    if stage >= 1:
        await socket.send(json.dumps({"type": "hello", "protocol": 1}))
        await socket.recv()
    if stage >= 2:
        async with offering() as (_, sdp):
            await socket.send(json.dumps({"type": "offer", "sdp": sdp}))
            await socket.recv()
    return socket


async def main() -> None:
    url, talkers, halves = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    kept = await asyncio.gather(
        *(talk(url) for _ in range(talkers)),
        *(stop_half_way(url, number % 3) for number in range(halves)),
    )
    print("ready", flush=True)
    await asyncio.sleep(600)
    del kept


if __name__ == "__main__":
    asyncio.run(main())
