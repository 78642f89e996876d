"""LiveSession: a running session as programs hold it, from whatever thread or event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer import protocol as p
from daetalker.streamer.describe import avatar_info, preset_infos, state_of
from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.feed import Playback, VoiceConverter
from daetalker.streamer.outlet import Outlet
from daetalker.streamer.pairing import Moment, moments
from daetalker.streamer.presets import PresetBook
from daetalker.streamer.session import Session
from daetalker.streamer.steering import Steering

__all__ = ["LiveSession", "Playback", "Spoken"]

_T = TypeVar("_T")
_MOMENT_FRAMES = 8


class LiveSession:
    """Speak through a session, steer it, see and hear what it shows.

    Made by `Hub.open_session` and `open_avatar`, or given to a plugin.  Every method may be called
    from any event loop; the work is done in the session's own.
    """

    def __init__(
        self,
        session: Session,
        book: PresetBook,
        steering: Steering,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        """A handle made in the session's event loop; ``close`` ends the session."""
        self.id = session.session_id
        self.avatar = avatar_info(session.bundle.manifest, book)
        self.size: int = session.bundle.manifest.size
        self.delay_s = session.profile.delay_s
        self.session = session
        """The session itself, for its own event loop only."""
        self._book = book
        self._steering = steering
        self._close = close
        self._loop = asyncio.get_running_loop()
        self._admit: Callable[[], None] = lambda: None
        self._voice = _Voice(session)

    def limited(self, admit: Callable[[], None]) -> LiveSession:
        """The same session for somebody whose every call asks ``admit`` first, which may raise."""
        other = object.__new__(LiveSession)
        other.__dict__.update(self.__dict__)
        other._admit = admit
        return other

    async def speak(self, pcm: NDArray[np.int16], rate: int, channels: int = 1) -> None:
        """Say a piece of voice; the first one begins an utterance.

        It may come faster or slower than real time: this waits while two seconds or more are
        unspoken, and where the voice runs dry the face rests.  A call that waits when `interrupt`
        comes gives up quietly.  A microphone of the session is not heard until the utterance ends.

        Args:
            pcm: ``[N]`` int16, the channels interleaved.
            rate: samples a second, 8000 to 192000; the same throughout an utterance.

        Raises:
            ValueError: if an argument is out of range.
            SessionClosed: if the session has ended.
        """
        await self._there(lambda: self._voice.speak(pcm, rate, channels))

    async def end_utterance(self) -> Spoken | None:
        """Say that nothing more belongs to this utterance; None if none was begun."""
        utterance = await self._there(self._voice.end)
        return None if utterance is None else Spoken(utterance.number, self, utterance.done)

    async def interrupt(self) -> None:
        """Stop speaking now: the mouth closes within two frames, the voice fades in 10 ms.

        All utterances not yet spoken to their end are over, interrupted.
        """

        async def now() -> None:
            self._voice.forget()
            self.session.interrupt()

        await self._there(now)

    async def command(self, command: p.Command | Mapping[str, Any] | str | bytes) -> None:
        """Do what a command of the protocol asks, as JSON or as an object.

        Raises:
            ProtocolError: if it is no command, or names what is not there.
            SessionClosed: if the session has ended.
        """
        if isinstance(command, str | bytes | Mapping):
            command = p.parse_command(command)
        if isinstance(command, p.Interrupt):
            await self.interrupt()
        else:
            await self._there(lambda: self._steering.apply(command))

    def state(self) -> p.State:
        """How the session is doing at this moment."""
        self._admit()
        return state_of(self.session)

    async def presets(self) -> list[p.PresetInfo]:
        """The avatar's presets as they are now."""
        self._admit()
        return preset_infos(self.session.bundle.manifest, self._book)

    @contextlib.asynccontextmanager
    async def outlet(self, frames: int = 1) -> AsyncIterator[Outlet]:
        """A reader of the session, for the calling event loop.

        Args:
            frames: frames kept while this reader is busy; 1 means that the latest wins.
        """
        self._admit()
        with await self._there(lambda: _later(self.session.outlet, frames)) as outlet:
            yield outlet

    async def moments(self) -> AsyncGenerator[Moment, None]:
        """Each picture with exactly its 40 ms of voice, until the session ends."""
        async with (
            self.outlet(_MOMENT_FRAMES) as outlet,
            contextlib.aclosing(moments(outlet)) as paired,
        ):
            async for moment in paired:
                yield moment

    async def ended(self) -> None:
        """Wait until the session is over."""
        await self._there(self.session.ended)

    async def close(self) -> None:
        """End the session; may be called again."""
        await self._there(self._close)

    async def _there(self, job: Callable[[], Awaitable[_T]]) -> _T:
        """Do a job in the session's event loop."""
        self._admit()
        if asyncio.get_running_loop() is self._loop:
            return await job()

        async def work() -> _T:
            return await job()

        coroutine = work()
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the loop is closed
            coroutine.close()
            raise SessionClosed("the session has ended") from None
        return await asyncio.wrap_future(future)


class Spoken:
    """An utterance that was said to its end, as far as the speaker is concerned.

    Attributes:
        number: counts the session's utterances from 1, as `Moment.utterance` does.
    """

    def __init__(
        self, number: int, session: LiveSession, done: Callable[[], Awaitable[Playback]]
    ) -> None:
        self.number = number
        self._session = session
        self._done = done

    async def done(self) -> Playback:
        """Wait until its last sample was given out, or it was interrupted."""
        return await self._session._there(self._done)


class _Voice:
    """Turns PCM of any rate into the session's, in the order of the calls."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._turn = asyncio.Lock()
        self._converter: VoiceConverter | None = None

    async def speak(self, pcm: NDArray[np.int16], rate: int, channels: int) -> None:
        epoch = self._session.epoch
        async with self._turn:
            if epoch != self._session.epoch:
                return  # interrupted while others were speaking
            converter = self._converter
            if converter is None or (converter.rate, converter.channels) != (rate, channels):
                if converter is not None:
                    await self._session.say(converter.flush())
                self._converter = converter = VoiceConverter(rate, channels)
            await self._session.say(converter.push(pcm))

    async def end(self) -> Any:
        epoch = self._session.epoch
        async with self._turn:
            if epoch != self._session.epoch:
                return None
            if self._converter is not None:
                await self._session.say(self._converter.flush())
                self._converter = None
            return self._session.end_utterance()

    def forget(self) -> None:
        """What waits inside belongs to a voice that was interrupted."""
        self._converter = None


async def _later(make: Callable[[int], _T], argument: int) -> _T:
    return make(argument)
