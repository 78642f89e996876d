"""A recording: from a session's outlet to a file, until somebody or something ends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from daetalker.plugins.recorder.encoder import Encoder
from daetalker.plugins.recorder.mp4 import RecorderError
from daetalker.plugins.recorder.shots import Shot, shots
from daetalker.streamer.credentials import Credentials
from daetalker.streamer.errors import SessionClosed, StreamerError
from daetalker.streamer.live_session import LiveSession
from daetalker.streamer.media import FPS, VOICE_PER_FRAME
from daetalker.streamer.outlet import Outlet
from daetalker.streamer.provenance import Provenance

__all__ = ["Limits", "Recording", "Summary", "record"]

OUTLET_FRAMES = 2 * FPS
"""Frames kept while this loop is busy with something else; the voice is kept as long."""

MAX_GAP_FRAMES = 10 * FPS
"""A longer gap is no hiccup: the recording ends."""

FINISH_TIMEOUT_S = 30.0
State = Literal["recording", "finishing", "done", "failed"]


@dataclass(frozen=True)
class Limits:
    """When a recording ends by itself, and how it is written.

    Attributes:
        max_minutes: length.
        max_mb: size of the file in millions of bytes.
        crf: H.264 quality, 0 best to 51 worst.
        plain: True to turn the finished file into an ordinary MP4; a crash leaves a fragmented
            one, which plays as well.
    """

    max_minutes: float = 60.0
    max_mb: float = 2000.0
    crf: int = 20
    plain: bool = True


@dataclass(frozen=True)
class Summary:
    """What became of a recording.

    Attributes:
        path: the file.
        seconds: its length.
        frames: pictures in it, 25 a second.
        held: those of them that repeat the one before, because the right one never came.
        bytes: size of the file.
        reason: why it ended.
        signed: True if the file carries content credentials.
        failed: True if it ended because something went wrong; what came before is in the file.
            There is no file if ``frames`` is 0.
    """

    path: Path
    seconds: float
    frames: int
    held: int
    bytes: int
    reason: str
    signed: bool
    failed: bool


class Recording:
    """Create, `run` as a task, `stop`.  For the event loop that runs it.

    Attributes:
        path: the file.
        held: pictures that repeat the one before.
        offered: pictures handed to the encoder.
        state: ``recording``, ``finishing``, ``done`` or ``failed``.
        reason: why it ended; empty before.
    """

    def __init__(
        self,
        session: LiveSession,
        path: Path,
        limits: Limits = Limits(),
        credentials: Credentials | None = None,
    ) -> None:
        """A recording that has not begun; ``credentials`` sign the file when it is finished.

        Raises:
            RecorderError: if the session's pictures cannot be encoded.
        """
        if session.size % 2:
            raise RecorderError(f"H.264 needs an even number of pixels, not {session.size}")
        self.path = path
        self.held = 0
        self.offered = 0
        self.state: State = "recording"
        self.reason = ""
        self._session = session
        self._limits = limits
        self._credentials = credentials
        self._encoder: Encoder | None = None
        self._outlet: Outlet | None = None
        self._stopping = asyncio.Event()
        self._quickly = False
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()

    @property
    def frames(self) -> int:
        """Pictures in the file so far."""
        return self._encoder.frames if self._encoder else 0

    @property
    def seconds(self) -> float:
        """Length of the file so far."""
        return self.frames / FPS

    @property
    def bytes(self) -> int:
        """Size of the file so far; it grows by whole seconds."""
        return self._encoder.bytes if self._encoder else 0

    @property
    def signed(self) -> bool:
        """Whether the file carries content credentials, which it can once it is finished."""
        return self._encoder is not None and self._encoder.signed

    @property
    def unsigned_because(self) -> str:
        """Why it could not be signed; empty if all is well."""
        return self._encoder.unsigned_because if self._encoder else ""

    async def begun(self) -> None:
        """Wait until the file is open.

        Raises:
            RecorderError: if it cannot be.
        """
        await asyncio.shield(self._begun)

    async def stop(self, *, quickly: bool = False) -> Summary:
        """End it, wait until the file is closed; may be called again.

        Args:
            quickly: leave the file fragmented.
        """
        self._quickly = self._quickly or quickly
        self._stopping.set()
        await self._over.wait()
        return self.summary()

    def summary(self) -> Summary:
        """How it stands."""
        return Summary(
            path=self.path,
            seconds=self.seconds,
            frames=self.frames,
            held=self.held,
            bytes=self.bytes,
            reason=self.reason,
            signed=self.signed,
            failed=self.state == "failed",
        )

    async def run(self) -> None:
        """Record until `stop`, the session's end, a limit or a failure; cancelling stops it too.

        Never raises for a recording that goes wrong: `state` and `reason` say so.
        """
        try:
            encoder = self._encoder = Encoder(
                self.path,
                self._session.size,
                crf=self._limits.crf,
                plain=self._limits.plain,
                about=Provenance(self._session.avatar.label),
                credentials=self._credentials,
            )
            try:
                await encoder.opened()
            except RecorderError as error:
                self._begun.set_exception(error)
                self._begun.exception()  # whoever does not ask has `reason`
                self.state, self.reason = "failed", str(error)
                return
            await self._record(encoder)
        finally:
            self._over.set()

    async def _record(self, encoder: Encoder) -> None:
        reader = asyncio.ensure_future(self._read(encoder))
        stopped = asyncio.ensure_future(self._stopping.wait())
        broken = asyncio.ensure_future(encoder.ended())
        failed = False
        try:
            await asyncio.wait([reader, stopped, broken], return_when=asyncio.FIRST_COMPLETED)
            if self._outlet is not None:
                self._outlet.close()  # what is in it is still read: the voice up to this moment
                failed, self.reason = await reader
            if self._stopping.is_set() and not failed:
                self.reason = "stopped"
        except asyncio.CancelledError:
            self.reason, self._quickly = "the program stopped", True
            raise
        finally:
            for task in (reader, stopped):
                task.cancel()
            self.state = "finishing"
            # Shielded: the file is closed properly even if this task is cancelled.
            problem = await asyncio.shield(
                encoder.finish(FINISH_TIMEOUT_S, plain=not self._quickly)
            )
            broken.cancel()
            if not problem and not encoder.frames:
                problem = f"there was no picture to record: {self.reason}"
            self.reason = problem or self.reason
            self.state = "failed" if problem or failed else "done"

    async def _read(self, encoder: Encoder) -> tuple[bool, str]:
        """Hand shots over until there is a reason to end: (something went wrong, what)."""
        before: Shot | None = None
        try:
            async with self._session.outlet(OUTLET_FRAMES) as outlet:
                self._outlet = outlet
                self._begun.set_result(None)
                async for shot in shots(outlet):
                    if not self._bridge(encoder, before, shot):
                        return True, "this computer was too busy: more than 10 s were missed"
                    if not encoder.offer(shot.rgb, shot.pcm):
                        return True, "this computer or its disk is too slow to record"
                    self.held += shot.held
                    self.offered += 1
                    before = shot
                    reason = self._limit(encoder)
                    if reason:
                        return False, reason
        except SessionClosed:
            pass
        except StreamerError as error:
            return True, str(error)
        finally:
            if not self._begun.done():
                self._begun.set_result(None)
        return False, "the session ended"

    def _bridge(self, encoder: Encoder, before: Shot | None, shot: Shot) -> bool:
        """Fill what this loop was too busy to see with the picture before and silence."""
        if before is None or shot.frame == before.frame + 1:
            return True
        missed = shot.frame - before.frame - 1
        if missed > MAX_GAP_FRAMES:
            return False
        silence = np.zeros(VOICE_PER_FRAME, np.int16)
        self.held += missed
        self.offered += missed
        return all(encoder.offer(before.rgb, silence) for _ in range(missed))

    def _limit(self, encoder: Encoder) -> str:
        if self.offered >= self._limits.max_minutes * 60 * FPS:
            return f"the limit of {self._limits.max_minutes:g} minutes was reached"
        if encoder.bytes >= self._limits.max_mb * 1e6:
            return f"the limit of {self._limits.max_mb:g} MB was reached"
        return ""


@contextlib.asynccontextmanager
async def record(
    session: LiveSession,
    path: Path | str,
    limits: Limits = Limits(),
    credentials: Credentials | None = None,
) -> AsyncIterator[Recording]:
    """Record what a session shows and says, as long as the block runs.

    ::

        async with record(session, "hello.mp4") as recording:
            await session.speak(pcm, 48_000)
            await (await session.end_utterance()).done()
            summary = await recording.stop()     # or just leave the block

    Args:
        session: it is not changed by being recorded.
        path: the file; one that is there is replaced.
        limits: when it ends by itself, and how it is written.
        credentials: sign the finished file; `find_credentials` gives some.

    Raises:
        RecorderError: if the file cannot be opened; at the end of the block, if the recording went
            wrong and `Recording.stop` was not called to learn of it.
    """
    recording = Recording(session, Path(path), limits, credentials)
    task = asyncio.create_task(recording.run(), name=f"record {path}")
    try:
        await recording.begun()
        yield recording
    finally:
        asked = recording._stopping.is_set()
        summary = await recording.stop()
        await task
    if summary.failed and not asked:
        raise RecorderError(f"the recording ended early: {summary.reason}")
