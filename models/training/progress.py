"""Progress on stderr: lines now and then while measuring, one view of a whole training."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TextIO, TypeVar

T = TypeVar("T")


def track(items: Iterable[T], label: str, total: int, every_s: float = 5.0) -> Iterator[T]:
    """Yield ``items``; now and then, and at the end, a line on stderr with the time left."""
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= every_s and done < total:
            last = now
            left = (now - start) / done * (total - done)
            print(f"evaluate: {label}: {done} of {total}, {left:.0f} s left", file=sys.stderr)
    spent = time.monotonic() - start
    print(f"evaluate: {label}: {done} done in {spent:.1f} s", file=sys.stderr)


def spell_time(seconds: float) -> str:
    """A duration as people say it: ``40 s``, ``12 min``, ``1 h 50 min``."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class View:
    """What a training shows: stage, step, speed, time left, loss and held-out figure.

    On a terminal one line is rewritten; elsewhere a line is printed every ``every_s`` seconds.  The
    base class shows nothing; it is what the processes beside the main one are given.
    """

    def stage(self, name: str, later_s: float = 0.0) -> None:
        """A stage begins; ``later_s`` is the time that the stages after it will take."""

    def step(self, done: int, total: int, samples: int = 1) -> None:
        """``done`` of ``total`` steps of ``samples`` each are made."""

    def rows(self, label: str, done: int, total: int) -> None:
        """``done`` of ``total`` rows of a preparation are computed."""

    def loss(self, name: str, value: float) -> None:
        """The latest mean of the main loss."""

    def held_out(self, figures: Mapping[str, float]) -> None:
        """The latest held-out figures, the most telling first."""

    def say(self, text: str) -> None:
        """A line of its own."""


class Terminal(View):
    """The view of the main process.

    Args:
        stages: names of all stages of this command, in order.
    """

    def __init__(
        self, stages: tuple[str, ...], stream: TextIO | None = None, every_s: float = 10.0
    ) -> None:
        self._stages, self._stream = stages, stream or sys.stderr
        self._live = self._stream.isatty()
        self._every_s = 0.5 if self._live else every_s
        self._name, self._later_s, self._shown = "", 0.0, 0.0
        self._loss = self._held_out = ""
        self._label = ""
        self._times: deque[tuple[float, int]] = deque(maxlen=64)
        self._width = 0

    def stage(self, name: str, later_s: float = 0.0) -> None:
        self._name, self._later_s = name, later_s
        self._loss = self._held_out = ""
        self._begin("")
        if not self._live:
            self.say(f"{self._place()} begins")

    def step(self, done: int, total: int, samples: int = 1) -> None:
        self._show("", "step ", done, total, samples)

    def rows(self, label: str, done: int, total: int) -> None:
        self._show(f" {label}", "", done, total, 1)

    def loss(self, name: str, value: float) -> None:
        self._loss = f"{name} {value:.4g}"

    def held_out(self, figures: Mapping[str, float]) -> None:
        shown = [f"{key} {value:.4g}" for key, value in list(figures.items())[:2]]
        self._held_out = "held-out " + ", ".join(shown)

    def say(self, text: str) -> None:
        self._stream.write(("\r" + " " * self._width + "\r" if self._width else "") + text + "\n")
        self._stream.flush()
        self._width = 0

    def _place(self) -> str:
        if self._name not in self._stages:
            return self._name
        return f"{self._stages.index(self._name) + 1}/{len(self._stages)} {self._name}"

    def _begin(self, label: str) -> None:
        self._label = label
        self._times.clear()

    def _show(self, label: str, word: str, done: int, total: int, samples: int) -> None:
        now = time.monotonic()
        if label != self._label or (self._times and done <= self._times[-1][1]):
            self._begin(label)
        if not self._times or now - self._times[-1][0] > 0.2:
            self._times.append((now, done))
        if now - self._shown < self._every_s and done < total:
            return
        self._shown = now
        parts = [f"{self._place()}:{label} {word}{done}/{total}"]
        (then, before), (latest, reached) = self._times[0], self._times[-1]
        if reached > before:
            speed = (reached - before) / (latest - then)
            left = (total - done) / speed
            parts += [f"{speed * samples:.3g}/s", f"{spell_time(left)} left"]
            if self._later_s > 0:
                parts.append(f"{spell_time(left + self._later_s)} in all")
        text = " · ".join([*parts, *(p for p in (self._loss, self._held_out) if p)])
        if not self._live:
            self.say(text)
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)
        if done == total:
            self._stream.write("\n")
            self._width = 0
