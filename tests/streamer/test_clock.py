from __future__ import annotations

import asyncio

from daetalker.streamer.clock import MonotonicClock, SimulatedClock


async def test_sleepers_wake_in_order_at_their_own_time() -> None:
    clock = SimulatedClock(10.0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, when_s: float) -> None:
        await clock.sleep_until(when_s)
        woken.append((name, clock.now()))

    async with asyncio.TaskGroup() as group:
        for name, when_s in (("c", 13.0), ("a", 11.0), ("b", 12.0)):
            group.create_task(sleeper(name, when_s))
        await clock.advance(1.5)
        assert woken == [("a", 11.0)]
        await clock.advance(5.0)
    assert woken == [("a", 11.0), ("b", 12.0), ("c", 13.0)]
    assert clock.now() == 16.5


async def test_a_sleeper_that_sleeps_again_is_woken_in_the_same_stretch() -> None:
    clock = SimulatedClock()
    ticks: list[float] = []

    async def tick() -> None:
        for n in range(1, 101):
            await clock.sleep_until(n * 0.01)
            ticks.append(clock.now())

    task = asyncio.create_task(tick())
    await clock.advance(1.0)
    await task
    assert ticks == [n * 0.01 for n in range(1, 101)]


async def test_the_past_does_not_wait_and_cancelled_sleepers_are_harmless() -> None:
    clock = SimulatedClock()
    await clock.sleep_until(-1.0)
    task = asyncio.create_task(clock.sleep_until(1.0))
    await asyncio.sleep(0)
    task.cancel()
    await clock.advance(2.0)
    assert task.cancelled()


async def test_the_real_clock_never_wakes_early() -> None:
    clock = MonotonicClock()
    due_s = clock.now() + 0.002
    await clock.sleep_until(due_s)
    assert clock.now() >= due_s
