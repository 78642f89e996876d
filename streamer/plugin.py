"""What a plugin is: a class with a few methods, found by an entry point.

A plugin connects sessions with something else: a camera, a broker, a recorder, another program.
Each runs in a thread with an event loop of its own, so that whatever it does there, blocking
included, disturbs no session.  docs/plugins.md tells the story from the writer's side.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from importlib import metadata
from importlib.resources.abc import Traversable
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict
from starlette.routing import BaseRoute

from daetalker.streamer.errors import StreamerError
from daetalker.streamer.finding import Finding
from daetalker.streamer.live_session import LiveSession
from daetalker.streamer.protocol import AvatarInfo

__all__ = [
    "GROUP",
    "START_S",
    "STOP_S",
    "Finding",
    "Host",
    "LiveSession",
    "MissingExtra",
    "Plugin",
    "PluginError",
    "PluginSettings",
    "find_plugin",
    "plugin_names",
]

GROUP = "daetalker.plugins"
"""Entry point group: the name that settings use, and the plugin's class."""

START_S = 10.0
STOP_S = 2.0


class PluginError(StreamerError):
    """A plugin cannot do its work; the message is one sentence that says what to do."""


class MissingExtra(PluginError, ImportError):
    """A plugin's own dependency is not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f'{package} is not installed: pip install "daetalker[{extra}]"')


class PluginSettings(BaseModel):
    """A plugin's own settings: the table ``[plugin.NAME]``, or ``DAETALKER_NAME_FIELD``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Host(Protocol):
    """What a plugin may ask of the server.  For the plugin's own event loop.

    More than 500 calls a second of a host and its sessions, taken together, are a flood: the
    plugin is removed.
    """

    log: logging.Logger
    server_url: str

    async def sessions(self) -> list[LiveSession]:
        """The sessions that run, the newest last."""

    async def find(self, which: str = "latest") -> LiveSession:
        """A running session by its id, or the newest one.

        Raises:
            ProtocolError: ``unknown_session``.
        """

    async def avatars(self) -> list[AvatarInfo]:
        """The avatars that there are, with their presets; the server's own first."""

    async def open_session(self, avatar: str | None = None) -> LiveSession:
        """A session without a microphone, which takes a place until you `close` it.

        Raises:
            ProtocolError: ``unknown_avatar`` or ``server_full``.
        """


class Plugin:
    """Base of all plugins; every method may be left as it is.

    Attributes:
        name: as in the settings and in the entry point.
        Settings: model of the plugin's own settings; what is wrong in them stops the server's
            start with one sentence.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[PluginSettings]] = PluginSettings

    def __init__(self, host: Host, settings: Any) -> None:
        """Called once, in the plugin's thread.  Keep what is given; open nothing here.

        Args:
            settings: an instance of ``Settings``.
        """
        self.host = host
        self.settings = settings

    async def start(self) -> None:
        """Called once, before the server is ready, which waits for it up to 10 s.

        Raises:
            PluginError: to stop the server's start, with a sentence for its user.  Anything else
                that is raised is a fault: the plugin is reported and removed.
        """

    async def run(self) -> None:
        """Called once after `start`, as a task, which may take as long as it likes.

        Returning is fine.  It is cancelled when the server stops.
        """

    async def session(self, session: LiveSession) -> None:
        """Called once for each session that begins, those of plugins included, as a task.

        It may take as long as it likes.  When the session ends it has 2 s to finish by itself,
        then it is cancelled.
        """

    async def stop(self) -> None:
        """Called once, after `run` and every `session` have been cancelled; has 2 s.

        Also called when the plugin is removed, if its loop still answers.
        """

    def routes(self) -> Sequence[BaseRoute]:
        """Called once, after `start`: HTTP and WebSocket routes under ``/plugins/NAME/``.

        They run in the plugin's event loop.  ``scope["operator"]`` says whether the client may do
        more than what its own session concerns; pages of other origins never get here.
        """
        return ()

    def page_script(self) -> Traversable | None:
        """Called once, after `start`: an ES module that pages import (web_client/plugins.js)."""
        return None

    @classmethod
    def examine(cls, settings: Any) -> Iterable[Finding]:
        """What `daetalker doctor` should say; takes a few seconds at most, needs no server."""
        return ()


def plugin_names() -> list[str]:
    """Names of the plugins that are installed; nothing is imported."""
    return sorted({entry.name for entry in metadata.entry_points(group=GROUP)})


def find_plugin(name: str) -> type[Plugin]:
    """The class of a plugin.

    Raises:
        PluginError: if it is not installed, cannot be imported, or is no plugin.
    """
    for entry in metadata.entry_points(group=GROUP, name=name):
        try:
            found = entry.load()
        except MissingExtra:
            raise
        except Exception as error:  # somebody else's module may raise anything
            raise PluginError(f"plugin '{name}' cannot be imported: {error!r}") from error
        if not (isinstance(found, type) and issubclass(found, Plugin)):
            raise PluginError(f"plugin '{name}': {entry.value} is not a subclass of Plugin")
        return found
    names = ", ".join(plugin_names()) or "none"
    raise PluginError(f"there is no plugin '{name}'; installed are: {names}")
