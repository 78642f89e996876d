"""The thread that encodes: neither a slow computer nor a slow disk holds up anybody else."""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daetalker.plugins.recorder.mp4 import FragmentedMp4, RecorderError, to_plain_mp4
from daetalker.streamer.credentials import Credentials, CredentialsError
from daetalker.streamer.media import FPS
from daetalker.streamer.provenance import UNNAMED, Provenance

__all__ = ["QUEUE_FRAMES", "Encoder"]

QUEUE_FRAMES = 4 * FPS
"""Frames that may wait: with 256 pixels square, 20 MB."""


class _Shot(NamedTuple):
    rgb: NDArray[np.uint8]
    pcm: NDArray[np.int16]


class Encoder:
    """One file and the thread that writes it.  For the event loop it was made in.

    The thread is a daemon: a disk that hangs for good must not keep the program from ending.

    Attributes:
        signed: True once the finished file carries content credentials.
        unsigned_because: why it could not be given any; empty if that was not tried.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        *,
        crf: int,
        plain: bool,
        about: Provenance = UNNAMED,
        credentials: Credentials | None = None,
    ) -> None:
        """Open the file in a thread of its own; wait for `opened`.

        Args:
            path: the file.
            size: side of the pictures in pixels.
            crf: H.264 quality, 0 best to 51 worst.
            plain: True to turn the finished file into an ordinary MP4.
            about: what the file says of itself.
            credentials: sign the finished file.
        """
        self.signed = False
        self.unsigned_because = ""
        self._about = about
        self._credentials = credentials
        self.frames = 0
        self.bytes = 0
        # Full: `offer` says so, and the recording ends; nothing waits for the disk.
        self._queue: queue.Queue[_Shot | None] = queue.Queue(QUEUE_FRAMES + 1)
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[str | None] = self._loop.create_future()
        self._plain = plain
        self._abandoned = False
        threading.Thread(
            target=self._work, args=(path, size, crf), name=f"record {path.name}", daemon=True
        ).start()

    async def opened(self) -> None:
        """Wait until the file is open.

        Raises:
            RecorderError: if it cannot be.
        """
        await self._opened

    async def ended(self) -> str | None:
        """Wait until the file is closed; what went wrong, or None."""
        return await asyncio.shield(self._ended)

    def offer(self, rgb: NDArray[np.uint8], pcm: NDArray[np.int16]) -> bool:
        """Hand over a picture ``[S, S, 3]`` and its voice ``[1920]``; False if too many wait."""
        if self._queue.qsize() >= QUEUE_FRAMES:
            return False
        self._queue.put_nowait(_Shot(rgb, pcm))
        return True

    async def finish(self, timeout_s: float, *, plain: bool = True) -> str | None:
        """Write what waits and close the file; what went wrong, or None.

        Args:
            timeout_s: time to wait; a disk that needs longer is left to itself.
            plain: False leaves the file fragmented whatever was wanted at first, to be quick.
        """
        self._plain = self._plain and plain
        self._queue.put_nowait(None)  # `offer` leaves a place for it
        try:
            async with asyncio.timeout(timeout_s):
                return await self.ended()
        except TimeoutError:
            self._abandoned = True
            return "the disk does not answer; what had reached it is kept"

    def _work(self, path: Path, size: int, crf: int) -> None:
        """The thread: open, take shots until there are no more, close."""
        try:
            movie = FragmentedMp4(path, size, crf=crf, about=self._about)
        except Exception as error:  # what is no RecorderError is a fault of ours; nobody may hang
            self._tell(self._opened, RecorderError(str(error)))
            self._tell(self._ended, str(error))
            return
        self._tell(self._opened, None)
        problem = None
        try:
            with movie:
                self._take_all(movie)
        except RecorderError as error:
            problem = str(error)
        except Exception as error:
            problem = f"the encoder failed: {error}"
        self.bytes = movie.bytes
        if path.is_file():  # and not a device
            self._tidy(path, problem is None)
        self._tell(self._ended, problem)

    def _tidy(self, path: Path, sound: bool) -> None:
        """Leave no empty file behind; make an ordinary one of a sound one, if wanted; sign it."""
        with suppress(OSError, RecorderError):  # no room for it: the fragmented file is as good
            if not self.frames or not self.bytes:
                self.bytes = 0
                path.unlink()
            elif self._plain and sound:
                to_plain_mp4(path, self._about)
        with suppress(OSError):
            if sound and self.bytes and self._credentials is not None:
                self._sign(path, self._credentials)
            if self.bytes:
                self.bytes = path.stat().st_size

    def _sign(self, path: Path, credentials: Credentials) -> None:
        """Last of all, because a signature is about every byte; without it the file is as good."""
        try:
            credentials.sign(path, self._about)
            self.signed = True
        except CredentialsError as error:
            self.unsigned_because = str(error)

    def _take_all(self, movie: FragmentedMp4) -> None:
        while not self._abandoned and (shot := self._queue.get()) is not None:
            movie.add(shot.rgb, shot.pcm)
            self.frames, self.bytes = movie.frames, movie.bytes

    def _tell(
        self, future: asyncio.Future[None] | asyncio.Future[str | None], what: object
    ) -> None:
        def settle() -> None:
            if future.done():
                return
            if isinstance(what, Exception):
                future.set_exception(what)
            else:
                future.set_result(what)  # type: ignore[arg-type]

        with suppress(RuntimeError):  # the loop is closed; nobody asks any more
            self._loop.call_soon_threadsafe(settle)
