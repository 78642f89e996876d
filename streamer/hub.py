"""What all clients share: the avatars with their engines, the places, and the stop signal."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from daetalker.models.bundle import (
    BundleError,
    Manifest,
    find_avatar,
)
from daetalker.streamer.admission import LOOK_S, Admission
from daetalker.streamer.async_engine import AsyncEngine
from daetalker.streamer.clock import Clock, MonotonicClock
from daetalker.streamer.errors import EngineError
from daetalker.streamer.ice import TurnFinder
from daetalker.streamer.live_session import LiveSession
from daetalker.streamer.loading import Avatar, load_avatar, sound_bundles
from daetalker.streamer.logs import in_session
from daetalker.streamer.machine import cores
from daetalker.streamer.mark import Mark
from daetalker.streamer.metrics import Metrics
from daetalker.streamer.places import Places, ServerFull
from daetalker.streamer.presets import PresetBook, PresetError, default_presets_path, watch
from daetalker.streamer.profile import PROFILES, Profile
from daetalker.streamer.protocol import ProtocolError
from daetalker.streamer.refusals import Refusals
from daetalker.streamer.session import Session
from daetalker.streamer.settings import Settings
from daetalker.streamer.steering import Steering

logger = logging.getLogger(__name__)


class Hub:
    """Shared state of one server.  All methods are for the event loop's thread."""

    def __init__(
        self,
        settings: Settings,
        *,
        open_avatar: Callable[[Path, int], Avatar] | None = None,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.refusals = Refusals(self.metrics)
        self.turn = TurnFinder()
        self.profile = profile_of(settings)
        self.stopping = asyncio.Event()
        self._mark = Mark(settings.mark, settings.mark_corner)
        self._open_avatar = open_avatar or partial(load_avatar, mark=self._mark)
        self._clock = clock or MonotonicClock()
        self._folders: dict[str, Path] = {}
        self._manifests: dict[str, Manifest] = {}
        self._avatars: dict[str, Avatar] = {}
        self._opening = asyncio.Lock()
        self._default = ""
        measured = settings.admission == "measured"
        self._admission = Admission(cores(), self.profile)
        self._places = Places(settings.max_clients, self._admission if measured else None)
        self.presets = PresetBook(settings.presets or default_presets_path())
        self._live: dict[str, LiveSession] = {}
        self._on_session: list[Callable[[LiveSession], None]] = []
        self._on_presets: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> Avatar:
        """Open the avatar of the settings and warm it up.

        Raises:
            BundleError: if it is missing or damaged.
            EngineError: if its networks cannot be run.
        """
        folder = find_avatar(self.settings.avatar)
        avatar = await asyncio.to_thread(self._open_avatar, folder, self.settings.threads)
        others = await asyncio.to_thread(sound_bundles)
        for path, manifest in [*others, (folder, avatar.bundle.manifest)]:
            self._folders[manifest.name] = path
            self._manifests[manifest.name] = manifest
        self._default = avatar.bundle.manifest.name
        self._avatars[self._default] = avatar
        self._warn_of_presets()
        self._spawn(watch(self.presets, self.presets_changed, _presets_broken), "presets")
        self._spawn(self._look(), "look at the load")
        return avatar

    @property
    def default_avatar(self) -> str:
        """Name of the avatar that clients get if they ask for none; empty before ``start``."""
        return self._default

    @property
    def engine(self) -> AsyncEngine:
        """The engine of that avatar, after ``start``."""
        return self._avatars[self._default].engine

    @property
    def avatar_names(self) -> list[str]:
        """Names that clients may ask for."""
        return sorted(self._folders)

    @property
    def sessions(self) -> int:
        """Places taken."""
        return self._places.taken

    def full(self) -> str:
        """Why one more client would be refused, a sentence; empty if there is room."""
        try:
            self._places.check(self._avatars[self._default].engine.times)
        except ServerFull as error:
            return error.message
        return ""

    async def avatar(self, name: str | None = None) -> Avatar:
        """An avatar by name, opened on first use.  Clients name avatars, never paths.

        Raises:
            ProtocolError: ``unknown_avatar``.
        """
        name = name or self._default
        if name not in self._folders:
            names = ", ".join(self.avatar_names)
            raise ProtocolError("unknown_avatar", f"There is no such avatar; there are: {names}.")
        async with self._opening:
            if name not in self._avatars:
                try:
                    self._avatars[name] = await asyncio.to_thread(
                        self._open_avatar, self._folders[name], self.settings.threads
                    )
                except BundleError as error:
                    logger.error("avatar %s cannot be opened: %s", name, error)
                    raise ProtocolError(
                        "unknown_avatar", f"The avatar '{name}' is damaged on the server."
                    ) from None
        return self._avatars[name]

    def presets_changed(self) -> None:
        """Tell everybody who shows presets."""
        self._warn_of_presets()
        for tell in list(self._on_presets):
            tell()

    @contextmanager
    def told_of_presets(self, tell: Callable[[], None]) -> Iterator[None]:
        """Have ``tell`` called at every change of the presets."""
        self._on_presets.append(tell)
        try:
            yield
        finally:
            self._on_presets.remove(tell)

    def on_session(self, tell: Callable[[LiveSession], None]) -> None:
        """Have ``tell`` called with every session that begins from now on."""
        self._on_session.append(tell)

    def live_sessions(self) -> list[LiveSession]:
        """The sessions that run, the newest last."""
        return list(self._live.values())

    def find_session(self, which: str) -> LiveSession:
        """A running session by its id, or the newest one for ``latest``.

        Raises:
            ProtocolError: ``unknown_session``.
        """
        if which == "latest" and self._live:
            return next(reversed(self._live.values()))
        if which in self._live:
            return self._live[which]
        text = "No session is running." if which == "latest" else "There is no such session."
        raise ProtocolError("unknown_session", text)

    def manifests(self) -> list[Manifest]:
        """Manifests of the avatars that clients may ask for, the server's own first."""
        names = sorted(self.avatar_names, key=lambda name: name != self._default)
        return [self._manifests[name] for name in names]

    @contextmanager
    def seat(self, avatar: Avatar, who: str, kind: Literal["talk", "program"]) -> Iterator[str]:
        """Take a place with an avatar; yields the session's id.

        Args:
            who: the client's address, or the program.

        Raises:
            ProtocolError: ``server_full``.
        """
        with self._counted(self._places.seat(avatar.engine.times), who, kind):
            session_id = secrets.token_hex(8)
            with in_session(session_id):
                yield session_id

    @contextmanager
    def watching(self, live: LiveSession, who: str) -> Iterator[None]:
        """Be counted as one who watches a session: it takes no place, but its encoding costs.

        Raises:
            ProtocolError: ``server_full``.
        """
        engine = self._avatars[live.avatar.name].engine.times
        with self._counted(self._places.watching(engine), who, "watch"), in_session(live.id):
            yield

    @contextmanager
    def _counted(self, place: AbstractContextManager[None], who: str, kind: str) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(place)
            except ServerFull as error:
                self.refusals.note(error.code, who, error.detail)
                raise
            self.metrics.session("opened", kind)
            stack.callback(self.metrics.session, "closed", kind)
            yield

    def new_session(self, avatar: Avatar, session_id: str) -> Session:
        """A new session of that avatar; the caller runs and closes it."""
        return Session(
            avatar.bundle,
            avatar.engine,
            self._clock,
            profile=self.profile,
            session_id=session_id,
            mark=self._mark,
            metrics=self.metrics,
        )

    def handle(
        self, session: Session, close: Callable[[], Awaitable[None]] | None = None
    ) -> LiveSession:
        """A session as programs hold it; ``close`` ends it, if there is more to it than that."""
        steering = Steering(session, self.presets, self.settings.voice_folder)
        return LiveSession(session, self.presets, steering, close or session.close)

    async def run_session(self, session: Session, live: LiveSession) -> None:
        """Run a session to its end; meanwhile it can be found, and whoever wants to know is told.

        Raises:
            EngineError: if a network fails.
        """
        self._live[session.session_id] = live
        for tell in self._on_session:
            tell(live)
        try:
            await session.run()
        finally:
            del self._live[session.session_id]

    async def open_session(self, name: str | None = None) -> LiveSession:
        """A session without a microphone, which runs until it is closed.  It takes a place.

        Raises:
            ProtocolError: ``unknown_avatar`` or ``server_full``.
        """
        avatar = await self.avatar(name)
        ready: asyncio.Future[LiveSession] = asyncio.get_running_loop().create_future()
        self._spawn(self._run_alone(avatar, ready), "session without a microphone")
        return await ready

    async def _run_alone(self, avatar: Avatar, ready: asyncio.Future[LiveSession]) -> None:
        gone = asyncio.Event()
        try:
            with self.seat(avatar, "a program", "program") as session_id:
                session = self.new_session(avatar, session_id)

                async def close() -> None:
                    await session.close()
                    await gone.wait()

                live = self.handle(session, close)
                ready.set_result(live)
                logger.info("session %s: %s, for a program", session_id, live.avatar.name)
                await self.run_session(session, live)
                logger.info("session %s: ended", session_id)
        except ProtocolError as error:
            ready.set_exception(error)
        except EngineError as error:
            logger.error("the engine failed: %s", error)
        finally:
            gone.set()
            ready.cancel()

    async def _look(self) -> None:
        """Measure what the sessions cost, for as long as the server runs."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            engines = [avatar.engine.times for avatar in self._avatars.values()]
            loads = [live.session.stats().load for live in self._live.values()]
            self._admission.look(
                engines,
                len(loads) + self._places.watchers,
                troubled=any(load != "ok" for load in loads),
                lag_s=loop.time() - due_s,
            )
            self.metrics.load(self._admission.load(max(engine.workers for engine in engines)))

    def _warn_of_presets(self) -> None:
        try:
            self.presets.check(self._manifests[self._default])
        except PresetError as error:  # it may be meant for another avatar
            logger.warning("%s; it is left out", error)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"hub {name}")
        self._tasks.add(task)  # the loop itself keeps weak references only
        task.add_done_callback(self._tasks.discard)

    async def stop(self, timeout_s: float = 3.0) -> None:
        """Tell every conversation to end, wait for them, then free the engines."""
        self.stopping.set()
        for task in list(self._tasks):
            task.cancel()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self._places.empty()
        except TimeoutError:
            logger.warning("%d sessions did not end within %.0f s", self.sessions, timeout_s)
        avatars, self._avatars = list(self._avatars.values()), {}
        await asyncio.gather(*(avatar.engine.close() for avatar in avatars))
        self.refusals.flush()


def _presets_broken(error: PresetError) -> None:
    logger.error("%s; the presets stay as they were", error)


def profile_of(settings: Settings) -> Profile:
    """The profile that the settings ask for."""
    profile = PROFILES[settings.profile]
    if settings.allowance_ms is not None:
        profile = replace(profile, allowance_s=settings.allowance_ms / 1000)
    return profile
