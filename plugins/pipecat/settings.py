"""What can be changed of the avatar while a pipeline runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipecat.frames.frames import ServiceUpdateSettingsFrame
from pipecat.services.settings import ServiceSettings
from pipecat.utils.types import NOT_GIVEN, NotGiven, is_given

__all__ = ["DaetalkerUpdateSettingsFrame", "DaetalkerVideoSettings", "command_of"]


@dataclass
class DaetalkerVideoSettings(ServiceSettings):  # type: ignore[misc, unused-ignore]
    """Where the head looks.

    Parameters:
        preset: name of a preset; it wins over ``pose``.  None with ``pose`` None leaves the head to
            the speech.
        pose: yaw, pitch, roll in degrees.
        ease_s: seconds until a pose is reached, 0.05 to 5.
        natural: share of the speech's own movement kept around a pose, 0 to 1.
    """

    preset: str | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    pose: tuple[float, float, float] | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    ease_s: float | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    natural: float | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)


@dataclass
class DaetalkerUpdateSettingsFrame(  # type: ignore[misc, unused-ignore]
    ServiceUpdateSettingsFrame[DaetalkerVideoSettings]
):
    """Turns the head when everything before this frame has been said."""


def command_of(settings: DaetalkerVideoSettings) -> Mapping[str, Any]:
    """The protocol command that brings these settings about."""
    if is_given(settings.preset) and settings.preset is not None:
        return {"type": "preset", "name": settings.preset}
    if not is_given(settings.pose) or settings.pose is None:
        return {"type": "natural"}
    yaw, pitch, roll = settings.pose
    command: dict[str, Any] = {"type": "pose", "yaw": yaw, "pitch": pitch, "roll": roll}
    for name in ("ease_s", "natural"):
        value = getattr(settings, name)
        if is_given(value) and value is not None:
            command[name] = value
    return command
