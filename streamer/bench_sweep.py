"""How many people one machine serves: the same measurement with more and more clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["BAR_FPS", "BAR_MS", "is_served", "sweep_figures"]

BAR_MS = 400.0
BAR_FPS = 24.5

_SHOWN = (
    "fps", "mouth_to_screen_ms", "first_motion_ms", "drift_ms", "freezes", "cpu_cores", "rss_mb",
    "late", "skipped", "error",
)  # fmt: skip


def is_served(figures: dict[str, Any]) -> bool:
    """Whether everybody was served: delay p95 at most 400 ms, at least 24.5 frames a second."""
    p95 = figures["mouth_to_screen_ms"]["p95"]
    served: bool = (
        p95 is not None and p95 <= BAR_MS and figures["fps"] >= BAR_FPS and figures["error"] is None
    )
    return served


def sweep_figures(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The runs side by side; ``sessions`` is the most that were served, and so are all fewer.

    ``sessions_per_core`` divides by the machine's cores, which the clients used as well.
    """
    rows = [
        {"clients": len(run["clients"]), "served": is_served(run)}
        | {name: run[name] for name in _SHOWN}
        for run in sorted(runs, key=lambda run: len(run["clients"]))
    ]
    sessions = 0
    for row in rows:
        if not row["served"]:
            break
        sessions = row["clients"]
    machine = runs[0]["machine"]
    return {
        "bench": "sweep",
        **{name: runs[0][name] for name in ("avatar", "profile", "audio", "network", "seconds")},
        "bar": {"mouth_to_screen_ms.p95": BAR_MS, "fps": BAR_FPS},
        "sessions": sessions,
        "sessions_per_core": round(sessions / machine["cores"], 2),
        "runs": rows,
        "machine": machine,
    }
