"""What all clients share: the avatars with their engines, the places, and the stop signal."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from daetalker.models.bundle import (
    AvatarBundle,
    BundleError,
    Manifest,
    find_avatar,
    list_avatars,
    load_bundle,
)
from daetalker.streamer.clock import Clock, MonotonicClock
from daetalker.streamer.engine import AsyncEngine, Engine
from daetalker.streamer.preview import encode_png, idle_frame
from daetalker.streamer.profile import PROFILES, Profile
from daetalker.streamer.protocol import AvatarInfo, PoseRange, PresetInfo, ProtocolError
from daetalker.streamer.session import Session
from daetalker.streamer.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Avatar:
    """A loaded avatar.

    Attributes:
        preview_png: the avatar at rest.
        timings_ms: median time of each network at warm-up, in milliseconds.
    """

    bundle: AvatarBundle
    engine: AsyncEngine
    provider: str
    preview_png: bytes
    timings_ms: dict[str, float]


class Hub:
    """Shared state of one server.  All methods are for the event loop's thread."""

    def __init__(
        self,
        settings: Settings,
        *,
        open_avatar: Callable[[Path, int], Avatar] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.profile = profile_of(settings)
        self.stopping = asyncio.Event()
        self._open_avatar = open_avatar or load_avatar
        self._clock = clock or MonotonicClock()
        self._folders: dict[str, Path] = {}
        self._manifests: dict[str, Manifest] = {}
        self._avatars: dict[str, Avatar] = {}
        self._opening = asyncio.Lock()
        self._default = ""
        self._seats = 0
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(self) -> Avatar:
        """Open the avatar of the settings and warm it up.

        Raises:
            BundleError: if it is missing or damaged.
            EngineError: if its networks cannot be run.
        """
        folder = find_avatar(self.settings.avatar)
        avatar = await asyncio.to_thread(self._open_avatar, folder, self.settings.threads)
        others = await asyncio.to_thread(_sound_bundles)
        for path, manifest in [*others, (folder, avatar.bundle.manifest)]:
            self._folders[manifest.name] = path
            self._manifests[manifest.name] = manifest
        self._default = avatar.bundle.manifest.name
        self._avatars[self._default] = avatar
        return avatar

    @property
    def default_avatar(self) -> str:
        """Name of the avatar that clients get if they ask for none; empty before ``start``."""
        return self._default

    @property
    def avatar_names(self) -> list[str]:
        """Names that clients may ask for."""
        return sorted(self._folders)

    @property
    def sessions(self) -> int:
        """Places taken."""
        return self._seats

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

    def manifests(self) -> list[Manifest]:
        """Manifests of the avatars that clients may ask for."""
        return [self._manifests[name] for name in self.avatar_names]

    @contextmanager
    def seat(self) -> Iterator[str]:
        """Take one of the places; yields the session's id.

        Raises:
            ProtocolError: ``server_full``.
        """
        if self._seats >= self.settings.max_clients:
            count = self.settings.max_clients
            places = "The only place is" if count == 1 else f"All {count} places are"
            raise ProtocolError("server_full", f"{places} taken; try again in a while.")
        self._seats += 1
        self._empty.clear()
        try:
            yield secrets.token_hex(4)
        finally:
            self._seats -= 1
            if not self._seats:
                self._empty.set()

    def open_session(self, avatar: Avatar, session_id: str) -> Session:
        """A new session of that avatar; the caller runs and closes it."""
        return Session(
            avatar.bundle, avatar.engine, self._clock, profile=self.profile, session_id=session_id
        )

    async def stop(self, timeout_s: float = 3.0) -> None:
        """Tell every conversation to end, wait for them, then free the engines."""
        self.stopping.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            logger.warning("%d sessions did not end within %.0f s", self._seats, timeout_s)
        avatars, self._avatars = list(self._avatars.values()), {}
        for avatar in avatars:
            await avatar.engine.close()


def load_avatar(folder: Path, threads: int) -> Avatar:
    """Verify a bundle, open and warm up its networks.  Takes seconds; not for the event loop."""
    bundle = load_bundle(folder)
    engine = Engine(bundle, threads=threads)
    timings_ms = engine.warm_up()
    picture = encode_png(idle_frame(engine))
    return Avatar(bundle, AsyncEngine(engine), engine.provider, picture, timings_ms)


def _sound_bundles() -> list[tuple[Path, Manifest]]:
    found = []
    for folder in list_avatars():
        try:
            manifest = load_bundle(folder).manifest
            if manifest.name != folder.name:  # clients would get another avatar than they name
                raise BundleError(f"it calls itself '{manifest.name}'; rename the folder")
            found.append((folder, manifest))
        except BundleError as error:
            logger.warning("avatar %s is left out: %s", folder.name, error)
    return found


def profile_of(settings: Settings) -> Profile:
    """The profile that the settings ask for."""
    profile = PROFILES[settings.profile]
    if settings.allowance_ms is not None:
        profile = replace(profile, allowance_s=settings.allowance_ms / 1000)
    return profile


def avatar_info(manifest: Manifest) -> AvatarInfo:
    """What clients are told of an avatar."""
    limits = {axis: list(limit) for axis, limit in manifest.pose_range_deg.items()}
    return AvatarInfo(
        name=manifest.name,
        label=manifest.label,
        size=manifest.size,
        fps=manifest.fps,
        synthetic=manifest.synthetic,
        pose_range=PoseRange(**limits),
        presets=[
            PresetInfo(name=p.name, label=p.label, yaw=p.yaw, pitch=p.pitch, roll=p.roll)
            for p in manifest.presets
        ],
    )
