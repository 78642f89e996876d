"""Voice into a sound device: BlackHole on macOS, VB-Cable on Windows, or any other."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.plugins.camera.errors import VoiceOutError
from daetalker.plugins.camera.sound_devices import find_device, import_sounddevice
from daetalker.streamer.media import VOICE_RATE

__all__ = ["CABLES", "DeviceVoice"]

CABLES = ("BlackHole", "CABLE Input", "VB-Cable", "Soundflower", "Loopback Audio")
"""Names of the usual virtual cables: what is played into them, other programs record."""

_BLOCK_SAMPLES = 480
_CAPACITY = 2 * VOICE_RATE


class DeviceVoice:
    """A PortAudio output stream that we keep filled; see `VoiceOut`."""

    def __init__(self, choice: str) -> None:
        """Open a device by name or number; ``auto``: the first virtual cable.

        Raises:
            MissingExtra: if sounddevice is not installed.
            VoiceOutError: if there is no such device, or it cannot be opened.
        """
        sounddevice = import_sounddevice()
        wanted = CABLES if choice == "auto" else (choice,)
        found = (find_device(name, output=True) for name in wanted)
        device = next((device for device in found if device is not None), None)
        if device is None:
            raise VoiceOutError(
                "no virtual cable is installed: install BlackHole (macOS) or VB-Cable (Windows), "
                "or name an output with --voice-out; --voice-out none leaves the voice away"
                if choice == "auto"
                else f"there is no sound output '{choice}'; --list-devices shows what there is"
            )
        self.name = device.name
        self._lock = threading.Lock()
        # Full at 2 s: what is written beyond is lost; the device does not play.
        self._waiting = np.zeros(0, np.int16)
        # When, on the stream's clock, the first sample of `_waiting` is heard.
        self._next_heard_s: float | None = None
        self._missed = 0
        self._failed = False
        try:
            self._stream = sounddevice.OutputStream(
                device=device.number,
                samplerate=VOICE_RATE,
                blocksize=_BLOCK_SAMPLES,
                channels=min(2, device.outputs),
                dtype="int16",
                latency="low",
                callback=self._play,
                finished_callback=self._ended,
            )
            self._stream.start()
        except sounddevice.PortAudioError as error:
            raise VoiceOutError(
                f"the sound output '{device.name}' does not open: {error}"
            ) from None

    def write(self, pcm: NDArray[np.int16]) -> None:
        self._check()
        with self._lock:
            # What comes after its time is dropped, so that the line of time goes on.
            late = min(self._missed, pcm.size)
            self._missed -= late
            self._waiting = np.concatenate([self._waiting, pcm[late:]])[:_CAPACITY]

    def delay_s(self) -> float | None:
        self._check()
        now_s = float(self._stream.time)
        with self._lock:
            if self._next_heard_s is None:
                return None
            ahead = self._waiting.size - self._missed
            return self._next_heard_s - now_s + ahead / VOICE_RATE

    def close(self) -> None:
        self._stream.close(ignore_errors=True)

    def _check(self) -> None:
        if self._failed:
            raise VoiceOutError(f"the sound output '{self.name}' has gone")

    def _play(self, out: NDArray[np.int16], frames: int, times: Any, _status: Any) -> None:
        """PortAudio asks for sound, in a thread of its own."""
        with self._lock:
            sound, self._waiting = self._waiting[:frames], self._waiting[frames:]
            self._missed += frames - sound.size
            self._next_heard_s = float(times.outputBufferDacTime) + frames / VOICE_RATE
        out[:] = 0
        out[: sound.size] = sound[:, None]

    def _ended(self) -> None:
        self._failed = True
