"""The server under attack: a process of its own, what it holds and what it logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Held", "Server", "serving"]

READY_S = 120.0
_READY = re.compile(r"Ready: http://[^:]+:(\d+)")


@dataclass(frozen=True)
class Held:
    """What a process holds.

    Attributes:
        files: open files, sockets included.
        mb: resident memory.
    """

    files: int
    threads: int
    udp: int
    mb: float


class Server:
    """A running `daetalker serve`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, port: int) -> None:
        self.process = process
        self.log = log
        self.port = port
        self._watched = psutil.Process(process.pid)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def held(self) -> Held:
        """What it holds at this moment."""
        with self._watched.oneshot():
            return Held(
                self._watched.num_fds(),
                self._watched.num_threads(),
                len(self.media_ports()),
                round(self._watched.memory_info().rss / 1e6, 1),
            )

    def media_ports(self) -> list[int]:
        """UDP ports that are open now."""
        return sorted({c.laddr.port for c in self._watched.net_connections("udp") if c.laddr})

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def said(self) -> str:
        """Its whole log."""
        return self.log.read_text(errors="replace")

    async def settled(self, base: Held, patience_s: float = 60.0) -> Held:
        """What it holds once it holds no more files than ``base``, or after so long."""
        end_s = time.monotonic() + patience_s
        while True:
            held = self.held()
            if (held.files <= base.files and held.udp <= base.udp) or time.monotonic() > end_s:
                return held
            await asyncio.sleep(0.5)


@contextlib.contextmanager
def serving(bundle: Path, *flags: str) -> Iterator[Server]:
    """Serve an avatar on a free port until the block ends."""
    with tempfile.TemporaryDirectory(prefix="daetalker-hostile-") as folder:
        log = Path(folder) / "log.txt"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("DAETALKER_")}
        environment = {
            **clean,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "XDG_CONFIG_HOME": folder,
            "XDG_DATA_HOME": folder,
            "XDG_STATE_HOME": folder,
            "PYTHONASYNCIODEBUG": "",
        }
        command = [sys.executable, "-m", "daetalker.streamer.cli", "serve", "--port", "0",
                   "--avatar", str(bundle), "--threads", "1", "--admission", "off",
                   *flags]  # fmt: skip
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=folder
            )
        try:
            yield Server(process, log, _port(process, log))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(15)
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    end_s = time.monotonic() + READY_S
    while time.monotonic() < end_s:
        if found := _READY.search(log.read_text(errors="replace")):
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
