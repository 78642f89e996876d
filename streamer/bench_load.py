"""Busy processes that take processor time from everybody else, as a video call or a build does."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

__all__ = ["busy_processes"]

# It ends by itself when the bench is gone, however that came about.
_WORK = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Let so many processes compute for nothing while the block runs."""
    ours: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            ours.append(subprocess.Popen([sys.executable, "-c", _WORK]))
        yield
    finally:
        for process in ours:
            process.kill()
            process.wait()
