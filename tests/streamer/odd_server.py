"""A server process that tells its own figures, and in which things may hang on purpose.

``python odd_server.py SETTINGS FAULTS``: two JSON texts.  Every line on its standard input is
answered by one line of JSON, its figures.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import sys
import threading
import time
from functools import partial
from typing import Any

from daetalker.streamer import server
from daetalker.streamer.engine import Engine
from daetalker.streamer.hub import Hub
from daetalker.streamer.plugin import Plugin
from daetalker.streamer.plugin_host import PluginHost
from daetalker.streamer.settings import load_settings

LONG_S = 600.0


class Hanging(Plugin):
    """Opens a session, and does not let go when it should."""

    name = "hanging"

    async def run(self) -> None:
        await self.host.open_session()

    async def stop(self) -> None:
        time.sleep(LONG_S)


def hang_engine() -> None:
    """Decoding never comes back once the server runs."""
    decode, decoded = Engine.frames, 0

    def frames(self: Engine, latents: Any) -> Any:
        nonlocal decoded
        decoded += 1
        if decoded > 20:
            time.sleep(LONG_S)
        return decode(self, latents)

    Engine.frames = frames  # type: ignore[method-assign]


def figures(hub: Hub) -> dict[str, float]:
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in _open_files()]
    return {
        "rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "files": len(names),
        "sockets": sum(name.startswith("socket:") for name in names),
        "objects": len(gc.get_objects()),
        "sessions": hub.sessions,
    }


def _open_files() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]


async def answer(hub: Hub) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print(json.dumps(figures(hub)), flush=True)


async def main() -> None:
    settings, faults = load_settings(json.loads(sys.argv[1])), json.loads(sys.argv[2])
    if "engine" in faults:
        hang_engine()
    if "plugin" in faults:
        setattr(server, "PluginHost", partial(PluginHost, find=lambda _: Hanging))  # noqa: B010
    hub = Hub(settings)
    answering = asyncio.create_task(answer(hub))
    await server.serve(settings, announce=partial(print, flush=True), hub=hub)
    answering.cancel()


if __name__ == "__main__":
    asyncio.run(main())
