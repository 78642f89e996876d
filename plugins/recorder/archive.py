"""The recordings of one server: those that run, those that ended, and their files."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from daetalker.plugins.recorder.mp4 import RecorderError
from daetalker.plugins.recorder.recording import Limits, Recording
from daetalker.streamer.credentials import Credentials
from daetalker.streamer.live_session import LiveSession

__all__ = ["Archive", "Busy", "Entry"]

_OURS = re.compile(r"daetalker-[A-Za-z0-9_-]+-\d{8}-\d{6}-[0-9a-f]{16}\.mp4")
_REMEMBERED = 1000


class Busy(RecorderError):
    """One session, one recording at a time."""


@dataclass(frozen=True)
class Entry:
    """A recording and whose it is."""

    id: str
    session_id: str
    recording: Recording

    @property
    def running(self) -> bool:
        """True until the file is closed."""
        return self.recording.state in ("recording", "finishing")

    def report(self) -> dict[str, object]:
        """As clients are told it."""
        recording = self.recording
        return {
            "id": self.id,
            "session": self.session_id,
            "file": recording.path.name,
            "state": recording.state,
            "seconds": round(recording.seconds, 2),
            "bytes": recording.bytes,
            "held": recording.held,
            "signed": recording.signed,
            "reason": recording.reason,
        }


class Archive:
    """For the plugin's event loop; `run` must be running."""

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        keep: int,
        log: logging.Logger,
        credentials: Credentials | None = None,
    ) -> None:
        """No recording yet.

        Args:
            keep: files that may be in the folder, the new one included; 0 for any number.
            credentials: sign every finished file.
        """
        self._folder = folder
        self._limits = limits
        self._keep = keep
        self._log = log
        self._credentials = credentials
        self._entries: dict[str, Entry] = {}
        self._group: asyncio.TaskGroup | None = None
        self._up = asyncio.Event()

    async def run(self) -> None:
        """Hold the recordings' tasks until cancelled, which ends the recordings."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._up.set()
            await asyncio.Event().wait()

    async def begin(self, session: LiveSession) -> Entry:
        """Record a session.

        Raises:
            Busy: if it is being recorded already.
            RecorderError: if the file cannot be opened.
        """
        await self._up.wait()
        assert self._group is not None
        if any(entry.running and entry.session_id == session.id for entry in self.all()):
            raise Busy("This session is being recorded already.")
        number = secrets.token_hex(8)
        name = f"daetalker-{session.avatar.name}-{time.strftime('%Y%m%d-%H%M%S')}-{number}.mp4"
        recording = Recording(session, self._folder / name, self._limits, self._credentials)
        entry = Entry(number, session.id, recording)
        self._entries[number] = entry  # before anything is awaited: there is one a session
        try:
            await asyncio.to_thread(self._make_room)
            self._group.create_task(self._run(entry), name=f"recording {number}")
            await entry.recording.begun()
        except BaseException:
            self._entries.pop(number, None)
            raise
        return entry

    def all(self) -> list[Entry]:
        """All recordings since the server started, the oldest first."""
        return list(self._entries.values())

    def find(self, number: str) -> Entry | None:
        """One of them."""
        return self._entries.get(number)

    async def delete(self, entry: Entry) -> None:
        """Delete the file of a recording that has ended, and forget it."""
        del self._entries[entry.id]
        await asyncio.to_thread(entry.recording.path.unlink, missing_ok=True)

    async def _run(self, entry: Entry) -> None:
        recording = entry.recording
        self._log.info("recording session %s into %s", entry.session_id, recording.path)
        try:
            await recording.run()
        finally:
            tell = self._log.warning if recording.state == "failed" else self._log.info
            tell("%s: %.1f s, %s", recording.path.name, recording.seconds, recording.reason)
            if recording.unsigned_because:
                self._log.warning("not signed: %s", recording.unsigned_because)
            while len(self._entries) > _REMEMBERED:
                del self._entries[next(iter(self._entries))]

    def _make_room(self) -> None:
        """Make the folder, and delete the oldest of our files if there are too many."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not self._keep:
                return
            running = {entry.recording.path.name for entry in self.all() if entry.running}
            ours = [
                path
                for path in self._folder.iterdir()
                if _OURS.fullmatch(path.name) and path.name not in running
            ]
            ours.sort(key=lambda path: path.stat().st_mtime, reverse=True)
            for path in ours[max(0, self._keep - len(running)) :]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise RecorderError(
                f"recordings cannot go to {self._folder}: {error.strerror}"
            ) from error
