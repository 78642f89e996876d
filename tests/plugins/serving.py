"""A real server with plugins, inside the test's own event loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from daetalker.streamer.page import Asset
from daetalker.streamer.plugin import Plugin
from tests.streamer.serving import PATIENCE_S, Running, running, settings_for

__all__ = ["PATIENCE_S", "Running", "served"]


@contextlib.asynccontextmanager
async def served(
    bundle: Path,
    plugins: Sequence[type[Plugin]],
    own: dict[str, dict[str, Any]] | None = None,
    page: dict[str, Asset] | None = None,
    limits: dict[str, float] | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Serve an avatar with these plugins, found without entry points.

    Args:
        own: the plugins' own settings by name, as the tables ``[plugin.NAME]``.
        settings: further settings of the server.
    """
    kinds = {kind.name: kind for kind in plugins}
    find: Callable[[str], type[Plugin]] = kinds.__getitem__
    values = {"plugins": tuple(kinds), "plugin": own or {}, **settings}
    async with running(settings_for(bundle, **values), find, page, **(limits or {})) as server:
        yield server
