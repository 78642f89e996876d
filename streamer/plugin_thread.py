"""One plugin's thread: its event loop, its tasks, its calls counted."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal, TypeVar

from starlette.applications import Starlette
from starlette.types import ASGIApp

from daetalker.streamer.describe import avatar_info
from daetalker.streamer.hub import Hub
from daetalker.streamer.line import RateLimit
from daetalker.streamer.live_session import LiveSession
from daetalker.streamer.plugin import STOP_S, Plugin, PluginError, PluginSettings
from daetalker.streamer.protocol import AvatarInfo

__all__ = ["PluginThread"]

CALLS_PER_S = 500.0
BURST = 1000.0

State = Literal["starting", "running", "removed", "stopped"]
_T = TypeVar("_T")


class PluginThread:
    """A plugin and the thread it lives in.

    The server's side (`begin`, `ask`, `remove`, ...) belongs to the server's loop, what is marked
    so to the plugin's.
    """

    def __init__(
        self, name: str, kind: type[Plugin], settings: PluginSettings, hub: Hub, server_url: str
    ) -> None:
        self.name = name
        self.state: State = "starting"
        self.reason = ""
        self.app: ASGIApp | None = None
        self.script: bytes | None = None
        self.gone = asyncio.Event()
        self.out = asyncio.Event()
        """Set once nothing more may be expected of the plugin."""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.log = logging.getLogger(f"daetalker.plugin.{name}")
        self._kind = kind
        self._settings = settings
        self._hub = hub
        self._server = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = self._server.create_future()
        self._calls = RateLimit(CALLS_PER_S, time.monotonic, BURST)
        self._counting = threading.Lock()
        self._host = _Host(self, hub, self._server, server_url, self.log)
        self._opened: list[LiveSession] = []
        self._closing: set[asyncio.Future[None]] = set()
        self._asked_s: float | None = None
        self._thread = threading.Thread(target=self._main, name=f"plugin {name}", daemon=True)
        # These belong to the plugin's loop.
        self._leaving: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._plugin: Plugin | None = None

    # The server's side.

    def begin(self) -> None:
        """Start the thread; `started` tells how it went."""
        self._thread.start()

    def ask(self, now_s: float) -> None:
        """Ask the loop whether it is alive, unless it still owes the last answer."""
        if self._asked_s is None and self._post(self._answer):
            self._asked_s = now_s

    def silent_s(self) -> float:
        """How long the loop has owed an answer."""
        return 0.0 if self._asked_s is None else time.monotonic() - self._asked_s

    def session_began(self, live: LiveSession) -> None:
        """Let the plugin have a session."""
        if self.state == "running":
            self._post(self._begin_session, live.limited(self.admit))

    def remove(self, reason: str) -> None:
        """Throw the plugin out: report it once, end its tasks, close what it opened."""
        if self.state not in ("starting", "running"):
            return
        self.state, self.reason = "removed", reason
        self.out.set()
        logging.getLogger(__name__).error("plugin '%s' was removed: %s", self.name, reason)
        if not self.started.done():
            self.started.set_result(None)
        self._end()

    def leave(self) -> None:
        """Ask the plugin to stop, as the server stops."""
        if self.state == "running":
            self.state = "stopped"
        self._end()

    def let_go(self) -> None:
        """The server will not wait any longer; a thread that blocks dies with the process."""
        if not self.gone.is_set():
            self.break_off()

    def break_off(self) -> None:
        """Raise SystemExit in the thread: ends a loop of Python code that never awaits."""
        ident = self._thread.ident
        if ident is not None and self._thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(ident), ctypes.py_object(SystemExit)
            )
            self._post(lambda: None)  # it is raised when the thread next runs Python

    def opened(self, live: LiveSession) -> None:
        """Note a session that the plugin opened, which must not outlive it."""
        self._opened.append(live)

    def _end(self) -> None:
        self._post(self._leave)
        opened, self._opened = self._opened, []
        for live in opened:
            closing = asyncio.ensure_future(live.close())
            self._closing.add(closing)  # the loop itself keeps weak references only
            closing.add_done_callback(self._closing.discard)

    def _post(self, callback: Callable[..., None], *arguments: Any) -> bool:
        if self.loop is None:
            return False
        try:
            self.loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop is closed
            return False
        return True

    # Any thread.

    def admit(self) -> None:
        """Count a call of the plugin's.

        Raises:
            PluginError: if there are too many of them, or the plugin was removed.
        """
        if self.state == "removed":
            raise PluginError(f"plugin '{self.name}' was removed: {self.reason}")
        with self._counting:
            allowed = self._calls.take()
        if not allowed:
            reason = f"it made more than {CALLS_PER_S:.0f} calls a second"
            with suppress(RuntimeError):
                self._server.call_soon_threadsafe(self.remove, reason)
            raise PluginError(reason)

    # The plugin's side.

    def _main(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # SystemExit is how a thread is broken off
            self._tell(self.remove, f"its thread ended: {error!r}")
        finally:
            self._tell(self.out.set)
            self._tell(self.gone.set)

    async def _live(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._leaving = asyncio.Event()
        try:
            plugin = self._plugin = self._kind(self._host, self._settings)
            if not await self._start(plugin, self._leaving):
                return
            routes = list(plugin.routes())
            self.app = Starlette(routes=routes) if routes else None
            script = plugin.page_script()
            self.script = None if script is None else script.read_bytes()
        except PluginError as error:
            self._tell(_set_exception, self.started, error)
            return
        except Exception as error:
            self.log.exception("start() failed")
            self._tell(self.remove, f"start() raised {error!r}")
            return
        self._tell(self._is_up)
        self._keep(plugin.run(), "run()")
        await self._leaving.wait()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        try:
            async with asyncio.timeout(STOP_S):
                await plugin.stop()
        except TimeoutError:
            self.log.warning("stop() took longer than %.0f s", STOP_S)
        except Exception:
            self.log.exception("stop() failed")

    async def _start(self, plugin: Plugin, leaving: asyncio.Event) -> bool:
        """Start the plugin; False if it must leave before that is done."""
        starting = asyncio.ensure_future(plugin.start())
        thrown_out = asyncio.ensure_future(leaving.wait())
        await asyncio.wait({starting, thrown_out}, return_when=asyncio.FIRST_COMPLETED)
        thrown_out.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting}, timeout=STOP_S)
            return False
        starting.result()
        return True

    def _is_up(self) -> None:
        if self.state == "starting":
            self.state = "running"
            for live in self._hub.live_sessions():
                self.session_began(live)
        if not self.started.done():
            self.started.set_result(None)

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> None:
        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled() or (error := task.exception()) is None:
                return
            # Whether it was removed for another reason meanwhile is for the server to say.
            self.log.debug("%s failed", name, exc_info=error)
            self._tell(self.remove, f"{name} raised {error!r}")

        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(done)

    def _begin_session(self, session: LiveSession) -> None:
        if self._leaving is not None and not self._leaving.is_set():
            self._keep(self._one_session(session), "session()")

    async def _one_session(self, session: LiveSession) -> None:
        assert self._plugin is not None
        work = asyncio.ensure_future(self._plugin.session(session))
        end = asyncio.ensure_future(session.ended())
        try:
            await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await asyncio.wait({work}, timeout=STOP_S)
        finally:
            end.cancel()
            work.cancel()
        with suppress(asyncio.CancelledError):
            await work

    def _answer(self) -> None:
        self._tell(self._answered)

    def _answered(self) -> None:
        self._asked_s = None

    def _leave(self) -> None:
        if self._leaving is not None:
            self._leaving.set()

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the server's loop is closed
            self._server.call_soon_threadsafe(callback, *arguments)


class _Host:
    """See `plugin.Host`."""

    def __init__(
        self,
        thread: PluginThread,
        hub: Hub,
        server: asyncio.AbstractEventLoop,
        server_url: str,
        log: logging.Logger,
    ) -> None:
        self.log = log
        self.server_url = server_url
        self._thread = thread
        self._hub = hub
        self._server = server

    async def sessions(self) -> list[LiveSession]:
        async def ask() -> list[LiveSession]:
            return self._hub.live_sessions()

        return [live.limited(self._thread.admit) for live in await self._there(ask)]

    async def find(self, which: str = "latest") -> LiveSession:
        async def ask() -> LiveSession:
            return self._hub.find_session(which)

        return (await self._there(ask)).limited(self._thread.admit)

    async def avatars(self) -> list[AvatarInfo]:
        async def ask() -> list[AvatarInfo]:
            return [avatar_info(m, self._hub.presets) for m in self._hub.manifests()]

        return await self._there(ask)

    async def open_session(self, avatar: str | None = None) -> LiveSession:
        async def ask() -> LiveSession:
            live = await self._hub.open_session(avatar)
            self._thread.opened(live)
            return live

        return (await self._there(ask)).limited(self._thread.admit)

    async def _there(self, job: Callable[[], Awaitable[_T]]) -> _T:
        self._thread.admit()

        async def work() -> _T:
            return await job()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), self._server))


def _set_exception(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
