"""JobTimes: how long the engine's jobs take, measured where they run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from statistics import median

__all__ = ["JobTimes"]

_KEPT = 60


class JobTimes:
    """What one avatar's workers note.  For any thread.

    Attributes:
        workers: jobs that run side by side.
        busy_s: seconds of workers' time used so far.
        own_s: seconds of processor time used so far.
    """

    def __init__(self, workers: int, at_first_s: Mapping[str, float]) -> None:
        """No job has run.

        Args:
            at_first_s: what each kind of job is taken to need until some have run.
        """
        self.workers = workers
        self.busy_s = 0.0
        self.own_s = 0.0
        self._at_first_s = dict(at_first_s)
        self._runs: dict[str, deque[tuple[float, float]]] = {}
        self._lock = threading.Lock()

    def note(self, kind: str, took_s: float, own_s: float, *, alone: bool) -> None:
        """A job of a kind has run.

        Args:
            took_s: by the clock.
            own_s: of processor time, in the worker's own thread.
            alone: True if it had all the threads.
        """
        with self._lock:
            if not alone or self.workers == 1:
                self.busy_s += took_s
                self.own_s += own_s
                self._runs.setdefault(kind, deque(maxlen=_KEPT)).append((took_s, own_s))
            else:  # the helping threads are about as busy as the one that can be asked
                self.busy_s += took_s * self.workers
                self.own_s += own_s * self.workers

    def typical_s(self, kind: str) -> float:
        """Median seconds by the clock of the last runs on one thread."""
        return self._typical(kind, 0)

    def typical_own_s(self, kind: str) -> float:
        """Median seconds of processor time of the same runs."""
        return self._typical(kind, 1)

    def _typical(self, kind: str, which: int) -> float:
        with self._lock:
            runs = list(self._runs.get(kind, ()))
        if not runs:
            return self._at_first_s.get(kind, 0.0)
        return median(run[which] for run in runs)
