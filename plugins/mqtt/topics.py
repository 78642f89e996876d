"""Topics: where everything is, below ``PREFIX/NODE``; docs/mqtt.md has the table for people."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

__all__ = ["Address", "Topics", "alias_of"]


def alias_of(session_id: str) -> str:
    """What a session is called in topics.

    Not its id: who knows that may watch and steer it over HTTP, and a broker has many readers.
    """
    return hashlib.sha256(session_id.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Address:
    """Whom a command is for, and which.

    Attributes:
        which: ``latest``, ``all``, or a session's alias.
        kind: the topic's last level, such as ``preset``; empty if the payload says it.
    """

    which: str
    kind: str


@dataclass(frozen=True)
class Topics:
    """Names of all topics of one server."""

    prefix: str
    node: str
    discovery_prefix: str

    @property
    def root(self) -> str:
        """Where this server's own topics begin."""
        return f"{self.prefix}/{self.node}"

    @property
    def status(self) -> str:
        """``online`` or ``offline``, retained; also the last will."""
        return f"{self.root}/status"

    @property
    def state(self) -> str:
        """The server's state, JSON, retained."""
        return f"{self.root}/state"

    @property
    def error(self) -> str:
        """Answers to commands that cannot be done, JSON."""
        return f"{self.root}/error"

    @property
    def session_states(self) -> str:
        """Filter of the sessions' states."""
        return f"{self.root}/session/+/state"

    @property
    def discovery(self) -> str:
        """Home Assistant's description of this server, JSON, retained."""
        return f"{self.discovery_prefix}/device/daetalker_{self.node}/config"

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it has come up."""
        return f"{self.discovery_prefix}/status"

    @property
    def commands(self) -> tuple[str, ...]:
        """Filters of all commands.  ``#`` also stands for the level above it."""
        return (
            f"{self.root}/command/#",
            f"{self.root}/all/command/#",
            f"{self.root}/session/+/command/#",
        )

    def session_state(self, alias: str) -> str:
        """One session's state, JSON, retained while it lives."""
        return f"{self.root}/session/{alias}/state"

    def is_session_state(self, topic: str) -> bool:
        """Whether `session_state` gives this topic for some session."""
        levels = self._below_root(topic)
        return len(levels) == 3 and levels[0] == "session" and levels[2] == "state"

    def address(self, topic: str) -> Address | None:
        """Whom a command on this topic is for; None if no commands are taken there."""
        match self._below_root(topic):
            case ["command", *kind]:
                return Address("latest", "/".join(kind))
            case ["all", "command", *kind]:
                return Address("all", "/".join(kind))
            case ["session", alias, "command", *kind]:
                return Address(alias, "/".join(kind))
        return None

    def _below_root(self, topic: str) -> list[str]:
        head = self.root + "/"
        return topic[len(head) :].split("/") if topic.startswith(head) else []
