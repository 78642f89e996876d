"""Loading: an avatar with its networks opened and warmed up, and which avatars there are."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from daetalker.models.bundle import (
    AvatarBundle,
    BundleError,
    Manifest,
    list_avatars,
    load_bundle,
)
from daetalker.streamer.async_engine import AsyncEngine
from daetalker.streamer.engine import Engine
from daetalker.streamer.mark import UNMARKED, Mark
from daetalker.streamer.preview import encode_png, idle_frame

__all__ = ["Avatar", "load_avatar", "sound_bundles"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Avatar:
    """A loaded avatar.

    Attributes:
        preview_png: the avatar at rest.
        timings_ms: median time of each network at warm-up on one thread, in milliseconds.
    """

    bundle: AvatarBundle
    engine: AsyncEngine
    provider: str
    preview_png: bytes
    timings_ms: dict[str, float]


def load_avatar(folder: Path, threads: int, mark: Mark = UNMARKED) -> Avatar:
    """Verify a bundle, open and warm up its networks.  Takes seconds; not for the event loop."""
    bundle = load_bundle(folder)
    narrow = Engine(bundle, threads=1)
    timings_ms = narrow.warm_up()
    engine = narrow
    if threads > 1:
        engine = Engine(bundle, threads=threads)
        engine.warm_up(rounds=1)
    picture = encode_png(mark.on(idle_frame(narrow)))
    shared = AsyncEngine(engine, narrow=narrow, workers=threads, timings_ms=timings_ms)
    return Avatar(bundle, shared, engine.provider, picture, timings_ms)


def sound_bundles() -> list[tuple[Path, Manifest]]:
    """The imported avatars that can be used; what is wrong with the others is logged."""
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
