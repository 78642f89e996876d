"""What other programs' load did to a session, and how soon it got over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from daetalker.streamer.bench_report import frame_intervals
from daetalker.streamer.media import FPS

__all__ = ["overload_figures", "recovery_s"]

RECOVERED_FRAMES = FPS - 1
"""In one second; where the second begins may cost one frame of the 25."""


def overload_figures(
    frame_times_s: Sequence[float], span_s: tuple[float, float], load_s: tuple[float, float]
) -> dict[str, Any]:
    """Frames before, during and after the load, and ``recovery_s``.

    Args:
        frame_times_s: when the client had each frame.
        span_s, load_s: beginning and end of the measured time and of the load within it.
    """
    times = np.asarray(frame_times_s, np.float64)
    phases = {
        "before": (span_s[0], load_s[0]),
        "during": load_s,
        "after": (load_s[1], span_s[1]),
    }
    figures: dict[str, Any] = {
        name: frame_intervals(times[(times >= begin) & (times < end)].tolist())
        for name, (begin, end) in phases.items()
    }
    recovered = recovery_s(frame_times_s, load_s[1])
    return figures | {"recovery_s": None if recovered is None else round(recovered, 2)}


def recovery_s(frame_times_s: Sequence[float], end_s: float) -> float | None:
    """Seconds from the end of the load to the first second with all its frames; None if none."""
    times = np.asarray(frame_times_s, np.float64)
    # The first full second begins at the end of the load, or with a frame.
    for begin_s in [end_s, *times[times > end_s]]:
        if begin_s + 1.0 > times.max(initial=-np.inf):
            return None
        if np.count_nonzero((times >= begin_s) & (times < begin_s + 1.0)) >= RECOVERED_FRAMES:
            return float(begin_s - end_s)
    return None
