from __future__ import annotations

import asyncio

import pytest

from daetalker.streamer.clock import SimulatedClock
from daetalker.streamer.pacer import Pacer


async def test_due_times_are_absolute_and_errors_never_add_up() -> None:
    clock = SimulatedClock(5.0)
    pacer = Pacer(clock, 0.36)
    errors_s: list[float] = []

    async def show() -> None:
        for index in range(2000):
            await pacer.until_frame(index)
            errors_s.append(clock.now() - (5.36 + index / 25))
            if index % 7 == 0:  # a reader that dawdles now and then
                await clock.sleep_until(clock.now() + 0.03)

    task = asyncio.create_task(show())
    await clock.advance(100.0)
    await task
    assert max(map(abs, errors_s)) < 1e-9


async def test_voice_and_frame_of_the_same_moment_are_due_together() -> None:
    pacer = Pacer(SimulatedClock(1.0), 0.4)
    for frame in (0, 1, 7, 12_345):
        assert pacer.voice_due_s(frame * 1920) == pytest.approx(pacer.frame_due_s(frame), abs=1e-9)


async def test_overdue_is_not_waited_for() -> None:
    clock = SimulatedClock()
    pacer = Pacer(clock, 0.1)
    await clock.advance(1.0)
    await pacer.until_frame(0)
    await pacer.until_voice(0)
    await pacer.until_tick(1)
    assert pacer.late_s(0) == pytest.approx(0.9)
    assert clock.now() == 1.0


async def test_stale_means_overdue_by_more_than_a_frame() -> None:
    clock = SimulatedClock()
    pacer = Pacer(clock, 0.1)
    await clock.advance(0.14)
    assert not pacer.is_stale(0)
    await clock.advance(0.001)
    assert pacer.is_stale(0) and not pacer.is_stale(1)
