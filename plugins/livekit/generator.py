"""A session as LiveKit's `VideoGenerator`: the agent's voice in, picture and voice out, in step.

LiveKit's `AvatarRunner` pushes what the agent says and publishes what the iteration yields.  Its
rules, which this class keeps: to each picture belong exactly 40 ms of voice; between utterances
there are pictures only, for every audio frame counts as speech that is being played; an
utterance's end is followed by an `AudioSegmentEnd`, unless it was interrupted.

The runner plays voice as soon as it gets it, so the voice needs a little in reserve: an utterance
begins with three frames of voice at once, and its pictures are two frames old, which the first
three frames of voice are not.  Picture and voice of a moment still leave at the same time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass

import numpy as np
from livekit import rtc
from livekit.agents.voice.avatar import AudioSegmentEnd, AvatarOptions, VideoGenerator

from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.live_session import LiveSession, Spoken
from daetalker.streamer.media import FPS, VOICE_PER_FRAME, VOICE_RATE
from daetalker.streamer.pairing import Moment

__all__ = ["DaetalkerGenerator"]

_SHELF_FRAMES = 2 * FPS
"""What a session keeps for a reader: who stalls for longer loses voice."""

_RESERVE_FRAMES = 2
_HANDOVER_S = 0.5


@dataclass(eq=False)
class _Step:
    """A moment on its way: is its voice still to be yielded, is it an utterance's end?"""

    moment: Moment
    voiced: bool
    ends: bool


@dataclass
class _Ended:
    """An utterance that the session has given out to its end, and we may have missed the end of."""

    number: int
    patience: int = _SHELF_FRAMES


class DaetalkerGenerator(VideoGenerator):
    """Use one for one session, iterate it once."""

    def __init__(self, session: LiveSession) -> None:
        """The session stays yours: close it yourself."""
        self._session = session
        self._epoch = 0
        # Voice is let through; see `hold`.
        self._open = asyncio.Event()
        self._open.set()
        # The consumer is done with the audio frame it was given last.
        self._handed_over = asyncio.Event()
        self._handed_over.set()
        self._index = 0
        # Moments whose pictures have not been yielded: `_lag` of them, none before anyone speaks.
        self._line: deque[_Step] = deque()
        self._shown: _Step | None = None
        self._lag = 0
        # While set: voice is left out, up to the next pause; it was interrupted.
        self._interrupted_at: int | None = None
        self._ended: list[_Ended] = []
        self._reported = 0
        self._pushed = False
        self._watching: set[asyncio.Task[None]] = set()

    @property
    def options(self) -> AvatarOptions:
        """What LiveKit's runner wants to know."""
        return AvatarOptions(self._session.size, self._session.size, FPS, VOICE_RATE, 1)

    def hold(self) -> None:
        """Let voice wait until `release`: nobody listens yet.  The picture goes on."""
        self._open.clear()

    def release(self) -> None:
        """Somebody listens."""
        self._open.set()

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """Say it; waits while the session has two seconds to say already.

        Args:
            frame: any rate from 8 to 192 kHz, mono or stereo; or the end of an utterance.
        """
        epoch = self._epoch
        await self._open.wait()
        if epoch != self._epoch:
            return
        if isinstance(frame, AudioSegmentEnd):
            spoken = await self._session.end_utterance()
            if spoken is not None:
                self._watch(spoken)
            elif self._pushed:  # not one whole sample; the agent waits for an end all the same
                self._ended.append(_Ended(self._reported, patience=1))
            self._pushed = False
        else:
            self._pushed = True
            pcm = np.frombuffer(frame.data, np.int16)
            await self._session.speak(pcm, frame.sample_rate, frame.num_channels)

    async def clear_buffer(self) -> None:
        """Be silent; returns when no more of the interrupted voice will be yielded.

        The runner then reports how much of it was heard, so nothing may follow.
        """
        self._epoch += 1
        self._pushed = False
        self._ended.clear()
        held = not self._open.is_set()
        if held:  # whoever waits to speak is let go, with nothing said
            self._open.set()
            await asyncio.sleep(0)
            self._open.clear()
        await self._session.interrupt()
        self._interrupted_at = self._index
        for step in (*self._line, *([self._shown] if self._shown else [])):
            step.voiced = step.ends = False
        # The mouth is closing in the newest picture; no need to wait for it.
        while len(self._line) > 1:
            self._line.popleft()
        self._lag = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_HANDOVER_S):
                await self._handed_over.wait()

    def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        return self._stream()

    async def _stream(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        size = self._session.size
        async with aclosing(self._session.moments()) as moments:
            async for moment in moments:
                self._index = moment.index
                heard = self._is_heard(moment)
                self._line.append(_Step(moment, heard, heard and moment.last))
                if heard:
                    self._lag = _RESERVE_FRAMES
                while len(self._line) > self._lag:
                    shown = self._shown = self._line.popleft()
                    rgb = shown.moment.rgb.tobytes()
                    yield rtc.VideoFrame(size, size, rtc.VideoBufferType.RGB24, rgb)
                    for spoken in self._to_speak(shown):
                        self._handed_over.clear()
                        try:
                            pcm = spoken.moment.pcm.tobytes()
                            yield rtc.AudioFrame(pcm, VOICE_RATE, 1, VOICE_PER_FRAME)
                        finally:
                            self._handed_over.set()
                    if self._ends(shown):
                        yield AudioSegmentEnd()

    def _to_speak(self, shown: _Step) -> Iterator[_Step]:
        """What is to be heard now: this step, and those of its utterance that are here already."""
        if shown.moment.utterance is None:
            return
        for step in (shown, *self._line):
            if step.moment.utterance == shown.moment.utterance and step.voiced:
                step.voiced = False
                yield step

    def _is_heard(self, moment: Moment) -> bool:
        if moment.utterance is None:
            self._interrupted_at = None
            return False
        if self._interrupted_at is not None:
            # What follows an interrupt without a pause is the rest of what was interrupted: a new
            # utterance takes the session's delay to come through.
            if moment.index - self._interrupted_at <= _SHELF_FRAMES:
                return False
            self._interrupted_at = None
        return True

    def _ends(self, shown: _Step) -> bool:
        """Whether an utterance is over with this step."""
        number = shown.moment.utterance
        if number is not None and shown.ends:
            self._reported = number
            self._ended = [ended for ended in self._ended if ended.number > number]
            return True
        # The end of an utterance may be among what a stalled reader lost; the agent waits for it.
        for ended in self._ended:
            ended.patience -= 1
        lost = [e for e in self._ended if e.patience <= 0 or (number or 0) > e.number]
        for ended in lost[:1]:
            self._reported = ended.number
            self._ended.remove(ended)
        return bool(lost)

    def _watch(self, spoken: Spoken) -> None:
        epoch = self._epoch

        async def wait() -> None:
            with suppress(SessionClosed):
                playback = await spoken.done()
                ours = epoch == self._epoch and spoken.number > self._reported
                if ours and not playback.interrupted:
                    self._ended.append(_Ended(spoken.number))

        task = asyncio.create_task(wait(), name="daetalker: end of an utterance")
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
