"""Sound devices through PortAudio: those of macOS and Windows, and of Linux without a server."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["SoundDevice", "find_device", "import_sounddevice", "sound_devices"]


@dataclass(frozen=True)
class SoundDevice:
    """A device of PortAudio.

    Attributes:
        number: its index.
        inputs, outputs: channels it can record and play.
        rate: its own samples a second.
    """

    number: int
    name: str
    inputs: int
    outputs: int
    rate: int


def import_sounddevice() -> Any:
    """The package, part of the extra.

    Raises:
        MissingExtra: if it, or the library PortAudio that it needs, is not installed.
    """
    from daetalker.streamer.plugin import MissingExtra

    try:
        return import_module("sounddevice")
    except ImportError:
        raise MissingExtra("camera", "sounddevice") from None
    except OSError:  # the package is there, the library is not
        raise MissingExtra("camera", "PortAudio (on Linux: libportaudio2)") from None


def sound_devices() -> list[SoundDevice]:
    """All devices, as PortAudio lists them.

    Raises:
        MissingExtra: if sounddevice is not installed.
    """
    return [
        SoundDevice(
            number,
            device["name"],
            device["max_input_channels"],
            device["max_output_channels"],
            round(device["default_samplerate"]),
        )
        for number, device in enumerate(import_sounddevice().query_devices())
    ]


def find_device(wanted: str | None, *, output: bool) -> SoundDevice | None:
    """The device of that number, or the first whose name is, else begins with, else contains it.

    Args:
        wanted: None: the one that PortAudio takes by itself.

    Raises:
        MissingExtra: if sounddevice is not installed.
    """
    able = [d for d in sound_devices() if (d.outputs if output else d.inputs)]
    if wanted is None:
        usual = import_sounddevice().default.device[1 if output else 0]
        return next((d for d in able if d.number == usual), able[0] if able else None)
    if wanted.isdecimal():
        return next((device for device in able if device.number == int(wanted)), None)
    text = wanted.lower()
    tests = (text.__eq__, lambda name: name.startswith(text), lambda name: text in name)
    for test in tests:
        for device in able:
            if test(device.name.lower()):
                return device
    return None
