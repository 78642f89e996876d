"""The version of this package, for whoever says what made something."""

from __future__ import annotations

from importlib import metadata

__all__ = ["version"]


def version() -> str:
    """The installed version, or ``0`` in a checkout that is not installed."""
    try:
        return metadata.version("daetalker")
    except metadata.PackageNotFoundError:
        return "0"
