"""Session: one person's voice in, one face and the same voice out, wired in one direction.

::

    push_voice -> Intake -+-> Composer.hear -> think -> draw -> show -> outlets
    say --------> Feed ---+-> voice chunks -----------------> speak -> outlets
"""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.streamer.async_engine import AsyncEngine
from daetalker.streamer.clock import Clock
from daetalker.streamer.composer import Composer
from daetalker.streamer.control import Control
from daetalker.streamer.drawing import Drawing
from daetalker.streamer.errors import EngineError, SessionClosed
from daetalker.streamer.feed import Feed, Utterance
from daetalker.streamer.flow import Flow, Stamped
from daetalker.streamer.frame_log import FrameLog
from daetalker.streamer.intake import Intake
from daetalker.streamer.mark import UNMARKED, Mark
from daetalker.streamer.media import (
    CHUNK_SAMPLES,
    VOICE_PER_FRAME,
    VOICE_RATE,
    VoiceChunk,
    VoiceResampler,
)
from daetalker.streamer.metrics import Metrics
from daetalker.streamer.outlet import Outlet
from daetalker.streamer.pacer import Pacer
from daetalker.streamer.profile import Profile
from daetalker.streamer.screen import Screen
from daetalker.streamer.stats import SessionStats, Stopwatch
from daetalker.streamer.thinking import Thinking
from daetalker.streamer.voice_line import VoiceLine

__all__ = ["Outlet", "Session", "SessionClosed", "SessionStats"]

_FEED_SAMPLES = 2 * VOICE_RATE


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
        self._clock = clock
        metrics = metrics or Metrics()
        self._flow = Flow(
            clock,
            profile,
            engine,
            stopwatch=Stopwatch(clock, metrics),
            frames=FrameLog(metrics),
            screen=Screen(clock, mark),
        )
        self._intake = Intake()
        self._feed = Feed()
        self._resampler = VoiceResampler()
        self._composer = Composer(bundle.manifest, profile)
        self._voice = VoiceLine()

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
            rest = await self._flow.engine.silence()
            pacer = self._pacer = Pacer(self._clock, self.profile.delay_s)
            thinking = Thinking(self._flow, self._composer, pacer, rest)
            drawing = Drawing(self._flow, pacer)
            self._started.set()
            async with asyncio.TaskGroup() as group:
                stages = {
                    "keep up": self._keep_up(pacer),
                    "think": thinking.run(),
                    "draw": drawing.draw(),
                    "show": drawing.show(),
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
        epoch = self._flow.epoch
        for start in range(0, pcm.size, VOICE_RATE):
            while self._feed.waiting >= _FEED_SAMPLES and not self._closing.is_set():
                await self._feed.room()
            if epoch != self._flow.epoch:
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
        return self._flow.control

    def set_control(self, control: Control) -> None:
        """Change it; the next window takes it up.  Muting holds from the next voice pushed."""
        self._flow.control = control

    @property
    def epoch(self) -> int:
        """Counts the interruptions."""
        return self._flow.epoch

    def interrupt(self) -> None:
        """Stop speaking now: voice heard but not yet given out becomes silence, the mouth closes.

        Time goes on without a gap, and so does the head.
        """
        if self._closing.is_set():
            return
        self._flow.epoch += 1
        self._feed.clear()
        self._composer.silence()
        self._resampler.silence()
        self._voice.silence()
        if not self._flow.cues.full():  # else the cues there will wake the thinking soon enough
            self._flow.cues.put_nowait(Stamped(self._flow.epoch, None))

    def outlet(self, frames: int = 1) -> Outlet:
        """A new subscriber.

        Args:
            frames: frames to keep for a slow reader; 1 means the latest wins.
        """
        return self._flow.screen.outlet(frames)

    def stats(self) -> SessionStats:
        """Figures of this moment; the one method that other threads may call."""
        shown = self._flow.screen.shown
        elapsed_s = self._pacer.elapsed_s() - self._pacer.delay_s if self._pacer else 0.0
        return SessionStats(
            frames=self._flow.screen.frames,
            fps=self._flow.screen.fps(elapsed_s),
            late=self._flow.screen.late,
            skipped=self._flow.frames.skipped,
            load=self._flow.frames.load(self._clock.now()),
            speaking=shown.speaking if shown else False,
            pose=shown.pose if shown else (0.0, 0.0, 0.0),
            delay_s=self.profile.delay_s,
            input_gaps=self._intake.gaps,
            input_surplus_s=self._intake.surplus_samples / VOICE_RATE,
            stages=self._flow.stopwatch.read(),
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
        await self._flow.cues.join()
        await self._flow.plans.join()

    @property
    def next_window_frame(self) -> int:
        """First frame of the window that is being heard; where a new control will take effect."""
        return self._composer.next_window_frame

    # Stages, in the order of the flow.

    def _hear(
        self, pcm: NDArray[np.int16], utterance: int | None = None, last: bool = False
    ) -> None:
        muted = self._flow.control.muted
        for cue in self._composer.hear(self._resampler.push(pcm), muted):
            if self._flow.cues.full():
                dropped = self._flow.cues.get_nowait().item
                self._flow.cues.task_done()
                self._flow.frames.skip(self.profile.hop_frames if dropped else 0)
            self._flow.cues.put_nowait(Stamped(self._flow.epoch, cue))
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

    def _speak(self, chunk: VoiceChunk) -> None:
        self._flow.screen.speak(chunk)
        if chunk.utterance is not None:
            self._feed.given_out(chunk.utterance, CHUNK_SAMPLES, chunk.last)

    def _end(self) -> None:
        self._closing.set()
        self._started.set()  # nobody may wait for a start that will not come
        self._flow.end()
        self._flow.screen.close()
        self._feed.clear()  # whoever waits for room or for an utterance's end goes on
        self._finished.set()


def _first_engine_error(failures: BaseExceptionGroup[BaseException]) -> EngineError | None:
    for failure in failures.exceptions:
        if isinstance(failure, EngineError):
            return failure
        if isinstance(failure, BaseExceptionGroup):
            inner = _first_engine_error(failure)
            if inner is not None:
                return inner
    return None
