"""Places: who is being served, and whether there is room for one more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from daetalker.streamer.admission import Admission
from daetalker.streamer.job_times import JobTimes
from daetalker.streamer.protocol import ProtocolError

__all__ = ["Places", "ServerFull"]


class ServerFull(ProtocolError):
    """One more would break the others; ``detail`` has the figures, for the log."""

    def __init__(self, message: str, detail: str) -> None:
        super().__init__("server_full", message)
        self.detail = detail


class Places:
    """The seats of one server, and its watchers.  For the event loop's thread.

    Attributes:
        taken: seats taken.
        watchers: clients that watch somebody else's session.
    """

    def __init__(self, most: int | None, admission: Admission | None) -> None:
        """All free.

        Args:
            most: seats there are at most; None for any number.
            admission: decides by measurement; None lets everybody in.
        """
        self.taken = 0
        self.watchers = 0
        self._most = most
        self._admission = admission
        self._empty = asyncio.Event()
        self._empty.set()

    def check(self, engine: JobTimes, *, watches: bool = False) -> None:
        """See whether one more may come, with an avatar of that engine.

        Raises:
            ServerFull: if not.
        """
        if not watches and self._most is not None and self.taken >= self._most:
            only = "The only place is" if self._most == 1 else f"All {self._most} places are"
            raise ServerFull(
                f"{only} taken; try again in a while. The operator's setting max_clients says how "
                "many there are.",
                f"max_clients={self._most}",
            )
        if self._admission is None:
            return
        why = self._admission.refusal(engine, self.taken, self.watchers, watches=watches)
        if why:
            those = "the one who is" if self.taken == 1 else f"the {self.taken} who are"
            raise ServerFull(
                f"The server is full: one more would take frames from {those} here; try again in "
                "a while. The operator can stop other programs, take a faster computer or a "
                "smaller avatar, or let everybody in with --admission off.",
                why,
            )

    @contextmanager
    def seat(self, engine: JobTimes) -> Iterator[None]:
        """Take a seat.

        Raises:
            ServerFull: if there is none.
        """
        self.check(engine)
        self.taken += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.taken -= 1
            if not self.taken:
                self._empty.set()

    @contextmanager
    def watching(self, engine: JobTimes) -> Iterator[None]:
        """Be counted as a watcher.

        Raises:
            ServerFull: if the encoding would break the others.
        """
        self.check(engine, watches=True)
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1

    async def empty(self) -> None:
        """Wait until no seat is taken."""
        await self._empty.wait()
