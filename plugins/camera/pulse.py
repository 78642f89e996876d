"""PulseAudio and PipeWire through `pactl`: what sources there are, and our virtual microphone."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

from daetalker.plugins.camera.errors import VoiceOutError

__all__ = [
    "SINK",
    "SOURCE",
    "Source",
    "VirtualMicrophone",
    "default_source",
    "pactl",
    "sink_names",
    "sources",
]

SINK = "daetalker"
SOURCE = "daetalker_microphone"
_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Source:
    """Something that sound can be recorded from.

    Attributes:
        name: for the sound server, such as ``alsa_input.usb-0d8c``.
        label: for people.
        monitor: True if it is what an output plays, and no microphone.
    """

    name: str
    label: str
    monitor: bool

    @property
    def ours(self) -> bool:
        """True if it carries the voice that we give out."""
        return self.name in (SOURCE, f"{SINK}.monitor")


def pactl(*arguments: str, server: str | None = None) -> str:
    """Run `pactl`; returns what it prints.

    Args:
        server: address of the sound server; None: where the environment says.

    Raises:
        VoiceOutError: if it is not installed, or the server does not answer or refuses.
    """
    if shutil.which("pactl") is None:
        raise VoiceOutError(
            "pactl is not installed, which makes the virtual microphone",
            "sudo apt-get install pulseaudio-utils",
        )
    where = ["--server", server] if server else []
    try:
        done = subprocess.run(
            ["pactl", *where, *arguments],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},  # we read what it prints
        )
    except subprocess.TimeoutExpired:
        raise VoiceOutError(
            "the sound server does not answer", "restart it, or log in anew"
        ) from None
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        if "onnection" in reason[0]:
            raise VoiceOutError(
                f"no sound server answers ({reason[0]})",
                "start PipeWire or PulseAudio, for example with `systemctl --user start "
                "pipewire-pulse` or `pulseaudio --start`, or do without voice: --voice-out none",
            )
        raise VoiceOutError(f"`pactl {arguments[0]}` was refused: {reason[0]}")
    return done.stdout


def sources(server: str | None = None) -> list[Source]:
    """What can be recorded from, in the server's order.

    Raises:
        VoiceOutError: if the server does not answer.
    """
    found = []
    for entry in pactl("list", "sources", server=server).split("\n\n"):
        fields = dict(
            (line.strip().split(": ", 1) for line in entry.splitlines() if ": " in line),
        )
        if "Name" in fields:
            label = fields.get("Description", fields["Name"])
            monitor = fields.get("Monitor of Sink", "n/a") != "n/a"
            found.append(Source(fields["Name"], label, monitor))
    return found


def default_source(server: str | None = None) -> str:
    """Name of the source that programs record from if they name none; may be empty.

    Raises:
        VoiceOutError: if the server does not answer.
    """
    for line in pactl("info", server=server).splitlines():
        if line.startswith("Default Source: "):
            name = line.removeprefix("Default Source: ").strip()
            return "" if name == "(null)" else name
    return ""


class VirtualMicrophone:
    """A sink without loudspeaker, and a microphone that hears what is played into it.

    Attributes:
        made: True if it was made here, and goes when this is closed.
    """

    def __init__(self, server: str | None = None) -> None:
        """Make what is missing of the two.

        Raises:
            VoiceOutError: if the sound server does not answer or refuses.
        """
        self._server = server
        self._modules: list[str] = []
        try:
            if SINK not in sink_names(server):
                self._load(
                    ("module-null-sink", f"sink_name={SINK}", "rate=48000", "channels=1"),
                    "sink_properties=\"device.description='daetalker voice'\"",
                    # Else PulseAudio begins by rendering two seconds of silence ahead.
                    "norewinds=1",
                )
            if SOURCE not in _names("sources", server):
                self._load(
                    ("module-remap-source", f"master={SINK}.monitor", f"source_name={SOURCE}"),
                    "source_properties=\"device.description='daetalker microphone'\"",
                )
        except VoiceOutError:
            self.close()
            raise

    @property
    def made(self) -> bool:
        return bool(self._modules)

    def close(self) -> None:
        """Take away what was made here; may be called again, also when the server has gone."""
        while self._modules:
            try:
                pactl("unload-module", self._modules.pop(), server=self._server)
            except VoiceOutError:
                continue  # gone with its server, or taken away by somebody else

    def _load(self, module: tuple[str, ...], *niceties: str) -> None:
        """Load a module; a server that refuses a nicety gets the next shorter list of them."""
        for count in range(len(niceties), -1, -1):
            try:
                number = pactl("load-module", *module, *niceties[:count], server=self._server)
            except VoiceOutError:
                if count == 0:
                    raise
            else:
                self._modules.append(number.strip())
                return


def sink_names(server: str | None = None) -> set[str]:
    """Outputs of the sound server.

    Raises:
        VoiceOutError: if the server does not answer.
    """
    return _names("sinks", server)


def _names(kind: str, server: str | None) -> set[str]:
    """Names of the server's sinks or sources."""
    lines = pactl("list", "short", kind, server=server).splitlines()
    return {fields[1] for line in lines if len(fields := line.split("\t")) > 1}
