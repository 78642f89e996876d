"""Commands that other packages add to `daetalker`, by entry points of their own group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata

from daetalker.streamer.errors import StreamerError

__all__ = ["GROUP", "command_names", "find_command"]

GROUP = "daetalker.commands"
"""Entry point group: the command's words joined by ``-``, and a ``main(arguments) -> code``."""

Main = Callable[[list[str]], int]


def command_names() -> list[str]:
    """Names of the added commands; nothing is imported."""
    return sorted({entry.name for entry in metadata.entry_points(group=GROUP)})


def find_command(arguments: Sequence[str]) -> tuple[Main, list[str]] | None:
    """The added command that these arguments begin with, and the rest of them.

    Raises:
        StreamerError: if it is there but cannot be imported.
    """
    for words in (2, 1):
        name = "-".join(arguments[:words])
        if len(arguments) < words or name.startswith("-"):
            continue
        for entry in metadata.entry_points(group=GROUP, name=name):
            try:
                return entry.load(), list(arguments[words:])
            except ImportError as error:
                raise StreamerError(f"'{name}' cannot be imported: {error}") from error
    return None
