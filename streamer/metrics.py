"""Metrics: the figures of one server, as Prometheus reads them.

Each server has a registry of its own, so that several may live in one process.  Counting is a
dictionary look-up and an addition under a lock (a few microseconds), from any thread.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

__all__ = ["FrameKind", "Metrics"]

FrameKind = Literal["shown", "late", "held", "skipped"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The text format that every Prometheus reads."""

# Seconds.  A frame has 0.04 s and a hop of the default profile 0.16 s, so the steps are finest
# around those.
_STAGE_STEPS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.16, 0.25,
                0.5, 1.0)  # fmt: skip
# Seconds.  The eye notices a shift of some 0.045 s (sound first); the bar is 0.04 s.
_DRIFT_STEPS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.25, 0.5, 1.0)
_LAG_STEPS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5, 1.0, 5.0)

_WORD = re.compile(r"[a-z_]{1,32}")
_MOST_REASONS = 64
"""A label's values are series that Prometheus keeps: reasons are words of ours, and few."""


class Metrics:
    """What one server counts.  All methods are cheap, and for any thread."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._reasons: set[str] = set()
        self._plugin_states: set[tuple[str, str]] = set()
        self._stage = Histogram(
            "daetalker_stage_seconds",
            "Time that a stage of a session took, waiting for its turn included",
            ["stage"],
            buckets=_STAGE_STEPS,
            registry=registry,
        )
        self._frames = Counter(
            "daetalker_frames",
            "Frames: shown, of these late (more than half a frame after they were due), held "
            "(the frame before was shown once more), skipped (never drawn)",
            ["kind"],
            registry=registry,
        )
        self._drift = Histogram(
            "daetalker_av_drift_seconds",
            "Distance between the picture and its voice where they leave the server, absolute",
            buckets=_DRIFT_STEPS,
            registry=registry,
        )
        self._refused = Counter(
            "daetalker_refused",
            "Clients, messages, connections and uploads that were refused",
            ["reason"],
            registry=registry,
        )
        self._opened = Counter(
            "daetalker_sessions_opened", "Sessions that began", ["kind"], registry=registry
        )
        self._open = Gauge("daetalker_sessions", "Sessions that run", ["kind"], registry=registry)
        self._load = Gauge(
            "daetalker_engine_load",
            "Part of the engine's time that is used; 1 is all",
            registry=registry,
        )
        self._seats = Gauge("daetalker_seats_taken", "Places that are taken", registry=registry)
        self._ready = Gauge(
            "daetalker_ready",
            "1 if one more client would be admitted, else 0",
            registry=registry,
        )
        self._lag = Histogram(
            "daetalker_event_loop_lag_seconds",
            "How late the event loop woke who asked to be woken",
            buckets=_LAG_STEPS,
            registry=registry,
        )
        self._plugins = Gauge(
            "daetalker_plugin_state",
            "1 for the state that a plugin is in",
            ["plugin", "state"],
            registry=registry,
        )
        self._build = Info("daetalker_build", "What runs here", registry=registry)
        threads = Gauge(
            "daetalker_threads",
            "Threads of the process, those of libraries included",
            registry=registry,
        )
        threads.set_function(_thread_count)
        ProcessCollector(registry=registry)
        # Figures of zero from the start: an alert on what does not exist never fires.
        for kind in ("shown", "late", "held", "skipped"):
            self._frames.labels(kind)

    def stage(self, name: str, seconds: float) -> None:
        """A stage (``receive``, ``speech``, ``latents``, ``frame``, ``encode``) took so long."""
        self._stage.labels(name).observe(seconds)

    def frame(self, kind: FrameKind, count: int = 1) -> None:
        """So many frames were shown, late, held or skipped."""
        self._frames.labels(kind).inc(count)

    def drift(self, ms: float) -> None:
        """The picture left so many milliseconds after its voice; before it, if negative."""
        self._drift.observe(abs(ms) / 1000)

    def refused(self, reason: str) -> None:
        """Somebody was refused; ``reason`` is one of a small set of words, such as ``origin``."""
        known = reason in self._reasons
        if not known and (len(self._reasons) >= _MOST_REASONS or not _WORD.fullmatch(reason)):
            reason = "other"
        self._reasons.add(reason)
        self._refused.labels(reason).inc()

    def session(self, change: Literal["opened", "closed"], kind: str) -> None:
        """A session of a kind (``talk``, ``watch``, ``program``) began or ended."""
        if change == "opened":
            self._opened.labels(kind).inc()
            self._open.labels(kind).inc()
        else:
            self._open.labels(kind).dec()

    def load(self, share: float) -> None:
        """So much of the engine's time is used; 1.0 is all of it."""
        self._load.set(share)

    def loop_lag(self, seconds: float) -> None:
        """The event loop woke somebody so much later than asked."""
        self._lag.observe(seconds)

    def seats(self, taken: int, *, ready: bool) -> None:
        """So many places are taken, and whether one more client would be admitted."""
        self._seats.set(taken)
        self._ready.set(1.0 if ready else 0.0)

    def plugins(self, states: Mapping[str, str]) -> None:
        """The plugins' states by name; each replaces what was known of that plugin."""
        now = set(states.items())
        for plugin, state in self._plugin_states | now:
            self._plugins.labels(plugin, state).set(1.0 if (plugin, state) in now else 0.0)
        self._plugin_states |= now

    def build(self, version: str, **more: str) -> None:
        """What runs here: our version, and whatever else tells installations apart."""
        self._build.info({"version": version, "python": platform.python_version(), **more})

    def render(self) -> tuple[bytes, str]:
        """All figures as Prometheus reads them, and the content type."""
        return generate_latest(self._registry), CONTENT_TYPE


def _thread_count() -> float:
    return float(len(os.listdir("/proc/self/task")))
