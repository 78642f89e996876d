"""Settings of the virtual camera, as a plugin and as a command."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field, field_validator

from daetalker.plugins.camera.errors import CameraError
from daetalker.plugins.camera.letterbox import Letterbox, parse_colour
from daetalker.plugins.camera.pipeline import Pipeline
from daetalker.plugins.camera.virtual_camera import VirtualCamera
from daetalker.plugins.camera.voice_out import open_voice_out
from daetalker.streamer.plugin import PluginSettings

__all__ = ["CameraSettings", "open_pipeline"]

_RATES = (25, 30)


class CameraSettings(PluginSettings):
    """How the camera looks, and where picture and voice go."""

    width: int = Field(1280, ge=160, le=3840, multiple_of=2, description="width in pixels")
    height: int = Field(720, ge=120, le=2160, multiple_of=2, description="height in pixels")
    fps: int = Field(25, description="frames a second: 25, or 30 with every sixth one repeated")
    background: str = Field(
        "#202020", description="colour beside the picture: #rrggbb, or black, white, grey, green"
    )
    device: str | None = Field(
        None, description="camera device, such as /dev/video9; left out: the first virtual one"
    )
    backend: str | None = Field(
        None, description="pyvirtualcam's kind of device: v4l2loopback, obs or unitycapture"
    )
    voice_out: str = Field(
        "auto",
        description="where the voice goes: auto (a virtual microphone), none, a sink's name, or a "
        "sound device's name or number",
    )
    buffer_ms: float = Field(
        80.0, ge=40, le=500, description="voice kept waiting against hiccups, in milliseconds"
    )

    @field_validator("fps")
    @classmethod
    def _is_rate(cls, value: int) -> int:
        if value not in _RATES:
            raise ValueError("must be 25 or 30 frames a second")
        return value

    @field_validator("background")
    @classmethod
    def _is_colour(cls, value: str) -> str:
        try:
            parse_colour(value)
        except CameraError as error:
            raise ValueError(str(error)) from None
        return value


def open_pipeline(
    settings: CameraSettings, say: Callable[[str], None], *, server: str | None = None
) -> Pipeline:
    """A pipeline to the devices of the settings; its ``with`` block opens them.

    Args:
        say: takes messages for the user, in any thread.
        server: address of the sound server; None: where the environment says.
    """
    return Pipeline(
        lambda: VirtualCamera(
            settings.width,
            settings.height,
            settings.fps,
            device=settings.device,
            backend=settings.backend,
        ),
        lambda: open_voice_out(settings.voice_out, server=server),
        Letterbox(settings.width, settings.height, parse_colour(settings.background)),
        fps=settings.fps,
        buffer_s=settings.buffer_ms / 1000,
        say=say,
    )
