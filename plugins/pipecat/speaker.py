"""Speaker: hands a bot's voice to a session, and every other frame on when its time has come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import numpy as np
from pipecat.frames.frames import ControlFrame, Frame, TTSAudioRawFrame, TTSStoppedFrame

from daetalker.plugins.pipecat.places import Places
from daetalker.streamer.live import LiveSession, Moment, Spoken
from daetalker.streamer.media import VOICE_RATE

__all__ = ["Speaker"]

MAX_WAITING_S = 60.0
"""Voice kept for a TTS that is faster than real time; a longer answer waits in the pipeline."""

MAX_WAITING_FRAMES = 10_000

PREROLL_S = 0.1
"""An utterance begins when this much voice is there, so that a TTS that is only just as fast as
real time does not make it stutter."""


class _Flush(ControlFrame):  # type: ignore[misc, unused-ignore]
    """Says that everything before it is out; survives interruptions, never leaves the service."""

    def __init__(self) -> None:
        super().__init__()
        self.interruptible = False
        self.reached = asyncio.Event()


class Speaker:
    """For the pipeline's event loop; `run` must be running."""

    def __init__(
        self,
        session: LiveSession,
        ready: asyncio.Event,
        pass_on: Callable[[Frame], Awaitable[None]],
    ) -> None:
        """Nothing to say yet.

        Args:
            ready: nothing is said before this is set.
            pass_on: called with each frame whose place in the voice has been reached.
        """
        self._session = session
        self._ready = ready
        self._pass_on = pass_on
        self._places: Places[Frame] = Places()
        # Full: `take` waits, and with it the pipeline's data frames, but no system frame.
        self._waiting: deque[Frame] = deque()
        self._waiting_s = 0.0
        self._changed = asyncio.Condition()
        self._feeding = False
        self._begun = False  # an utterance that has not ended
        self._context: str | None = None
        self._firm_place = 0
        self._interruptions = 0
        self._cut = False
        self._dones: set[asyncio.Future[object]] = set()

    @property
    def busy(self) -> bool:
        """True while something waits, is being handed over, or is still to be heard."""
        return bool(self._waiting) or self._feeding or not self._places.quiet

    async def take(self, frame: Frame) -> None:
        """Say a frame of voice, or pass another frame on when what came before has been heard."""
        if not self.busy and not isinstance(frame, TTSAudioRawFrame):
            await self._reach(frame)
            return
        async with self._changed:
            await self._changed.wait_for(self._has_room)
            self._waiting.append(frame)
            self._waiting_s += _seconds(frame)
            self._changed.notify_all()

    async def flush(self) -> None:
        """Wait until everything taken so far has been heard or was interrupted."""
        flush = _Flush()
        await self.take(flush)
        await flush.reached.wait()

    async def interrupt(self) -> None:
        """Say no more of what may be interrupted; frames that may not keep their order."""
        firm = self._places.is_unheard(self._firm_place)
        if not firm:
            self._interruptions += 1
            self._begun, self._cut = False, True
            self._waiting.extendleft(reversed(self._places.clear()))
        kept = [frame for frame in self._waiting if not frame.interruptible]
        self._waiting = deque(kept)
        self._waiting_s = sum(map(_seconds, kept))
        if not firm:
            await self._session.interrupt()
            self._cut = True
        async with self._changed:
            self._changed.notify_all()

    def hears(self, moment: Moment) -> bool:
        """Whether this moment's voice is the bot's, and not the rest of something interrupted.

        What the session gave out before an interruption may still be on its way here.  After it
        the session is silent for its whole delay, which ends the rest.
        """
        if moment.utterance is None:
            self._cut = False
        return moment.utterance is not None and not self._cut

    async def was_shown(self, moment: Moment, heard: bool) -> None:
        """Pass on what had to wait for this moment."""
        for frame in self._places.hear(moment.last) if heard else self._places.rest():
            await self._reach(frame)

    async def give_up(self) -> None:
        """The session is gone: pass everything on as it came, voice included."""
        frames = [*self._places.clear(), *self._waiting]
        self._waiting.clear()
        self._waiting_s = 0.0
        for frame in frames:
            await self._reach(frame)
        async with self._changed:
            self._changed.notify_all()

    async def run(self) -> None:
        """Hand over what waits, in order, as fast as the session takes it.

        Raises:
            SessionClosed: when the session has ended.
            ValueError: for a frame that is no voice; it is left out, and this may be called again.
        """
        await self._ready.wait()
        while True:
            async with self._changed:
                await self._changed.wait_for(self._may_go_on)
                frame = self._waiting.popleft()
                self._waiting_s -= _seconds(frame)
                self._feeding = True
                self._changed.notify_all()
            try:
                await self._hand_over(frame)
            finally:
                self._feeding = False

    async def _hand_over(self, frame: Frame) -> None:
        interruptions = self._interruptions
        if isinstance(frame, TTSAudioRawFrame):
            await self._say(frame)
            return
        if isinstance(frame, _Flush) or self._ends_here(frame):
            self._begun = False
            spoken = await self._session.end_utterance()
            if interruptions != self._interruptions and frame.interruptible:
                return
            if spoken is not None and interruptions == self._interruptions:
                self._places.end(self._watch(spoken))
        if self._places.quiet:
            await self._reach(frame)
        else:
            self._places.hold(frame)

    async def _say(self, frame: TTSAudioRawFrame) -> None:
        pcm, samples = np.frombuffer(frame.audio, np.int16), round(_seconds(frame) * VOICE_RATE)
        self._begun, self._context = True, frame.context_id
        # Counted before it is said: the first of it may be heard before the last is taken.
        self._places.feed(samples)
        if not frame.interruptible:
            self._firm_place = self._places.fed
        try:
            await self._session.speak(pcm, frame.sample_rate, frame.num_channels)
        except ValueError:
            self._places.feed(-samples)
            raise

    def _ends_here(self, frame: Frame) -> bool:
        """Whether the utterance ends with this frame; that of another context changes nothing."""
        if not isinstance(frame, TTSStoppedFrame):
            return False
        return None in (frame.context_id, self._context) or frame.context_id == self._context

    def _watch(self, spoken: Spoken) -> Callable[[], bool]:
        done: asyncio.Future[object] = asyncio.ensure_future(spoken.done())
        self._dones.add(done)
        done.add_done_callback(self._dones.discard)
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        return done.done

    async def _reach(self, frame: Frame) -> None:
        if isinstance(frame, _Flush):
            frame.reached.set()
        else:
            await self._pass_on(frame)

    def _may_go_on(self) -> bool:
        if not self._waiting or self._begun or not isinstance(self._waiting[0], TTSAudioRawFrame):
            return bool(self._waiting)
        whole = any(isinstance(frame, TTSStoppedFrame | _Flush) for frame in self._waiting)
        return whole or self._waiting_s >= PREROLL_S

    def _has_room(self) -> bool:
        return self._waiting_s < MAX_WAITING_S and len(self._waiting) < MAX_WAITING_FRAMES


def _seconds(frame: Frame) -> float:
    if not isinstance(frame, TTSAudioRawFrame):
        return 0.0
    return len(frame.audio) / (2.0 * frame.num_channels * frame.sample_rate)
