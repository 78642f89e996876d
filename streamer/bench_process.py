"""What a process and a machine use: processor, memory, threads, open files."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ProcessSample", "Usage", "machine", "sample_process"]


@dataclass(frozen=True)
class ProcessSample:
    """A process at one moment.

    Attributes:
        cpu_s: processor seconds so far.
        rss_mb: memory in use, in 10^6 bytes.
        files: open files and sockets.
    """

    cpu_s: float
    rss_mb: float
    threads: int
    files: int


def sample_process(pid: int) -> ProcessSample | None:
    """Look at a process in ``/proc``; None if it, or ``/proc``, is not there."""
    folder = Path("/proc") / str(pid)
    try:
        # The second field is a name in parentheses and may hold spaces.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        files = len(os.listdir(folder / "fd"))
    except OSError:
        return None
    return ProcessSample(
        cpu_s=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        rss_mb=int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
        threads=int(fields[17]),
        files=files,
    )


class Usage:
    """Processor time and memory of a process; None where there is no ``/proc``."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._first = self._last = sample_process(pid)
        self._most_mb = self._first.rss_mb if self._first else None

    def sample(self) -> None:
        """Look again; the largest memory counts."""
        sample = sample_process(self._pid)
        if sample is not None:
            self._last = sample
            self._most_mb = max(self._most_mb or 0.0, sample.rss_mb)

    def figures(self, wall_s: float) -> dict[str, float | None]:
        """``cpu_cores`` (processor seconds a second) since the start, and memory in 10^6 B.

        ``rss_mb`` is the most that was seen, ``rss_growth_mb`` the last less the first.
        """
        self.sample()
        if self._first is None or self._last is None or wall_s <= 0:
            return {"cpu_cores": None, "rss_mb": None, "rss_growth_mb": None}
        assert self._most_mb is not None
        return {
            "cpu_cores": round((self._last.cpu_s - self._first.cpu_s) / wall_s, 3),
            "rss_mb": round(self._most_mb, 1),
            "rss_growth_mb": round(self._last.rss_mb - self._first.rss_mb, 1),
        }


def machine() -> dict[str, Any]:
    """What the figures were measured on, without names of hosts or people."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cores": cores, "python": platform.python_version()}
