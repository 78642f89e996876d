"""The camera as a plugin of the server: the newest session goes to the camera."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, ClassVar

from daetalker.plugins.camera.examine import examine
from daetalker.plugins.camera.settings import CameraSettings, open_pipeline
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.plugin import (
    Finding,
    Host,
    LiveSession,
    Plugin,
    PluginError,
    PluginSettings,
)

__all__ = ["CameraPlugin"]

_LOOK_S = 1.0


class CameraPlugin(Plugin):
    """Shows the newest session; when it ends the one before, when there is none the last picture.

    Its event loop only carries moments; the devices have threads of their own.
    """

    name = "camera"
    Settings: ClassVar[type[PluginSettings]] = CameraSettings

    def __init__(self, host: Host, settings: Any) -> None:
        super().__init__(host, settings)
        self._sessions: list[LiveSession] = []
        self._changed = asyncio.Event()
        self._devices = contextlib.ExitStack()
        self._pipeline = open_pipeline(settings, self.host.log.warning)

    async def start(self) -> None:
        """Open the devices.

        Raises:
            PluginError: if there is no virtual camera or no virtual microphone.
        """
        try:
            self._devices.enter_context(self._pipeline)
        except PluginError:
            raise
        except StreamerError as error:
            raise PluginError(str(error)) from None

    async def session(self, session: LiveSession) -> None:
        self._sessions.append(session)
        self._changed.set()
        try:
            await session.ended()
        finally:
            self._sessions.remove(session)
            self._changed.set()

    async def run(self) -> None:
        showing: asyncio.Task[None] | None = None
        shown: LiveSession | None = None
        try:
            while True:
                newest = self._sessions[-1] if self._sessions else None
                if newest is not shown:
                    await _end(showing)
                    shown = newest
                    showing = asyncio.create_task(self._show(newest)) if newest else None
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _LOOK_S)
                self._pipeline.check()
        finally:
            await _end(showing)

    async def stop(self) -> None:
        self._devices.close()

    async def _show(self, session: LiveSession) -> None:
        try:
            async with contextlib.aclosing(session.moments()) as moments:
                async for moment in moments:
                    self._pipeline.put(moment, session.id)
        except StreamerError as error:
            self.host.log.debug("session %s: %s", session.id, error)
        finally:
            self._pipeline.leave()

    @classmethod
    def examine(cls, settings: Any) -> list[Finding]:
        return examine(settings)


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
