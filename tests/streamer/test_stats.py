"""Figures may be asked for from any thread while a session notes new ones."""

from __future__ import annotations

import threading

from daetalker.streamer.clock import MonotonicClock
from daetalker.streamer.metrics import Metrics
from daetalker.streamer.stats import Stopwatch


def test_reading_while_another_thread_notes() -> None:
    stopwatch, clock = Stopwatch(MonotonicClock(), Metrics()), MonotonicClock()
    over = threading.Event()

    def note() -> None:
        number = 0
        while not over.is_set():
            number += 1
            stopwatch.note(f"stage {number % 50}", clock.now())

    noting = threading.Thread(target=note)
    noting.start()
    try:
        for _ in range(300):
            for times in stopwatch.read().values():
                assert times.median_ms <= times.p95_ms
    finally:
        over.set()
        noting.join()
