"""What `daetalker doctor` says of the virtual camera and microphone."""

from __future__ import annotations

import platform

from daetalker.plugins.camera import pulse
from daetalker.plugins.camera.device_voice import CABLES
from daetalker.plugins.camera.errors import CameraError, DeviceError, VoiceOutError
from daetalker.plugins.camera.settings import CameraSettings
from daetalker.plugins.camera.sound_devices import find_device
from daetalker.plugins.camera.virtual_camera import VirtualCamera
from daetalker.streamer.finding import Finding
from daetalker.streamer.plugin import MissingExtra

__all__ = ["examine"]


def examine(settings: CameraSettings) -> list[Finding]:
    """Both devices, as these settings want them."""
    return [_camera(settings), _voice(settings)]


def _camera(settings: CameraSettings) -> Finding:
    name = "camera: picture"
    try:
        camera = VirtualCamera(
            settings.width,
            settings.height,
            settings.fps,
            device=settings.device,
            backend=settings.backend,
        )
    except (CameraError, MissingExtra) as error:
        return _fault(name, error)
    camera.close()
    size = f"{settings.width}x{settings.height}, {settings.fps} frames a second"
    return Finding(name, "ok", f"{camera.device}, {size}")


def _voice(settings: CameraSettings) -> Finding:
    name = "camera: voice"
    if settings.voice_out == "none":
        return Finding(name, "warning", "voice_out is none: the camera is silent", "voice_out auto")
    try:
        if platform.system() != "Linux":
            return _cable(name, settings.voice_out)
        sinks = pulse.sink_names()
    except (VoiceOutError, MissingExtra) as error:
        return _fault(name, error)
    if settings.voice_out == "auto":
        return Finding(name, "ok", "the sound server answers; the microphone is made when needed")
    if settings.voice_out in sinks:
        return Finding(name, "ok", f"the voice goes into {settings.voice_out}")
    there = ", ".join(sorted(sinks)) or "none"
    return Finding(
        name, "error", f"there is no output '{settings.voice_out}'", f"voice_out auto, or: {there}"
    )


def _cable(name: str, choice: str) -> Finding:
    wanted = CABLES if choice == "auto" else (choice,)
    for device in (find_device(each, output=True) for each in wanted):
        if device is not None:
            return Finding(name, "ok", f"the voice goes into {device.name}")
    return Finding(
        name,
        "error",
        "no virtual cable is installed" if choice == "auto" else f"there is no output '{choice}'",
        "install BlackHole (macOS) or VB-Cable (Windows), or set voice_out to none",
    )


def _fault(name: str, error: DeviceError | MissingExtra) -> Finding:
    if isinstance(error, DeviceError):
        return Finding(name, "error", error.problem, error.fix)
    message, _, fix = str(error).partition(": ")
    return Finding(name, "error", message, fix)
