"""The local microphone, as voice that arrives; it may vanish and come back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
from collections.abc import AsyncGenerator, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.plugins.camera import pulse
from daetalker.plugins.camera.errors import MicrophoneError, VoiceOutError
from daetalker.plugins.camera.sound_devices import SoundDevice, find_device, import_sounddevice
from daetalker.streamer.feed import VoiceConverter
from daetalker.streamer.media import VOICE_RATE

__all__ = [
    "Microphone",
    "PortAudioMicrophone",
    "PulseMicrophone",
    "find_microphone",
    "keep_listening",
]

Push = Callable[[NDArray[np.int16]], None]
Say = Callable[[str], None]

RETRY_S = 2.0
_BLOCK_MS = 20
_READ_BYTES = 16_384


class PulseMicrophone:
    """A source of PulseAudio or PipeWire, through `parec`.

    Attributes:
        label: its name for people.
        ours: True if it carries the voice that we give out: listening to it is feedback.
    """

    def __init__(self, source: pulse.Source, server: str | None = None) -> None:
        self.label = source.label
        self.ours = source.ours
        self._source = source
        self._server = server

    async def blocks(self) -> AsyncGenerator[NDArray[np.int16], None]:
        """Voice as it is heard, ``[N]`` int16 mono at 48 kHz, until the source goes.

        Raises:
            MicrophoneError: when it has gone.
        """
        where = [f"--server={self._server}"] if self._server else []
        process = await asyncio.create_subprocess_exec(
            "parec",
            *where,
            f"--device={self._source.name}",
            "--raw",
            "--format=s16le",
            f"--rate={VOICE_RATE}",
            "--channels=1",
            f"--latency-msec={_BLOCK_MS}",
            "--client-name=daetalker",
            "--stream-name=daetalker microphone",
            "--verbose",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
        assert process.stdout is not None and process.stderr is not None
        guard = asyncio.create_task(_end_when_moved(process, process.stderr))
        try:
            odd = b""
            while data := odd + await process.stdout.read(_READ_BYTES):
                odd = data[len(data) & ~1 :]
                yield np.frombuffer(data[: len(data) & ~1], np.int16)
        finally:
            guard.cancel()
            _kill(process)
            await process.wait()
        raise MicrophoneError(f"the microphone '{self.label}' has gone")


class PortAudioMicrophone:
    """A sound device, through sounddevice; attributes as those of `PulseMicrophone`."""

    def __init__(self, device: SoundDevice) -> None:
        self.label = device.name
        self.ours = False
        self._device = device

    async def blocks(self) -> AsyncGenerator[NDArray[np.int16], None]:
        """Voice as it is heard, ``[N]`` int16 mono at 48 kHz, until the device goes.

        Raises:
            MicrophoneError: when it has gone, or cannot be opened.
        """
        sounddevice = import_sounddevice()
        loop = asyncio.get_running_loop()
        # Full at 1 s: what comes then is lost; the event loop stands still.
        heard: asyncio.Queue[NDArray[np.int16] | None] = asyncio.Queue(50)

        def take(block: NDArray[np.int16] | None) -> None:
            if not heard.full():
                heard.put_nowait(block)

        def tell(block: NDArray[np.int16] | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(take, block)

        def callback(block: NDArray[np.int16], *_: Any) -> None:
            tell(block[:, 0].copy())

        rate = self._rate(sounddevice)
        converter = VoiceConverter(rate, 1)
        try:
            stream = sounddevice.InputStream(
                device=self._device.number,
                samplerate=rate,
                blocksize=rate * _BLOCK_MS // 1000,
                channels=1,
                dtype="int16",
                latency="low",
                callback=callback,
                finished_callback=lambda: tell(None),
            )
            with stream:
                while (block := await heard.get()) is not None:
                    yield converter.push(block)
        except sounddevice.PortAudioError as error:
            raise MicrophoneError(
                f"the microphone '{self.label}' cannot be opened ({error})"
            ) from None
        raise MicrophoneError(f"the microphone '{self.label}' has gone")

    def _rate(self, sounddevice: Any) -> int:
        """48 kHz where the device can, else its own rate."""
        try:
            sounddevice.check_input_settings(
                device=self._device.number, samplerate=VOICE_RATE, channels=1, dtype="int16"
            )
        except sounddevice.PortAudioError:
            return self._device.rate
        return VOICE_RATE


Microphone = PulseMicrophone | PortAudioMicrophone


def find_microphone(wanted: str | None, server: str | None = None) -> Microphone:
    """The microphone of that name or number.

    On Linux sources of the sound server go first, then sound devices.

    Args:
        wanted: name, part of a name, or a device's number; None: the usual one.
        server: address of the sound server; None: where the environment says.

    Raises:
        MicrophoneError: if there is none; says what there is.
    """
    sources: list[pulse.Source] = []
    hindrance = ""
    if platform.system() == "Linux" and shutil.which("parec") is not None:
        try:
            sources = pulse.sources(server)
        except VoiceOutError as error:
            hindrance = f", and {error.problem}"
    source = _source(sources, wanted, server)
    if source is not None:
        return PulseMicrophone(source, server)
    device = _device(wanted)
    if device is not None:
        return PortAudioMicrophone(device)
    which = "no microphone" if wanted is None else f"no microphone '{wanted}'"
    names = ", ".join(source.name for source in sources if not source.monitor and not source.ours)
    raise MicrophoneError(
        f"there is {which} here{hindrance}",
        f"there are {names}; --list-devices shows more"
        if names
        else "plug one in, or choose with --mic what --list-devices shows",
    )


async def keep_listening(
    find: Callable[[], Microphone], push: Push, say: Say, retry_s: float = RETRY_S
) -> None:
    """Listen for good; a microphone that goes is waited for, with one message, until it is back.

    Args:
        find: finds the microphone, anew each time; blocking, run in a thread.
        push: takes voice, ``[N]`` int16 at 48 kHz.
        say: takes messages for the user.
    """
    missing = False
    while True:
        try:
            microphone = await asyncio.to_thread(find)
            async with contextlib.aclosing(microphone.blocks()) as blocks:
                async for block in blocks:
                    if missing:
                        missing = False
                        say(f"the microphone '{microphone.label}' is back")
                    push(block)
        except MicrophoneError as error:
            if not missing:
                missing = True
                say(f"{error}; the face stays, silent, and I keep trying")
        await asyncio.sleep(retry_s)


async def _end_when_moved(
    process: asyncio.subprocess.Process, messages: asyncio.StreamReader
) -> None:
    """End the recording when its source goes.

    The server would move it to any other source: to a microphone that nobody chose, or to our own
    voice.
    """
    text = b""
    while part := await messages.read(_READ_BYTES):
        text = text[-100:] + part
        if b"Stream moved to" in text:
            _kill(process)


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _source(
    sources: list[pulse.Source], wanted: str | None, server: str | None
) -> pulse.Source | None:
    if wanted is None:
        real = [source for source in sources if not source.monitor and not source.ours]
        with contextlib.suppress(VoiceOutError):
            usual = pulse.default_source(server) if real else ""
            real.sort(key=lambda source: source.name != usual)
        return real[0] if real else None
    text = wanted.lower()
    for source in sources:
        if text in (source.name.lower(), source.label.lower()):
            return source
    # A monitor or our own voice must be meant to be had: only its full name gives it.
    real = [source for source in sources if not source.monitor and not source.ours]
    return next((s for s in real if text in s.name.lower() or text in s.label.lower()), None)


def _device(wanted: str | None) -> SoundDevice | None:
    from daetalker.streamer.plugin import MissingExtra

    try:
        return find_device(wanted, output=False)
    except MissingExtra:
        return None
