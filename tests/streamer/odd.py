"""Starts the odd server and the odd clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.streamer.serving import PATIENCE_S

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

POOL = min(32, (os.cpu_count() or 1) + 4)
"""Threads that asyncio's own pool has at most; it grows with the most calls at once."""


class OddServer:
    """A running one."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url

    async def figures(self) -> dict[str, float]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(b"?\n")
        told: dict[str, float] = json.loads(
            await asyncio.wait_for(self.process.stdout.readline(), PATIENCE_S)
        )
        return told


async def start(script: str, *arguments: str) -> Process:
    """Start a script that stands beside this file."""
    paths = [str(ROOT / ".dev"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / script),
        *arguments,
        stdin=PIPE,
        stdout=PIPE,
        stderr=None if script == "odd_clients.py" else PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )


async def line(process: Process, beginning: str) -> str:
    """The rest of the next line that begins so."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        while text := (await process.stdout.readline()).decode():
            if text.startswith(beginning):
                return text.removeprefix(beginning).strip()
    raise AssertionError("the process ended")


@contextlib.asynccontextmanager
async def odd_server(avatar: Path, *faults: str, **settings: Any) -> AsyncIterator[OddServer]:
    values = {"avatar": str(avatar), "port": 0, "threads": 1, "admission": "off", **settings}
    process = await start("odd_server.py", json.dumps(values), json.dumps(faults))
    try:
        yield OddServer(process, await line(process, "Ready: "))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.communicate()
