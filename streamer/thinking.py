"""Thinking: the stage that turns what was heard into plans of frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.composer import Composer, Cue, FramePlan
from daetalker.streamer.control import Control
from daetalker.streamer.engine import Speech
from daetalker.streamer.flow import Flow, Stamped
from daetalker.streamer.pacer import Pacer

__all__ = ["Thinking"]


class Thinking:
    """Takes cues, runs the networks that hear, gives plans."""

    def __init__(self, flow: Flow, composer: Composer, pacer: Pacer, rest: Speech) -> None:
        """Of one session; ``rest`` is what the networks make of silence."""
        self._flow = flow
        self._composer = composer
        self._pacer = pacer
        self._rest = rest
        self._epoch = flow.epoch

    async def run(self) -> None:
        """Think until cancelled."""
        cues = self._flow.cues
        while True:
            stamped = await cues.get()
            try:
                await self._catch_up()
                if stamped.item is not None:
                    await self._think(stamped.epoch, stamped.item)
            finally:
                cues.task_done()

    async def _think(self, made_in: int, cue: Cue) -> None:
        flow = self._flow
        first = cue.window.first_frame
        last = first + flow.profile.hop_frames - 1
        if self._pacer.is_stale(last) and not flow.cues.empty():
            flow.frames.skip(flow.profile.hop_frames)
            return
        # Wanted so early that the first frame can still be drawn.
        due_s = self._pacer.frame_due_s(first) - flow.decimation.frame_s
        spoken = None
        if made_in == self._epoch and cue.has_speech:
            spoken = await flow.timed("speech", flow.engine.speech(cue.window.samples, due_s))
        await self._catch_up()
        if made_in != self._epoch:
            cue, spoken = cue.silenced(), None
        await self._plan(await self._compose(cue, spoken, due_s))

    async def _catch_up(self) -> None:
        """Shut the mouth first, if there was an interruption meanwhile."""
        if self._epoch == self._flow.epoch:
            return
        self._epoch = self._flow.epoch
        now_s = self._flow.clock.now()
        resting = await self._latents(self._rest, self._composer.steering, now_s)
        await self._plan(self._composer.fall_silent(self._flow.screen.shown, resting))

    async def _compose(self, cue: Cue, spoken: Speech | None, due_s: float) -> list[FramePlan]:
        flow, rest = self._flow, self._rest
        control = flow.control
        steering = self._composer.steer(cue, spoken.pose if spoken else None, rest.pose, control)
        if self._composer.released and flow.control is control:
            # The hold is over; what is wanted now is what the head does already.
            flow.control = Control(muted=control.muted)
        talking, resting = None, None
        if spoken is not None:
            talking = await self._latents(spoken, steering, due_s)
        if cue.has_silence:
            resting = await self._latents(rest, steering, due_s)
        return self._composer.blend(cue, talking, resting)

    async def _latents(
        self, speech: Speech, steering: NDArray[np.float32], due_s: float
    ) -> NDArray[np.float32]:
        job = self._flow.engine.latents(speech.hidden, steering, due_s)
        return await self._flow.timed("latents", job)

    async def _plan(self, plans: list[FramePlan]) -> None:
        for plan in plans:
            await self._flow.plans.put(Stamped(self._epoch, plan))
