"""The shared engine: side by side, in the order of need, and the same to the last bit."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.streamer.async_engine import AsyncEngine
from daetalker.streamer.engine import Engine, EngineError


class SlowEngine:
    """Notes who decodes what; a job ends when it is let go."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.let_go = threading.Event()
        self.done: list[float] = []
        self.at_work = 0

    def frames(self, latents: NDArray[np.float32]) -> NDArray[np.uint8]:
        self.at_work += 1
        self.let_go.wait(30)
        self.at_work -= 1
        self.done.append(float(latents[0, 0]))
        return np.zeros((1, 2, 2, 3), np.uint8)


def latent(value: float) -> NDArray[np.float32]:
    return np.full(4, value, np.float32)


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_jobs_are_done_in_the_order_in_which_they_are_due() -> None:
    slow = SlowEngine()
    engine = AsyncEngine(cast(Engine, slow))
    first = asyncio.create_task(engine.frame(latent(0.0), due_s=9.0))
    await until(lambda: slow.at_work == 1)
    jobs = [asyncio.create_task(engine.frame(latent(due), due_s=due)) for due in (3.0, 1.0, 2.0)]
    dropped = asyncio.create_task(engine.frame(latent(0.5), due_s=0.5))
    await asyncio.sleep(0.01)
    dropped.cancel()
    await asyncio.gather(dropped, return_exceptions=True)
    slow.let_go.set()
    await asyncio.gather(first, *jobs)
    assert slow.done == [0.0, 1.0, 2.0, 3.0], "what nobody waits for any more is not done"
    await engine.close()


async def test_a_lone_job_has_all_threads_and_two_run_side_by_side() -> None:
    wide, narrow = SlowEngine("wide"), SlowEngine("narrow")
    engine = AsyncEngine(cast(Engine, wide), narrow=cast(Engine, narrow), workers=2)
    first = asyncio.create_task(engine.frame(latent(1.0)))
    await until(lambda: wide.at_work == 1)
    second = asyncio.create_task(engine.frame(latent(2.0)))
    await until(lambda: narrow.at_work == 1)
    third = asyncio.create_task(engine.frame(latent(3.0)))
    await asyncio.sleep(0.02)
    assert narrow.at_work == 1, "there are two workers"
    wide.let_go.set()
    await until(lambda: narrow.at_work == 2)  # the second is still there, so the third has company
    narrow.let_go.set()
    await asyncio.gather(first, second, third)
    assert wide.done == [1.0] and sorted(narrow.done) == [2.0, 3.0]
    await engine.close()


async def test_threads_and_company_change_no_result(tiny_bundle: AvatarBundle) -> None:
    narrow, wide = Engine(tiny_bundle, threads=1), Engine(tiny_bundle, threads=2)
    engine = AsyncEngine(wide, narrow=narrow, workers=2)
    latents = np.random.default_rng(3).standard_normal((12, tiny_bundle.manifest.latent))
    wanted = latents.astype(np.float32)
    frames = await asyncio.gather(*(engine.frame(one) for one in wanted))
    np.testing.assert_array_equal(frames, narrow.frames(wanted))
    assert engine.times.typical_s("frame") > 0 and engine.times.busy_s > 0
    await engine.close()


async def test_a_job_that_hangs_keeps_nobody_from_closing() -> None:
    slow, others = SlowEngine(), set(threading.enumerate())
    engine = AsyncEngine(cast(Engine, slow))
    mine = set(threading.enumerate()) - others
    hanging = asyncio.create_task(engine.frame(latent(1.0)))
    waiting = asyncio.create_task(engine.frame(latent(2.0)))
    await until(lambda: slow.at_work == 1)
    start_s = time.monotonic()
    await engine.close()
    assert time.monotonic() - start_s < 10
    with pytest.raises(asyncio.CancelledError):
        await waiting
    hanging.cancel()
    with pytest.raises(EngineError, match="closed"):
        await engine.frame(latent(3.0))
    slow.let_go.set()
    await until(lambda: not any(thread.is_alive() for thread in mine))
