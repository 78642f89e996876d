"""SessionStats: what a session tells about itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from daetalker.streamer.clock import Clock
from daetalker.streamer.frame_log import Load
from daetalker.streamer.metrics import Metrics

__all__ = ["SessionStats", "StageTimes", "Stopwatch"]

_KEPT = 100


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds that a stage took over its last 100 runs, waiting for its turn included."""

    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class SessionStats:
    """A snapshot of one session.

    Attributes:
        frames: frames given out so far.
        fps: frames a second over the last 2 s.
        late: frames given out more than half a frame after they were due.
        skipped: frames never drawn, because the computer could not draw all of them in time.
        load: how it copes at this moment; see `FrameLog.load`.
        speaking: True if the frame now shown is speech.
        pose: yaw, pitch, roll in degrees of the frame now shown.
        delay_s: from hearing a sample to giving it out.
        input_gaps: times silence was put in for missing voice.
        input_surplus_s: seconds of voice dropped because they came too early.
        stages: times of ``speech``, ``latents`` and ``frame``, as far as they have run.
    """

    frames: int
    fps: float
    late: int
    skipped: int
    load: Load
    speaking: bool
    pose: tuple[float, float, float]
    delay_s: float
    input_gaps: int
    input_surplus_s: float
    stages: Mapping[str, StageTimes]


class Stopwatch:
    """Collects how long the stages of one session take, by its clock."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._times_ms: dict[str, deque[float]] = {}

    def note(self, stage: str, start_s: float) -> None:
        """Note a run of ``stage`` that began at clock time ``start_s`` and ends now."""
        took_s = self._clock.now() - start_s
        took_ms = 1000.0 * took_s
        self._metrics.stage(stage, took_s)
        # Made with its first figure inside, so that nobody meets an empty one.
        if stage in self._times_ms:
            self._times_ms[stage].append(took_ms)
        else:
            self._times_ms[stage] = deque([took_ms], maxlen=_KEPT)

    def read(self) -> dict[str, StageTimes]:
        """The figures by stage; any thread may ask."""
        # Copies, each made in one step: stages go on being noted meanwhile.
        kept = [(stage, list(times)) for stage, times in list(self._times_ms.items())]
        return {
            stage: StageTimes(float(np.median(times)), float(np.percentile(times, 95)))
            for stage, times in kept
        }
