"""A face for LiveKit agents: `AvatarSession` in an agent's program, `LiveKitPlugin` in a server."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from daetalker.plugins.livekit.plugin import LiveKitPlugin
from daetalker.streamer.plugin import MissingExtra

if TYPE_CHECKING:
    from daetalker.plugins.livekit.avatar import AvatarSession
    from daetalker.plugins.livekit.generator import DaetalkerGenerator
    from daetalker.plugins.livekit.runner import FaceRunner

__all__ = ["AvatarSession", "DaetalkerGenerator", "FaceRunner", "LiveKitPlugin"]

_HOMES = {"AvatarSession": "avatar", "DaetalkerGenerator": "generator", "FaceRunner": "runner"}


def __getattr__(name: str) -> Any:
    """What needs the LiveKit packages is imported on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import_module("livekit.agents")
    except ModuleNotFoundError:
        raise MissingExtra("livekit", "livekit-agents") from None
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
