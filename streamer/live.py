"""An avatar inside your own program: no server, no browser.

::

    async with open_avatar("mira") as avatar, avatar.session() as session:
        await session.speak(pcm, rate=24_000)
        await session.end_utterance()
        async for moment in session.moments():
            ...  # 25 a second: moment.rgb, moment.pcm
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from daetalker.streamer.describe import avatar_info
from daetalker.streamer.feed import Playback
from daetalker.streamer.hub import Hub
from daetalker.streamer.live_session import LiveSession, Spoken
from daetalker.streamer.pairing import Moment
from daetalker.streamer.protocol import AvatarInfo
from daetalker.streamer.settings import load_settings

__all__ = ["LiveAvatar", "LiveSession", "Moment", "Playback", "Spoken", "open_avatar"]


class LiveAvatar:
    """A loaded avatar; its engine serves all of its sessions."""

    def __init__(self, hub: Hub, info: AvatarInfo) -> None:
        self.hub = hub
        self.info = info

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[LiveSession]:
        """A session, alive until the block ends.

        Raises:
            ProtocolError: ``server_full`` beyond ``max_clients`` sessions at once.
        """
        session = await self.hub.open_session()
        try:
            yield session
        finally:
            await session.close()


@contextlib.asynccontextmanager
async def open_avatar(
    avatar: str = "mira",
    *,
    profile: str = "default",
    threads: int = 2,
    presets: Path | None = None,
    max_sessions: int = 4,
) -> AsyncIterator[LiveAvatar]:
    """Load an avatar and warm its engine up; takes a second or two.

    What is not given here comes from the environment and ``daetalker.toml``, as for the server.

    Args:
        avatar: a name, or the folder of a bundle.
        profile: ``default`` or ``low_latency``.
        threads: processor threads that a network may use.
        presets: TOML file of your own poses; None for the usual place.

    Raises:
        BundleError: if the avatar is missing or damaged.
        EngineError: if its networks cannot be run.
        SettingsError: if an argument is out of range.
        PresetError: if the file of presets is wrong.
    """
    values = {"avatar": avatar, "profile": profile, "threads": threads, "max_clients": max_sessions}
    values["admission"] = "off"  # the program that opens sessions knows how many it wants
    if presets is not None:
        values["presets"] = presets
    hub = Hub(load_settings(values))
    loaded = await hub.start()
    try:
        yield LiveAvatar(hub, avatar_info(loaded.bundle.manifest, hub.presets))
    finally:
        await hub.stop()
