"""Session: one person's voice in, one face and the same voice out, wired in one direction.

::

    push_voice -> Intake -+-> Composer.hear -> think -> draw -> show -> outlets
    say --------> Feed ---+-> voice chunks -----------------> speak -> outlets
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.streamer.async_engine import AsyncEngine
from daetalker.streamer.clock import Clock
from daetalker.streamer.composer import Composer, Cue, FramePlan
from daetalker.streamer.control import Control
from daetalker.streamer.decimation import Decimation
from daetalker.streamer.engine import Speech
from daetalker.streamer.errors import EngineError, SessionClosed
from daetalker.streamer.feed import Feed, Utterance
from daetalker.streamer.frame_log import FrameLog
from daetalker.streamer.intake import Intake
from daetalker.streamer.mark import UNMARKED, Mark
from daetalker.streamer.media import (
    CHUNK_SAMPLES,
    VOICE_PER_FRAME,
    VOICE_RATE,
    VideoFrame,
    VoiceChunk,
    VoiceResampler,
)
from daetalker.streamer.metrics import Metrics
from daetalker.streamer.outlet import Outlet
from daetalker.streamer.pacer import Pacer
from daetalker.streamer.profile import Profile
from daetalker.streamer.screen import Screen
from daetalker.streamer.stats import SessionStats, Stopwatch
from daetalker.streamer.voice_line import VoiceLine

__all__ = ["Outlet", "Session", "SessionClosed", "SessionStats"]

_T = TypeVar("_T")
_FEED_SAMPLES = 2 * VOICE_RATE


class _Stamped(NamedTuple, Generic[_T]):
    """An item and the epoch it was made in; an interruption makes older ones worthless."""

    epoch: int
    item: _T


class Session:
    """Create, `run` as a task, `push_voice`, read an `outlet`, `close`.

    All methods but `stats` belong to the event loop's thread.
    """

    def __init__(
        self,
        bundle: AvatarBundle,
        engine: AsyncEngine,
        clock: Clock,
        *,
        profile: Profile,
        session_id: str,
        mark: Mark = UNMARKED,
        metrics: Metrics | None = None,
    ) -> None:
        """A session that has not begun; ``engine`` is shared and stays open when it ends.

        Args:
            mark: drawn on every picture that leaves, for whomever.
            metrics: where stages and frames are counted; left out: nowhere that anybody looks.
        """
        self.session_id = session_id
        self.bundle = bundle
        self.profile = profile
        self._engine = engine
        self._clock = clock
        metrics = metrics or Metrics()
        self._stopwatch = Stopwatch(clock, metrics)
        self._frames = FrameLog(metrics)
        self._decimation = Decimation()

        self._control = Control()
        self._epoch = 0
        self._intake = Intake()
        self._feed = Feed()
        self._resampler = VoiceResampler()
        self._composer = Composer(bundle.manifest, profile)
        self._voice = VoiceLine()

        # Full: the oldest cue goes and its frames are never made; the networks cannot keep up.
        self._cues: asyncio.Queue[_Stamped[Cue | None]] = asyncio.Queue(8)
        # Full: thinking waits for drawing, which leaves out frames that are overdue.
        self._plans: asyncio.Queue[_Stamped[FramePlan]] = asyncio.Queue(64)
        # Full: drawing waits, two seconds ahead of what is shown.
        self._ready: asyncio.Queue[_Stamped[VideoFrame]] = asyncio.Queue(50)
        self._screen = Screen(clock, mark)
        self._drawn: VideoFrame | None = None

        self._pacer: Pacer | None = None
        self._running = False
        self._started = asyncio.Event()
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()

    async def run(self) -> None:
        """Live until `close`, or until cancelled, which is as good.

        Raises:
            EngineError: if a network fails; the session is closed then.
        """
        if self._running:
            raise RuntimeError("a session runs once")
        self._running = True
        try:
            rest = await self._engine.silence()
            pacer = self._pacer = Pacer(self._clock, self.profile.delay_s)
            self._started.set()
            async with asyncio.TaskGroup() as group:
                stages = {
                    "keep up": self._keep_up(pacer),
                    "think": self._think(pacer, rest),
                    "draw": self._draw(pacer),
                    "show": self._show(pacer),
                    "speak": self._voice.give_out(pacer, self._speak),
                }
                tasks = [
                    group.create_task(stage, name=f"session {self.session_id}: {name}")
                    for name, stage in stages.items()
                ]
                await self._closing.wait()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as failures:
            raise _first_engine_error(failures) or failures from None
        finally:
            self._end()

    def push_voice(self, pcm: NDArray[np.int16], pts: int | None = None) -> None:
        """Hear voice, as soon as it arrives; never blocks.

        Before the session runs and after it ends, voice is ignored.

        Args:
            pcm: ``[N]`` int16, mono at 48 kHz, any length; what is more than 200 ms ahead of time
                is dropped.
            pts: position of the first sample on the sender's timeline at 48 kHz, if known, so that
                losses can be filled.

        Raises:
            ValueError: if ``pcm`` is not one-dimensional int16.
        """
        if pcm.ndim != 1 or pcm.dtype != np.int16:
            raise ValueError(f"voice must be [N] int16, got {pcm.shape} {pcm.dtype}")
        if self._pacer is None or self._closing.is_set() or self._feed.active:
            return
        self._hear(self._intake.accept(pcm, pts, self._pacer.elapsed_s()))

    async def say(self, pcm: NDArray[np.int16]) -> None:
        """Speak voice that comes as data, in real time; a microphone is not heard meanwhile.

        Begins an utterance, or goes on with the one that is being written.  Waits while two
        seconds or more are unspoken, and gives up quietly when interrupted.

        Args:
            pcm: ``[N]`` int16, mono at 48 kHz.

        Raises:
            SessionClosed: if the session ends before all is taken.
        """
        epoch = self._epoch
        for start in range(0, pcm.size, VOICE_RATE):
            while self._feed.waiting >= _FEED_SAMPLES and not self._closing.is_set():
                await self._feed.room()
            if epoch != self._epoch:
                return
            if self._closing.is_set():
                raise SessionClosed("the session has ended")
            self._feed.current.write(pcm[start : start + VOICE_RATE])

    def end_utterance(self) -> Utterance | None:
        """Nothing more is to come of the utterance that `say` began; None if there is none."""
        return self._feed.end()

    @property
    def control(self) -> Control:
        """What the person wants of the head now."""
        return self._control

    def set_control(self, control: Control) -> None:
        """Change it; the next window takes it up.  Muting holds from the next voice pushed."""
        self._control = control

    @property
    def epoch(self) -> int:
        """Counts the interruptions."""
        return self._epoch

    def interrupt(self) -> None:
        """Stop speaking now: voice heard but not yet given out becomes silence, the mouth closes.

        Time goes on without a gap, and so does the head.
        """
        if self._closing.is_set():
            return
        self._epoch += 1
        self._feed.clear()
        self._composer.silence()
        self._resampler.silence()
        self._voice.silence()
        if not self._cues.full():  # else the cues there will wake the thinking soon enough
            self._cues.put_nowait(_Stamped(self._epoch, None))

    def outlet(self, frames: int = 1) -> Outlet:
        """A new subscriber.

        Args:
            frames: frames to keep for a slow reader; 1 means the latest wins.
        """
        return self._screen.outlet(frames)

    def stats(self) -> SessionStats:
        """Figures of this moment; the one method that other threads may call."""
        shown = self._screen.shown
        elapsed_s = self._pacer.elapsed_s() - self._pacer.delay_s if self._pacer else 0.0
        return SessionStats(
            frames=self._screen.frames,
            fps=self._screen.fps(elapsed_s),
            late=self._screen.late,
            skipped=self._frames.skipped,
            load=self._frames.load(self._clock.now()),
            speaking=shown.speaking if shown else False,
            pose=shown.pose if shown else (0.0, 0.0, 0.0),
            delay_s=self.profile.delay_s,
            input_gaps=self._intake.gaps,
            input_surplus_s=self._intake.surplus_samples / VOICE_RATE,
            stages=self._stopwatch.read(),
        )

    async def close(self) -> None:
        """End the session and its outlets; may be called again, and before `run`."""
        self._closing.set()
        if self._running:
            await self._finished.wait()
        else:
            self._end()

    async def ended(self) -> None:
        """Wait until the session is over."""
        await self._finished.wait()

    async def settle(self) -> None:
        """Wait until everything heard so far is drawn, for whoever drives a simulated clock."""
        await self._started.wait()
        await self._cues.join()
        await self._plans.join()

    @property
    def next_window_frame(self) -> int:
        """First frame of the window that is being heard; where a new control will take effect."""
        return self._composer.next_window_frame

    # Stages, in the order of the flow.

    def _hear(
        self, pcm: NDArray[np.int16], utterance: int | None = None, last: bool = False
    ) -> None:
        muted = self._control.muted
        for cue in self._composer.hear(self._resampler.push(pcm), muted):
            if self._cues.full():
                dropped = self._cues.get_nowait().item
                self._cues.task_done()
                self._frames.skip(self.profile.hop_frames if dropped else 0)
            self._cues.put_nowait(_Stamped(self._epoch, cue))
        self._voice.push(np.zeros_like(pcm) if muted else pcm, utterance, last)

    async def _keep_up(self, pacer: Pacer) -> None:
        """Put silence in where voice is missing, so that the face stays alive."""
        tick = 0
        while True:
            # Ticks missed by a busy loop need no catching up: the silence is measured anyway.
            tick = max(tick + 1, int(pacer.elapsed_s() * VOICE_RATE) // CHUNK_SAMPLES)
            await pacer.until_tick(tick)
            self._draw_on_feed(pacer)
            silence = self._intake.keep_up(pacer.elapsed_s())
            if silence.size:
                self._hear(silence)

    def _draw_on_feed(self, pacer: Pacer) -> None:
        """Take as many frames of voice as are due, from the next frame boundary on."""
        now = int(pacer.elapsed_s() * VOICE_RATE)
        while self._feed.active and self._intake.heard <= now:
            waiting = -self._intake.heard % VOICE_PER_FRAME or VOICE_PER_FRAME
            frame, utterance, last = np.zeros(waiting, np.int16), None, False
            if waiting == VOICE_PER_FRAME and (taken := self._feed.take()):
                frame, utterance, last = taken
            self._intake.put(frame.size)
            self._hear(frame, utterance, last)

    async def _think(self, pacer: Pacer, rest: Speech) -> None:
        """Turn cues into frame plans."""
        epoch = self._epoch
        while True:
            stamped = await self._cues.get()
            try:
                if epoch != self._epoch:
                    epoch = self._epoch
                    await self._plan_all(epoch, await self._fall_silent(rest))
                cue = stamped.item
                if cue is None:
                    continue
                first = cue.window.first_frame
                last = first + self.profile.hop_frames - 1
                if pacer.is_stale(last) and not self._cues.empty():
                    self._frames.skip(self.profile.hop_frames)
                    continue
                # Wanted so early that the first frame can still be drawn.
                due_s = pacer.frame_due_s(first) - self._decimation.frame_s
                spoken = None
                if stamped.epoch == epoch and cue.has_speech:
                    hearing = self._engine.speech(cue.window.samples, due_s)
                    spoken = await self._timed("speech", hearing)
                if epoch != self._epoch:  # interrupted meanwhile: first shut the mouth
                    epoch = self._epoch
                    await self._plan_all(epoch, await self._fall_silent(rest))
                if stamped.epoch != epoch:
                    cue, spoken = cue.silenced(), None
                await self._plan_all(epoch, await self._compose(cue, spoken, rest, due_s))
            finally:
                self._cues.task_done()

    async def _compose(
        self, cue: Cue, spoken: Speech | None, rest: Speech, due_s: float
    ) -> list[FramePlan]:
        control = self._control
        steering = self._composer.steer(cue, spoken.pose if spoken else None, rest.pose, control)
        if self._composer.released and self._control is control:
            # The hold is over; what is wanted now is what the head does already.
            self._control = Control(muted=control.muted)
        talking, resting = None, None
        if spoken is not None:
            talking = await self._latents(spoken, steering, due_s)
        if cue.has_silence:
            resting = await self._latents(rest, steering, due_s)
        return self._composer.blend(cue, talking, resting)

    async def _fall_silent(self, rest: Speech) -> list[FramePlan]:
        now_s = self._clock.now()
        resting = await self._latents(rest, self._composer.steering, now_s)
        return self._composer.fall_silent(self._screen.shown, resting)

    async def _plan_all(self, epoch: int, plans: list[FramePlan]) -> None:
        for plan in plans:
            await self._plans.put(_Stamped(epoch, plan))

    async def _draw(self, pacer: Pacer) -> None:
        """Decode plans one by one, so that each frame leaves as early as it can."""
        while True:
            epoch, plan = await self._plans.get()
            try:
                if epoch != self._epoch:
                    continue
                if not self._is_worth_drawing(plan.index, pacer):
                    self._frames.skip()
                    continue
                rgb = await self._pixels(plan.latent, pacer.frame_due_s(plan.index))
                frame = VideoFrame(plan.index, rgb, plan.pose, plan.speaking, plan.latent)
                self._drawn = frame
                await self._ready.put(_Stamped(epoch, frame))
            finally:
                self._plans.task_done()

    def _is_worth_drawing(self, index: int, pacer: Pacer) -> bool:
        draws = self._decimation.draws
        if not draws(index):
            return False
        # One that comes too late is still better than none.
        newer = range(index + 1, index + 1 + self._plans.qsize())
        if not pacer.is_stale(index, self._decimation.frame_s) or not any(map(draws, newer)):
            return True
        self._decimation.miss(self._clock.now())
        return False

    async def _pixels(self, latent: NDArray[np.float32], due_s: float) -> NDArray[np.uint8]:
        if self._drawn is not None and np.array_equal(self._drawn.latent, latent):
            return self._drawn.rgb
        start_s = self._clock.now()
        rgb = await self._timed("frame", self._engine.frame(latent, due_s))
        now_s = self._clock.now()
        self._decimation.note(now_s - start_s, now_s)
        return rgb

    async def _show(self, pacer: Pacer) -> None:
        """Give frames out when they are due; between them every reader holds the last."""
        while True:
            epoch, frame = await self._ready.get()
            if epoch == self._epoch:  # else the ones that take its place must not wait for it
                await pacer.until_frame(frame.index)
            if epoch != self._epoch:
                continue
            late_s = pacer.late_s(frame.index)
            self._frames.show(frame.index, late_s, self._clock.now())
            self._screen.show(frame, late_s)

    def _speak(self, chunk: VoiceChunk) -> None:
        self._screen.speak(chunk)
        if chunk.utterance is not None:
            self._feed.given_out(chunk.utterance, CHUNK_SAMPLES, chunk.last)

    # Helpers.

    async def _latents(
        self, speech: Speech, steering: NDArray[np.float32], due_s: float
    ) -> NDArray[np.float32]:
        return await self._timed("latents", self._engine.latents(speech.hidden, steering, due_s))

    async def _timed(self, stage: str, job: Awaitable[_T]) -> _T:
        start_s = self._clock.now()
        result = await job
        self._stopwatch.note(stage, start_s)
        return result

    def _end(self) -> None:
        self._closing.set()
        self._started.set()  # nobody may wait for a start that will not come
        for queue in (self._cues, self._plans):
            _drain(queue)
        self._screen.close()
        self._feed.clear()  # whoever waits for room or for an utterance's end goes on
        self._finished.set()


def _drain(queue: asyncio.Queue[Any]) -> None:
    while not queue.empty():
        queue.get_nowait()
        queue.task_done()


def _first_engine_error(failures: BaseExceptionGroup[BaseException]) -> EngineError | None:
    for failure in failures.exceptions:
        if isinstance(failure, EngineError):
            return failure
        if isinstance(failure, BaseExceptionGroup):
            inner = _first_engine_error(failure)
            if inner is not None:
                return inner
    return None
