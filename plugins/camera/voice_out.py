"""Where the voice goes: a sink of PulseAudio or PipeWire, a sound device, or nowhere.

All tell when a sample written now will be heard; that is what keeps the pictures in step.
"""

from __future__ import annotations

import platform
import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from daetalker.plugins.camera.errors import VoiceOutError
from daetalker.plugins.camera.libpulse import PulseStream
from daetalker.plugins.camera.pulse import SINK, VirtualMicrophone
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.media import VOICE_RATE

__all__ = ["NoVoice", "PulseVoice", "VoiceOut", "open_voice_out"]

_BLOCK_S = 0.01


class VoiceOut(Protocol):
    """One output; everything but ``name`` belongs to one thread."""

    name: str

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Append ``[N]`` mono samples at 48 kHz; never waits for the sound to be heard.

        Raises:
            VoiceOutError: if the device has gone.
        """

    def delay_s(self) -> float | None:
        """Seconds until a sample written now is heard; below 0 after running dry.

        None while the device cannot tell yet.

        Raises:
            VoiceOutError: if the device has gone.
        """

    def close(self) -> None:
        """Free it; may be called again."""


class NoVoice:
    """Nobody hears it; time passes all the same."""

    name = "none"

    def __init__(self) -> None:
        self._end_s = time.monotonic()

    def write(self, pcm: NDArray[np.int16]) -> None:
        self._end_s += pcm.size / VOICE_RATE

    def delay_s(self) -> float | None:
        return self._end_s - time.monotonic()

    def close(self) -> None:
        pass


class PulseVoice:
    """Into our virtual microphone, or into a sink that the user names."""

    def __init__(self, sink: str | None = None, *, server: str | None = None) -> None:
        """Open it, making the virtual microphone if ``sink`` is None.

        Args:
            server: address of the sound server; None: where the environment says.

        Raises:
            VoiceOutError: if there is no sound server or no such sink.
        """
        self._microphone = VirtualMicrophone(server) if sink is None else None
        try:
            self._stream = PulseStream(sink or SINK, server=server, block_s=_BLOCK_S)
        except VoiceOutError:
            self._leave()
            raise
        self.name = sink or "daetalker microphone"

    def write(self, pcm: NDArray[np.int16]) -> None:
        self._stream.write(pcm)

    def delay_s(self) -> float | None:
        """As `VoiceOut.delay_s`, for those who record from the sink.

        They get each block when it is made, up to a block before its place in time: programs that
        ask the server for the latency put it at its place, those that go by arrival a block
        sooner.  The middle is right for both within 5 ms.
        """
        delay_s = self._stream.delay_s()
        return None if delay_s is None else delay_s - _BLOCK_S / 2

    def close(self) -> None:
        self._stream.close()
        self._leave()

    def _leave(self) -> None:
        if self._microphone is not None:
            self._microphone.close()


def open_voice_out(choice: str, *, server: str | None = None) -> VoiceOut:
    """The output that the user chose.

    Args:
        choice: ``auto``: the virtual microphone on Linux; elsewhere the first cable that is
            installed.  ``none``: silence.  Else the name of a sink, or name or number of a sound
            device.

    Raises:
        MissingExtra: if sounddevice is needed and not installed.
        VoiceOutError: if there is no such output; says what to do.
    """
    if choice == "none":
        return NoVoice()
    if choice == "auto" and platform.system() == "Linux":
        return PulseVoice(server=server)
    from daetalker.plugins.camera.device_voice import DeviceVoice

    if platform.system() != "Linux":
        return DeviceVoice(choice)
    try:
        return PulseVoice(choice, server=server)
    except VoiceOutError as refused:
        try:  # a device that no sound server looks after
            return DeviceVoice(choice)
        except StreamerError:
            raise refused from None
