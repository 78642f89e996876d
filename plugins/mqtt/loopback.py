"""LocalBroker: a real mosquitto on this machine alone, for measurements and tests."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from daetalker.streamer.errors import StreamerError

__all__ = ["BrokerError", "LocalBroker", "find_mosquitto"]

_READY_S = 15.0
_FALLBACKS = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto")


class BrokerError(StreamerError):
    """There is no mosquitto, or it does not start."""


def find_mosquitto() -> str:
    """The program; Debian puts it where only root looks.

    Raises:
        BrokerError: saying how to install it.
    """
    for place in ("mosquitto", *_FALLBACKS):
        if found := shutil.which(place):
            return found
    raise BrokerError("mosquitto is not installed: sudo apt-get install mosquitto")


class LocalBroker:
    """Start and stop it as often as you like; its port stays the same, its memory does not."""

    def __init__(self, folder: Path, lines: Iterable[str] = ("allow_anonymous true",)) -> None:
        """A broker that does not run yet.

        Args:
            folder: for its configuration file.
            lines: of the configuration, beyond the listener's.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._config = folder / f"mosquitto-{self.port}.conf"
        # `user root` matters to root alone: mosquitto would become another user, who may not
        # read a temporary folder.
        text = [f"listener {self.port} 127.0.0.1", "persistence false", "user root", *lines]
        self._config.write_text("\n".join(text) + "\n")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Run it, and wait until it takes connections.

        Raises:
            BrokerError: with its own last words, if it ends instead.
        """
        log = self._config.with_suffix(".log")
        with log.open("wb") as said:
            self._process = process = await asyncio.create_subprocess_exec(
                find_mosquitto(),
                *("-c", str(self._config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=said,
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_S):
                while process.returncode is None:
                    with contextlib.suppress(OSError):
                        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                        writer.close()
                        await writer.wait_closed()
                        return
                    await asyncio.sleep(0.02)
        await self.stop()
        words = log.read_text(errors="replace").strip().splitlines() or ["no word"]
        raise BrokerError(f"mosquitto does not start: {words[-1]}")

    def hang(self) -> None:
        """Let it stop answering, with its connections open."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """The end of `hang`."""
        self._signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Kill it, if it runs; what it retained is lost."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, folder: Path, lines: Iterable[str] = ("allow_anonymous true",)
    ) -> AsyncIterator[LocalBroker]:
        """A broker that runs until the block ends."""
        broker = cls(folder, lines)
        await broker.start()
        try:
            yield broker
        finally:
            await broker.stop()
