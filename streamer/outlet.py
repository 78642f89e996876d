"""Outlet: one reader's own view of a session, with small queues of its own."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_RATE, VideoFrame, VoiceChunk

__all__ = ["Outlet"]

_T = TypeVar("_T")
_VOICE_CHUNKS = 2 * VOICE_RATE // CHUNK_SAMPLES


class Outlet:
    """What one subscriber receives, each item at its due time.

    A slow reader loses the oldest items of its own queues and delays nobody.  It may read in
    another thread's event loop than the session's.  Use as a context manager, or call `close`.
    """

    def __init__(self, frames: int = 1, leave: Callable[[Outlet], None] | None = None) -> None:
        """An open, empty outlet.

        Args:
            frames: frames kept for the reader: 1 for a screen, where the latest wins; more for a
                recorder that wants all of them.
            leave: called once, when the outlet closes.
        """
        # Full: the oldest frame goes; the latest is what a screen wants.
        self._video: _Shelf[VideoFrame] = _Shelf(frames)
        # Full at 2 s: the oldest chunk goes, and is counted; a reader that far behind is broken.
        self._voice: _Shelf[VoiceChunk] = _Shelf(_VOICE_CHUNKS)
        self._leave = leave

    @property
    def dropped_frames(self) -> int:
        """Frames this reader was too slow for."""
        return self._video.dropped

    @property
    def dropped_chunks(self) -> int:
        """Voice chunks this reader was too slow for."""
        return self._voice.dropped

    async def video(self) -> VideoFrame:
        """The next frame, at its due time.

        Raises:
            SessionClosed: when the session or the outlet has ended.
        """
        return await self._video.take()

    async def voice(self) -> VoiceChunk:
        """The next 20 ms of voice, at their due time.

        Raises:
            SessionClosed: when the session or the outlet has ended.
        """
        return await self._voice.take()

    def waiting_video(self) -> list[VideoFrame]:
        """Take the frames that wait, without waiting for more."""
        return self._video.take_all()

    def waiting_voice(self) -> list[VoiceChunk]:
        """Take the voice chunks that wait, without waiting for more."""
        return self._voice.take_all()

    def offer_video(self, frame: VideoFrame) -> None:
        """Put a frame in; for the session."""
        self._video.put(frame)

    def offer_voice(self, chunk: VoiceChunk) -> None:
        """Put a voice chunk in; for the session."""
        self._voice.put(chunk)

    def close(self) -> None:
        """End it for its readers; may be called again."""
        self._video.close()
        self._voice.close()
        if self._leave is not None:
            leave, self._leave = self._leave, None
            leave(self)

    def __enter__(self) -> Outlet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Shelf(Generic[_T]):
    """A short queue that never blocks the writer; what is left may be read after the end.

    One reader, in any event loop; the writer's thread need not be the reader's.
    """

    def __init__(self, capacity: int) -> None:
        self.dropped = 0
        self._capacity = capacity
        self._items: deque[_T] = deque()
        self._lock = threading.Lock()
        self._changed = asyncio.Event()
        self._closed = False
        # Whoever waits, and whether it has been told already: a loop that does not get on must
        # not be buried in wake-ups.
        self._reader: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._told = False

    def put(self, item: _T) -> None:
        with self._lock:
            if self._closed:
                return
            if len(self._items) == self._capacity:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
        self._wake()

    async def take(self) -> _T:
        self._reader = (asyncio.get_running_loop(), threading.get_ident())
        while True:
            with self._lock:
                if self._items:
                    return self._items.popleft()
                if self._closed:
                    raise SessionClosed("the session has ended")
                self._changed.clear()
            await self._changed.wait()

    def take_all(self) -> list[_T]:
        with self._lock:
            items = list(self._items)
            self._items.clear()
        return items

    def close(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._reader is None:
            return  # nobody waits; who comes later looks before waiting
        loop, thread = self._reader
        if thread == threading.get_ident():
            self._changed.set()
        elif not self._told:
            self._told = True
            with suppress(RuntimeError):  # the reader's loop is closed
                loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._told = False
        self._changed.set()
