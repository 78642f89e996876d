"""A face for Pipecat bots: `DaetalkerVideoService`, a processor between TTS and transport.

Pipecat itself is imported with the first of these names, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daetalker.streamer.plugin import MissingExtra

if TYPE_CHECKING:
    from daetalker.plugins.pipecat.service import DaetalkerVideoService
    from daetalker.plugins.pipecat.settings import (
        DaetalkerUpdateSettingsFrame,
        DaetalkerVideoSettings,
    )
    from daetalker.plugins.pipecat.transport import video_out

__all__ = [
    "DaetalkerUpdateSettingsFrame",
    "DaetalkerVideoService",
    "DaetalkerVideoSettings",
    "video_out",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from daetalker.plugins.pipecat import service, settings, transport
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "pipecat":
            raise
        raise MissingExtra("pipecat", "pipecat-ai") from None
    (home,) = (module for module in (service, settings, transport) if name in module.__all__)
    return getattr(home, name)
