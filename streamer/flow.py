"""Flow: what the stages of one session have between them, and share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from daetalker.streamer.async_engine import AsyncEngine
from daetalker.streamer.clock import Clock
from daetalker.streamer.composer import Cue, FramePlan
from daetalker.streamer.control import Control
from daetalker.streamer.decimation import Decimation
from daetalker.streamer.frame_log import FrameLog
from daetalker.streamer.media import VideoFrame
from daetalker.streamer.profile import Profile
from daetalker.streamer.screen import Screen
from daetalker.streamer.stats import Stopwatch

__all__ = ["Flow", "Stamped"]

_T = TypeVar("_T")


class Stamped(NamedTuple, Generic[_T]):
    """An item and the epoch it was made in; an interruption makes older ones worthless."""

    epoch: int
    item: _T


@dataclass
class Flow:
    """Of one session; the event loop's thread only.

    Attributes:
        epoch: counts the interruptions.
        control: what the person wants of the head now.
        cues: heard, not yet thought through.  Full: the oldest goes and its frames are never made;
            the networks cannot keep up.
        plans: thought through, not yet drawn.  Full: thinking waits for drawing, which leaves out
            frames that are overdue.
        ready: drawn, not yet shown.  Full: drawing waits, two seconds ahead of what is shown.
    """

    clock: Clock
    profile: Profile
    engine: AsyncEngine
    stopwatch: Stopwatch
    frames: FrameLog
    screen: Screen
    decimation: Decimation = field(default_factory=Decimation)
    epoch: int = 0
    control: Control = field(default_factory=Control)
    cues: asyncio.Queue[Stamped[Cue | None]] = field(default_factory=lambda: asyncio.Queue(8))
    plans: asyncio.Queue[Stamped[FramePlan]] = field(default_factory=lambda: asyncio.Queue(64))
    ready: asyncio.Queue[Stamped[VideoFrame]] = field(default_factory=lambda: asyncio.Queue(50))

    async def timed(self, stage: str, job: Awaitable[_T]) -> _T:
        """The engine's answer; how long it took is noted."""
        start_s = self.clock.now()
        result = await job
        self.stopwatch.note(stage, start_s)
        return result

    def end(self) -> None:
        """Nothing more will be thought or drawn; nobody need wait for it."""
        for queue in (self.cues, self.plans):
            _drain(queue)


def _drain(queue: asyncio.Queue[Any]) -> None:
    while not queue.empty():
        queue.get_nowait()
        queue.task_done()
