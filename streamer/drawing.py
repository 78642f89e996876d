"""Drawing: the stages that make pictures of plans, and give them out when they are due."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.flow import Flow, Stamped
from daetalker.streamer.media import VideoFrame
from daetalker.streamer.pacer import Pacer

__all__ = ["Drawing"]


class Drawing:
    """`draw` and `show` are two tasks of one session."""

    def __init__(self, flow: Flow, pacer: Pacer) -> None:
        self._flow = flow
        self._pacer = pacer
        self._drawn: VideoFrame | None = None

    async def draw(self) -> None:
        """Decode plans one by one, so that each frame leaves as early as it can."""
        flow = self._flow
        while True:
            epoch, plan = await flow.plans.get()
            try:
                if epoch != flow.epoch:
                    continue
                if not self._is_worth_drawing(plan.index):
                    flow.frames.skip()
                    continue
                rgb = await self._pixels(plan.latent, self._pacer.frame_due_s(plan.index))
                frame = VideoFrame(plan.index, rgb, plan.pose, plan.speaking, plan.latent)
                self._drawn = frame
                await flow.ready.put(Stamped(epoch, frame))
            finally:
                flow.plans.task_done()

    async def show(self) -> None:
        """Give frames out when they are due; between them every reader holds the last."""
        flow = self._flow
        while True:
            epoch, frame = await flow.ready.get()
            if epoch == flow.epoch:  # else the ones that take its place must not wait for it
                await self._pacer.until_frame(frame.index)
            if epoch != flow.epoch:
                continue
            late_s = self._pacer.late_s(frame.index)
            flow.frames.show(frame.index, late_s, flow.clock.now())
            flow.screen.show(frame, late_s)

    def _is_worth_drawing(self, index: int) -> bool:
        decimation = self._flow.decimation
        if not decimation.draws(index):
            return False
        # One that comes too late is still better than none.
        newer = range(index + 1, index + 1 + self._flow.plans.qsize())
        overdue = self._pacer.is_stale(index, decimation.frame_s)
        if not overdue or not any(map(decimation.draws, newer)):
            return True
        decimation.miss(self._flow.clock.now())
        return False

    async def _pixels(self, latent: NDArray[np.float32], due_s: float) -> NDArray[np.uint8]:
        if self._drawn is not None and np.array_equal(self._drawn.latent, latent):
            return self._drawn.rgb
        flow = self._flow
        start_s = flow.clock.now()
        rgb = await flow.timed("frame", flow.engine.frame(latent, due_s))
        now_s = flow.clock.now()
        flow.decimation.note(now_s - start_s, now_s)
        return rgb
