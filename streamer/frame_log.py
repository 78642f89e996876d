"""FrameLog: what became of a session's frames, and how it copes, in a word."""

from __future__ import annotations

from collections import deque
from typing import Literal

from daetalker.streamer.media import FPS, FRAME_S
from daetalker.streamer.metrics import Metrics

__all__ = ["FrameLog", "Load"]

Load = Literal["ok", "reduced", "overloaded"]

_SPAN_S = 1.0
_FEW_FPS = 15.0
_SOME = 2


class FrameLog:
    """Counts frames; times are seconds of any clock.  Any thread may read.

    Attributes:
        skipped: frames never drawn.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.skipped = 0
        self._metrics = metrics
        self._troubles: deque[tuple[float, int, bool]] = deque()
        self._last: tuple[int, float] | None = None
        self._load: Load = "ok"

    def skip(self, count: int = 1) -> None:
        """So many frames will not be drawn."""
        self.skipped += count
        self._metrics.frame("skipped", count)

    def show(self, index: int, late_s: float, now_s: float) -> None:
        """Frame ``index`` is given out now, so long after it was due."""
        held = 0 if self._last is None else max(0, index - self._last[0] - 1)
        late = late_s > FRAME_S / 2.0
        self._last = (index, now_s)
        if held or late:
            self._troubles.append((now_s, held, late))
        while self._troubles and self._troubles[0][0] <= now_s - _SPAN_S:
            self._troubles.popleft()
        self._metrics.frame("shown")
        if held:
            self._metrics.frame("held", held)
        if late:
            self._metrics.frame("late")

    def load(self, now_s: float) -> Load:
        """``reduced``: some frames of the last second are missing; ``overloaded``: over ten are.

        ``ok`` again after a second in which every frame came, and in time.
        """
        recent = [trouble for trouble in list(self._troubles) if trouble[0] > now_s - _SPAN_S]
        lost = sum(held for _, held, _ in recent)
        if self._last is not None:  # what is missing since the last one
            lost += max(0, int((now_s - self._last[1]) * FPS) - 1)
        if lost > FPS - _FEW_FPS:
            self._load = "overloaded"
        elif lost >= _SOME or (recent and self._load != "ok"):
            self._load = "reduced"
        elif not recent:
            self._load = "ok"
        return self._load
