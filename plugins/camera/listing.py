"""What `daetalker camera --list-devices` prints."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from daetalker.plugins.camera import pulse
from daetalker.plugins.camera.errors import VoiceOutError
from daetalker.plugins.camera.sound_devices import sound_devices
from daetalker.plugins.camera.virtual_camera import import_pyvirtualcam
from daetalker.streamer.plugin import MissingExtra

__all__ = ["devices"]


def devices() -> Iterator[str]:
    """Lines: cameras, microphones and outputs, and what hinders us from listing them."""
    try:
        yield "cameras (--backend): " + ", ".join(import_pyvirtualcam().camera.BACKENDS)
    except MissingExtra as error:
        yield f"cameras: {error}"
    if platform.system() == "Linux":
        yield from _of_the_server()
    yield from _of_portaudio()


def _of_the_server() -> Iterator[str]:
    try:
        sources, sinks = pulse.sources(), pulse.sink_names()
    except VoiceOutError as error:
        yield f"sound server: {error}"
        return
    yield "microphones of the sound server (--mic):"
    for source in sources:
        note = " (our own voice: not as --mic)" if source.ours else ""
        note = note or (" (what an output plays)" if source.monitor else "")
        yield f"  {source.name}: {source.label}{note}"
    yield "outputs of the sound server (--voice-out):"
    yield from (f"  {sink}" for sink in sorted(sinks))


def _of_portaudio() -> Iterator[str]:
    try:
        found = sound_devices()
    except MissingExtra as error:
        yield f"sound devices: {error}"
        return
    for flag, what in (("--mic", "inputs"), ("--voice-out", "outputs")):
        able = [device for device in found if getattr(device, what)]
        yield f"sound devices, {what} ({flag}):" + ("" if able else " none")
        yield from (f"  {device.number}: {device.name}" for device in able)
