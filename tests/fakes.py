"""Fakes for the live path: networks that cost simulated time and leave traces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.async_engine import AsyncEngine
from daetalker.streamer.clock import SimulatedClock
from daetalker.streamer.engine import Speech

_T = TypeVar("_T")
WINDOW = 50


class FakeEngine(AsyncEngine):
    """One worker without a thread.  Jobs take the given seconds of a simulated clock, in turn.

    Hidden states are 1 for speech and 0 for silence, in one channel; a latent is (hidden, yaw,
    pitch, roll), and a frame's pixels are hidden states times 255.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        *,
        speech_s: float = 0.0,
        latents_s: float = 0.0,
        frame_s: float = 0.0,
    ) -> None:
        self.clock = clock
        self.costs_s = {"speech": speech_s, "latents": latents_s, "frame": frame_s, "silence": 0.0}
        self.calls = {"speech": 0, "latents": 0, "frame": 0, "silence": 0}
        self.failure: Exception | None = None
        self._turn = asyncio.Lock()

    async def speech(self, samples: NDArray[np.float32], due_s: float = 0.0) -> Speech:
        return await self._job("speech", lambda: _speech(1.0))

    async def silence(self) -> Speech:
        return await self._job("silence", lambda: _speech(0.0))

    async def latents(
        self, hidden: NDArray[np.float32], control: NDArray[np.float32], due_s: float = 0.0
    ) -> NDArray[np.float32]:
        return await self._job(
            "latents", lambda: np.concatenate([hidden, control[:, :3]], axis=1).astype(np.float32)
        )

    async def frame(self, latent: NDArray[np.float32], due_s: float = 0.0) -> NDArray[np.uint8]:
        level = np.uint8(round(255 * float(np.clip(latent[0], 0.0, 1.0))))
        return await self._job("frame", lambda: np.full((4, 4, 3), level, np.uint8))

    async def close(self) -> None:
        pass

    async def _job(self, name: str, job: Callable[[], _T]) -> _T:
        async with self._turn:
            self.calls[name] += 1
            if self.failure is not None:
                raise self.failure
            if self.costs_s[name]:
                await self.clock.sleep_until(self.clock.now() + self.costs_s[name])
            return job()


def _speech(level: float) -> Speech:
    return Speech(np.full((WINDOW, 1), level, np.float32), np.zeros((WINDOW, 3), np.float32))
