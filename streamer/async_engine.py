"""AsyncEngine: the awaitable in front of the networks, shared by all sessions of an avatar."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import LIVE_NETWORKS
from daetalker.streamer.engine import Engine, Speech
from daetalker.streamer.errors import EngineError
from daetalker.streamer.job_times import JobTimes

__all__ = ["AsyncEngine"]

_T = TypeVar("_T")
_CLOSE_S = 1.0


class AsyncEngine:
    """Engines on worker threads of their own.

    Jobs are done in the order in which their results are due, which is fair between sessions as
    long as they ask for one frame and one window's networks at a time, as they do.  Each worker
    runs its job on one thread: on two cores, two jobs side by side give 200 frames a second where
    two threads a job give 142 and a batch of four 179 (docs/measurements.md).  A job that finds
    nobody else at work may use all threads, which is sooner done.  Results are the same, to the
    last bit.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        narrow: Engine | None = None,
        workers: int = 1,
        timings_ms: Mapping[str, float] | None = None,
    ) -> None:
        """Take over the engines; nobody else needs to close them.

        Args:
            engine: does what finds no other job at work.
            narrow: the same networks on one thread, for jobs side by side; without one ``engine``
                does them all.
            workers: jobs done side by side.
            timings_ms: what the networks took at warm-up on one thread, by name.
        """
        self.engine = engine
        self.workers = workers
        self.times = JobTimes(workers, _jobs_s(timings_ms or {}))
        self.failed = False
        """Whether the networks failed in the latest job; any thread may ask."""
        self._narrow = narrow or engine
        self._order = itertools.count()
        self._waiting: list[_Job] = []  # bounded by what its users ask for: they wait for each
        self._running = 0
        self._closed = False
        self._changed = threading.Condition()
        # Daemons: a network that hangs must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._work, name=f"engine {number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    async def speech(self, samples: NDArray[np.float32], due_s: float = 0.0) -> Speech:
        """See `Engine.speech`; ``due_s`` is when the result is wanted, by whatever clock."""
        return await self._call("speech", lambda engine: engine.speech(samples), due_s)

    async def silence(self) -> Speech:
        """See `Engine.silence`."""
        return await self._call("silence", lambda engine: engine.silence(), 0.0)

    async def latents(
        self, hidden: NDArray[np.float32], control: NDArray[np.float32], due_s: float = 0.0
    ) -> NDArray[np.float32]:
        """See `Engine.latents`, and `speech` for ``due_s``."""
        return await self._call("latents", lambda engine: engine.latents(hidden, control), due_s)

    async def frame(self, latent: NDArray[np.float32], due_s: float = 0.0) -> NDArray[np.uint8]:
        """Decode one latent ``[D]`` to ``[S, S, 3]``; see `Engine.frames` and `speech`."""
        frames = await self._call("frame", lambda engine: engine.frames(latent[None]), due_s)
        rgb: NDArray[np.uint8] = frames[0]
        return rgb

    async def warm_up(self) -> dict[str, float]:
        """See `Engine.warm_up`."""
        return await self._call("warm_up", lambda engine: engine.warm_up(), 0.0)

    async def close(self) -> None:
        """Finish the jobs at hand and drop the others; may be called again.

        A job that takes longer than a second more is left behind.
        """
        with self._changed:
            self._closed = True
            dropped, self._waiting = self._waiting, []
            self._changed.notify_all()
        for job in dropped:
            job.future.cancel()
        await asyncio.to_thread(self._join, time.monotonic() + _CLOSE_S)

    def _join(self, until_s: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    async def _call(self, kind: str, work: Callable[[Engine], _T], due_s: float) -> _T:
        if self._closed:
            raise EngineError("the engine is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        job = _Job(due_s, next(self._order), kind, work, loop, future)
        with self._changed:
            heapq.heappush(self._waiting, job)
            self._changed.notify()
        return await future

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            job, alone = taken
            started_s, own_s = time.perf_counter(), time.thread_time()
            result, error = None, None
            try:
                result = job.work(self.engine if alone else self._narrow)
            except BaseException as problem:  # whoever asked shall know
                error = problem
            self.failed = isinstance(error, EngineError)
            with self._changed:
                self._running -= 1
            took_s = time.perf_counter() - started_s
            self.times.note(job.kind, took_s, time.thread_time() - own_s, alone=alone)
            with suppress(RuntimeError):  # its loop is closed
                job.loop.call_soon_threadsafe(_settle, job.future, result, error)

    def _take(self) -> tuple[_Job, bool] | None:
        """The job that is due first, and whether nobody else is at work; None at the end."""
        with self._changed:
            while True:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return None
                job = heapq.heappop(self._waiting)
                if job.future.cancelled():
                    continue
                alone = not self._running and not self._waiting
                self._running += 1
                return job, alone


@dataclass(order=True)
class _Job:
    due_s: float
    number: int
    kind: str = field(compare=False)
    work: Callable[[Engine], Any] = field(compare=False)
    loop: asyncio.AbstractEventLoop = field(compare=False)
    future: asyncio.Future[Any] = field(compare=False)


def _jobs_s(timings_ms: Mapping[str, float]) -> dict[str, float]:
    """Seconds of each kind of job, from the networks' milliseconds."""
    ms = dict.fromkeys(LIVE_NETWORKS, 0.0) | dict(timings_ms)
    return {
        "speech": (ms["acoustic"] + ms["speech"]) / 1000,
        "latents": ms["latent"] / 1000,
        "frame": ms["student"] / 1000,
    }


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return  # whoever asked was cancelled
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
