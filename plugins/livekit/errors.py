"""Errors of the LiveKit plugin."""

from __future__ import annotations

from daetalker.streamer.plugin import PluginError

__all__ = ["LiveKitError"]


class LiveKitError(PluginError):
    """A room or an avatar worker cannot be used; one sentence that says what to do."""
