"""The output transport after the avatar: what it should be told, and whether there is one."""

from __future__ import annotations

from typing import Any

from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport

from daetalker.models.bundle import find_avatar, read_manifest
from daetalker.streamer.media import FPS

__all__ = ["has_transport", "video_out"]


def video_out(avatar: str = "mira") -> dict[str, Any]:
    """What ``TransportParams`` need for an avatar: ``TransportParams(**video_out(), ...)``.

    Raises:
        BundleError: if there is no such avatar.
    """
    size = read_manifest(find_avatar(avatar)).size
    return {
        "video_out_enabled": True,
        "video_out_is_live": True,
        "video_out_width": size,
        "video_out_height": size,
        "video_out_framerate": FPS,
    }


def has_transport(processor: FrameProcessor | None) -> bool:
    """Whether an output transport is among this processor and those after it."""
    while processor is not None:
        if _is_transport(processor):
            return True
        processor = processor.next
    return False


def _is_transport(processor: FrameProcessor) -> bool:
    """Whether it is one, or a pipeline with one inside."""
    inner = processor.processors
    return isinstance(processor, BaseOutputTransport) or any(map(_is_transport, inner))
