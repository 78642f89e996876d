"""Plugin host: loads the plugins that the settings name, each into a thread of its own, and
throws out those that raise, hang or flood.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from starlette.routing import BaseRoute, Mount

from daetalker.streamer.hub import Hub
from daetalker.streamer.live_session import LiveSession
from daetalker.streamer.page import Asset, asset
from daetalker.streamer.plugin import START_S, STOP_S, Plugin, PluginError, find_plugin
from daetalker.streamer.plugin_bridge import Bridge
from daetalker.streamer.plugin_thread import PluginThread
from daetalker.streamer.protocol import PluginInfo
from daetalker.streamer.settings import plugin_settings

__all__ = ["PluginHost"]

logger = logging.getLogger(__name__)

HANG_S = 5.0
_LOOK_S = 0.5
_GRACE_S = 0.5


class PluginHost:
    """The plugins of one server.  For the event loop's thread of the server."""

    def __init__(
        self,
        hub: Hub,
        find: Callable[[str], type[Plugin]] = find_plugin,
        *,
        hang_s: float = HANG_S,
        start_s: float = START_S,
    ) -> None:
        """No plugin runs yet; ``find`` gives the class of a name.

        Args:
            hang_s: seconds without an answer after which a plugin is thrown out.
            start_s: seconds that a plugin may take to start.
        """
        self._hub = hub
        self._find = find
        self._hang_s = hang_s
        self._start_s = start_s
        self._threads: list[PluginThread] = []
        self._watching: asyncio.Task[None] | None = None

    async def start(self, server_url: str) -> None:
        """Load and start all plugins of the settings, side by side.

        Raises:
            PluginError: if one is not there, or refuses to start.
            SettingsError: if its settings are wrong.
        """
        settings = self._hub.settings
        for name in dict.fromkeys(settings.plugins):
            found = self._find(name)
            own = plugin_settings(found.Settings, name, settings.plugin.get(name, {}))
            self._threads.append(PluginThread(name, found, own, self._hub, server_url))
        for name in settings.plugin.keys() - set(settings.plugins):
            logger.warning("[plugin.%s] is set, but 'plugins' does not name it", name)
        self._hub.on_session(self._session_began)
        starting = [self._start(thread) for thread in self._threads]
        results = await asyncio.gather(*starting, return_exceptions=True)
        self._watching = asyncio.create_task(self._watch(), name="plugin watch")
        for thread, result in zip(self._threads, results, strict=True):
            if isinstance(result, BaseException):
                await self.stop()
                if isinstance(result, PluginError):
                    raise PluginError(f"plugin '{thread.name}': {result}") from None
                raise result

    async def stop(self) -> None:
        """Stop all plugins; those that do not answer are left behind."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await asyncio.gather(*(self._stop(thread) for thread in self._threads))

    def infos(self) -> list[PluginInfo]:
        """The plugins that run, as pages are told."""
        return [
            PluginInfo(
                name=thread.name,
                script=f"plugins/{thread.name}/page.js" if thread.script is not None else None,
            )
            for thread in self._threads
            if thread.state == "running"
        ]

    def report(self) -> list[dict[str, str]]:
        """Name, state and, where one was removed, the reason."""
        return [
            {"name": thread.name, "state": thread.state, "reason": thread.reason}
            for thread in self._threads
        ]

    def scripts(self) -> dict[str, Asset]:
        """The plugins' page scripts by URL path."""
        return {
            f"/plugins/{thread.name}/page.js": asset(thread.script, "text/javascript")
            for thread in self._threads
            if thread.script is not None
        }

    def routes(self) -> Iterable[BaseRoute]:
        """The plugins' own routes."""
        for thread in self._threads:
            if thread.app is not None:
                yield Mount(f"/plugins/{thread.name}", app=Bridge(thread))

    async def _start(self, thread: PluginThread) -> None:
        thread.begin()
        try:
            async with asyncio.timeout(self._start_s):
                await asyncio.shield(thread.started)
        except TimeoutError:
            thread.remove(f"start() took longer than {self._start_s:.0f} s")

    async def _stop(self, thread: PluginThread) -> None:
        thread.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * STOP_S + _GRACE_S):
                await thread.gone.wait()
        thread.let_go()

    def _session_began(self, live: LiveSession) -> None:
        for thread in self._threads:
            thread.session_began(live)

    async def _watch(self) -> None:
        """Throw out whoever's loop does not answer."""
        while True:
            await asyncio.sleep(min(_LOOK_S, self._hang_s / 4))
            for thread in self._threads:
                if thread.state == "running" and thread.silent_s() > self._hang_s:
                    thread.remove(
                        f"its event loop did not answer for {self._hang_s:.0f} s; something "
                        "in it blocks (use asyncio.to_thread)"
                    )
                    thread.break_off()
                thread.ask(time.monotonic())
