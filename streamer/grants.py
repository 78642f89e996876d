"""Grants: what whoever has come in may do.  docs/security.md has the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Grant", "GrantKind"]

GrantKind = Literal["talk", "watch", "operator", "metrics"]


@dataclass(frozen=True)
class Grant:
    """What a link, a token or an open door lets its holder do.

    Attributes:
        kind: ``talk`` is for a session of one's own, ``watch`` for looking at one, ``operator``
            for everything, ``metrics`` for the figures and nothing else.
        session: the id that ``watch`` is for.
    """

    kind: GrantKind
    session: str | None = None

    @property
    def operates(self) -> bool:
        """May list, watch and steer sessions that are not its own, and change presets."""
        return self.kind == "operator"

    @property
    def talks(self) -> bool:
        """May have a session of its own; and watch and steer one whose id it knows."""
        return self.kind in ("talk", "operator")

    def watches(self, session: str) -> bool:
        """May see and hear the session of that id."""
        return self.talks or (self.kind == "watch" and session == self.session)

    def reaches(self, method: str, path: str) -> bool:
        """Whether a request comes through to whoever answers it, who may still refuse it.

        Args:
            method: of HTTP; ``WEBSOCKET`` for one.
            path: of the address, without the query.
        """
        if self.talks:
            return True
        if self.kind == "metrics":
            return method in ("GET", "HEAD") and path == "/metrics"
        if path.startswith("/api/"):
            shown = ("/api/avatars", "/api/presets", f"/api/sessions/{self.session}")
            return method in ("GET", "HEAD") and path in shown
        if path.startswith("/plugins/"):  # a plugin knows no such thing as a mere watcher
            return method in ("GET", "HEAD") and path.endswith("/page.js")
        return method in ("GET", "HEAD") or (method == "WEBSOCKET" and path == "/ws")
