"""Admission: whether one more client can be served without taking frames from those who are here.

Measured, not guessed.  Everything is in cores (seconds of processor time a second):

- what a talking person costs the engine: the median of its latest jobs on one thread, 25 frames
  and the networks of the hops; before anybody talks, the warm-up's times;
- what a stream costs, its encoding and sending included: all that this process used beyond the
  engine, by the streams there were;
- what other programs use.

A seat is counted as a talking person although silence costs less: everybody may speak at once, and
who is here is never thrown out.  A watcher is counted as a stream.  All are medians over seconds,
so that a hiccup refuses nobody, and the first client is always admitted.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from daetalker.streamer import machine
from daetalker.streamer.job_times import JobTimes
from daetalker.streamer.media import FPS, FRAME_S
from daetalker.streamer.profile import Profile

__all__ = ["Admission", "Costs", "Readings"]

LOOK_S = 0.5

COMFORT = 0.9
"""Part of the cores that may be promised; the rest is for what nobody foresees."""

STREAM_CORES = 0.2
"""What a stream is taken to cost before one was measured: video and voice of a 256x256 avatar."""

LATENTS_A_HOP = 1.25
"""Speech has one run of the latent network a hop, its edges two."""

_KEPT = 12
_ENOUGH = 4
_LAG_S = 0.05


@dataclass(frozen=True)
class Costs:
    """What one client costs, in cores.

    Attributes:
        engine: a talking person's share of the engine's processor time.
        busy: the same in workers: seconds a second by the clock, which a crowded machine stretches.
        stream: encoding, sending and all else.
    """

    engine: float
    busy: float
    stream: float


@dataclass(frozen=True)
class Readings:
    """Where the figures come from; replaced in tests."""

    now: Callable[[], float] = time.monotonic
    own_s: Callable[[], float] = machine.own_s
    used_s: Callable[[], float | None] = machine.used_s


@dataclass(frozen=True)
class _Look:
    at_s: float
    own_s: float
    used_s: float | None
    engine_s: float
    busy_s: float
    streams: int
    troubled: bool
    lag_s: float


class Admission:
    """Decides from what `look` has seen.  For one thread."""

    def __init__(self, cores: float, profile: Profile, readings: Readings | None = None) -> None:
        """Nothing has been seen yet."""
        self._cores = cores
        self._profile = profile
        self._readings = readings or Readings()
        self._looks: deque[_Look] = deque(maxlen=_KEPT)

    def look(
        self, engines: Iterable[JobTimes], streams: int, *, troubled: bool, lag_s: float
    ) -> None:
        """Note what the process does now; every ``LOOK_S``.

        Args:
            streams: sessions and watchers that are being sent pictures.
            troubled: whether some session misses frames.
            lag_s: how late the event loop woke the caller.
        """
        times = list(engines)
        self._looks.append(
            _Look(
                self._readings.now(),
                self._readings.own_s(),
                self._readings.used_s(),
                sum(engine.own_s for engine in times),
                sum(engine.busy_s for engine in times),
                streams,
                troubled,
                lag_s,
            )
        )

    def load(self, workers: int) -> float:
        """Part of the workers' time that jobs took between the last two looks, 0 to 1."""
        if len(self._looks) < 2:
            return 0.0
        before, now = self._looks[-2], self._looks[-1]
        return min(1.0, (now.busy_s - before.busy_s) / (workers * _between(before, now)))

    def costs(self, engine: JobTimes) -> Costs:
        """What one more client of that engine's avatar would cost."""
        streams = [
            (now.own_s - before.own_s - (now.engine_s - before.engine_s))
            / (now.streams * _between(before, now))
            for before, now in self._pairs()
            if now.streams and now.streams == before.streams
        ]
        stream = max(0.0, median(streams)) if len(streams) >= _ENOUGH else STREAM_CORES
        hops_a_second = 1.0 / (self._profile.hop_frames * FRAME_S)
        spent = [
            hops_a_second * (typical("speech") + LATENTS_A_HOP * typical("latents"))
            + FPS * typical("frame")
            for typical in (engine.typical_own_s, engine.typical_s)
        ]
        return Costs(engine=spent[0], busy=spent[1], stream=stream)

    def others(self) -> float:
        """Cores that other programs use."""
        rates = []
        for before, now in self._pairs():
            if now.used_s is not None and before.used_s is not None:
                all_of_them = (now.used_s - before.used_s) / _between(before, now)
                ours = (now.own_s - before.own_s) / _between(before, now)
                rates.append(max(0.0, all_of_them - ours))
        return median(rates) if rates else 0.0

    def refusal(self, engine: JobTimes, people: int, watchers: int, *, watches: bool) -> str:
        """Why one more would break the others; empty if it would not.

        Args:
            engine: of the avatar that is wanted.
            people: seats taken, each of which may speak at any time.
            watches: True for one who only watches.
        """
        if not people:
            return ""
        costs = self.costs(engine)
        talking = people + (0 if watches else 1)
        streams = people + watchers + 1
        needed = self.others() + talking * costs.engine + streams * costs.stream
        if needed > COMFORT * self._cores:
            return f"{needed:.1f} of {self._cores:.1f} cores would be needed"
        if not watches and talking * costs.busy > COMFORT * engine.workers:
            return (
                f"the engine would be busy {talking * costs.busy / engine.workers:.0%} of the time"
            )
        if self._mostly(lambda look: look.troubled):
            return "those who are here miss frames already"
        if self._mostly(lambda look: look.lag_s > _LAG_S):
            return "the event loop is late already"
        return ""

    def _mostly(self, is_so: Callable[[_Look], bool]) -> bool:
        """Whether it was so in most of the looks of the last seconds."""
        return len(self._looks) >= _ENOUGH and 2 * sum(map(is_so, self._looks)) > len(self._looks)

    def _pairs(self) -> list[tuple[_Look, _Look]]:
        return list(itertools.pairwise(self._looks))


def _between(before: _Look, now: _Look) -> float:
    return max(1e-6, now.at_s - before.at_s)
