"""The server that is measured: a `daetalker serve` process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daetalker.streamer.bench_client import BenchError
from daetalker.streamer.bench_options import BENCH_SETTINGS
from daetalker.streamer.settings import Settings

__all__ = ["RunningServer", "running_server", "server_flags", "wait_for_file"]

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class RunningServer:
    """A server process that is ready."""

    url: str
    pid: int


@contextlib.asynccontextmanager
async def running_server(
    settings: Settings,
    bench_log: Path | None = None,
    plugins: str = "",
    *,
    within: Sequence[str] = (),
    host: str = "127.0.0.1",
    more: Mapping[str, object] | None = None,
) -> AsyncIterator[RunningServer]:
    """A `daetalker serve` process on a free port; ended on the way out.

    Args:
        bench_log: folder for the raw times of the sessions.
        plugins: names of plugins to load, comma separated.
        within: command that runs it somewhere else, such as in a network namespace.
        host: address to listen on.
        more: further settings by name.

    Raises:
        BenchError: with the server's own last words, if it does not come up.
    """
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *within,
            *(sys.executable, "-m", "daetalker.streamer.cli", "serve", "--host", host),
            *server_flags(settings, bench_log, more or {}),
            *(("--plugins", plugins) if plugins else ()),
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
        )
        try:
            try:
                async with asyncio.timeout(READY_TIMEOUT_S):
                    url = await _ready_url(process)
            except TimeoutError:
                url = None
            if url is None:
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                raise BenchError("the server did not start: " + (lines[-1] if lines else "no word"))
            yield RunningServer(url, process.pid)
        finally:
            await _stop(process)


def server_flags(
    settings: Settings, bench_log: Path | None, more: Mapping[str, object]
) -> list[str]:
    """Flags that give a server the same settings, on a port of its own."""
    values: dict[str, object] = {name: getattr(settings, name) for name in BENCH_SETTINGS}
    values |= {"port": 0, "bench_log": bench_log, **more}
    flags: list[str] = []
    for name, value in values.items():
        if value is not None:
            flags += ["--" + name.replace("_", "-"), str(value)]
    return flags


async def _ready_url(process: asyncio.subprocess.Process) -> str | None:
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode(errors="replace"):
        if line.startswith("Ready: "):
            return line.removeprefix("Ready: ").strip()
    return None


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.communicate()  # also drains its pipe
    except TimeoutError:
        process.kill()
        await process.wait()


async def wait_for_file(path: Path, timeout_s: float = 15.0) -> None:
    """Until the server has written its times; it does so once the client has left.

    Raises:
        BenchError: if it does not.
    """
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if path.exists():
            return
        await asyncio.sleep(0.1)
    raise BenchError("the server did not write its times: did the client leave cleanly?")
