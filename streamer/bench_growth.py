"""Whether a server grows while clients come and go: looks at its process, and their verdict."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import Any

import numpy as np

from daetalker.streamer.bench_bars import Bar
from daetalker.streamer.bench_process import sample_process
from daetalker.streamer.bench_server import RunningServer

__all__ = ["Samples", "soak_bars"]

GROWTH_MB = 20.0
GROWTH_MB_H = 12.0
SLOPE_AFTER_S = 600.0
"""A slope per hour says something from ten minutes on."""

MORE_THREADS = 8
"""A pool of the standard library may still be growing to its size."""

MORE_FILES = 4
DRIFT_MS = 40.0
FROZEN_SHARE = 0.01


class Samples:
    """Looks at the server.

    Attributes:
        all: every look.
        alone: the looks with the resident alone, before and after the visitors.
        visited_s: when the first visitor came.
    """

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self.alone: list[dict[str, Any]] = []
        self.visited_s = 0.0

    async def look(self, server: RunningServer) -> dict[str, Any]:
        """Memory, threads, files and sessions at this moment; None for what cannot be told."""
        process = sample_process(server.pid)
        return {
            "at_s": time.monotonic(),
            "rss_mb": round(process.rss_mb, 1) if process else None,
            "threads": process.threads if process else None,
            "files": process.files if process else None,
            "sessions": await asyncio.to_thread(_sessions, server.url),
        }

    def growth(self) -> dict[str, float | None]:
        """What is more when all visitors have gone, and the slope of the memory per hour.

        Threads, files and sessions are compared with what was before the visitors, memory with
        what it was after a third of their time: an allocator keeps what the largest crowd needed.
        """
        first, last = self.alone[0], self.alone[-1]
        grown: dict[str, float | None] = {
            name: last[name] - first[name]
            if first[name] is not None and last[name] is not None
            else None
            for name in ("threads", "files", "sessions")
        }
        rows = self._settled() or [first]
        rss_mb = None
        if last["rss_mb"] is not None and rows[0]["rss_mb"] is not None:
            early_mb = [row["rss_mb"] for row in rows[: len(rows) // 4 + 1]]
            rss_mb = round(last["rss_mb"] - float(np.median(early_mb)), 1)
        return {"rss_mb": rss_mb, **grown, "rss_mb_per_hour": self._slope_mb_h()}

    def _settled(self) -> list[dict[str, Any]]:
        """The looks of the last two thirds of the visitors' time."""
        rows = [row for row in self.all if row["rss_mb"] and row["at_s"] > self.visited_s]
        return rows[len(rows) // 3 :]

    def _slope_mb_h(self) -> float | None:
        rows = self._settled()
        if len(rows) < 10 or rows[-1]["at_s"] - rows[0]["at_s"] < SLOPE_AFTER_S:
            return None
        hours = np.array([row["at_s"] for row in rows]) / 3600
        return round(float(np.polyfit(hours, [row["rss_mb"] for row in rows], 1)[0]), 2)

    def rows(self, most: int = 300) -> list[dict[str, Any]]:
        """The samples for a report, thinned out, their times from the beginning."""
        step = max(1, -(-len(self.all) // most))
        start_s = self.all[0]["at_s"] if self.all else 0.0
        return [row | {"at_s": round(row["at_s"] - start_s, 1)} for row in self.all[::step]]


def soak_bars(
    growth: dict[str, float | None], failed: list[str], resident: dict[str, Any]
) -> list[Bar]:
    """Hold a soak against its bars."""
    slope = growth["rss_mb_per_hour"]
    frozen = resident["freezes"]["total_ms"] / 1000 / max(resident["seconds"], 1e-9)
    errors = len(failed) + (resident["error"] is not None)
    return [
        Bar("memory, more than after a third of the time", growth["rss_mb"], GROWTH_MB, "MB"),
        Bar("memory, slope", slope, GROWTH_MB_H, "MB/h",
            "" if slope is not None else "shorter than ten minutes"),
        Bar("threads, more than before", growth["threads"], MORE_THREADS),
        Bar("open files and sockets, more than before", growth["files"], MORE_FILES),
        Bar("sessions left behind", growth["sessions"], 0.0),
        Bar("resident: drift p95", resident["drift_ms"]["p95"], DRIFT_MS, "ms"),
        Bar("resident: share of the time in freezes", frozen, FROZEN_SHARE),
        Bar("errors and visitors who saw nothing", float(errors), 0.0),
    ]  # fmt: skip


def _sessions(url: str) -> int | None:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            return int(json.loads(answer.read())["sessions"])
    except (OSError, ValueError):
        return None
