"""Measuring what a meeting tool gets: by how much picture and voice differ at their consumers.

Everything between is real: a session with its networks, the pipeline, pyvirtualcam, a PulseAudio
daemon of our own with the virtual microphone in it, and `parec` recording from that.  Only the
camera device is ours: it notes when each frame arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
import time
import zlib
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from daetalker.plugins.camera.errors import DeviceError
from daetalker.plugins.camera.letterbox import Letterbox, parse_colour
from daetalker.plugins.camera.offsets import Heard, Seen, offsets, summary
from daetalker.plugins.camera.pulse import SOURCE
from daetalker.plugins.camera.pulse_daemon import PulseDaemon
from daetalker.plugins.camera.settings import CameraSettings, open_pipeline
from daetalker.plugins.camera.virtual_camera import import_pyvirtualcam
from daetalker.streamer.live import LiveSession, open_avatar
from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_RATE

__all__ = ["MeasureError", "measure_offset"]

_BACKEND = "daetalker-measure"
_SETTLE_S = 2.0
_BLOCK_MS = 20


class MeasureError(DeviceError):
    """The measurement could not be made."""


async def measure_offset(
    avatar: str,
    seconds: float = 20,
    voice: NDArray[np.int16] | None = None,
    *,
    threads: int = 2,
    settings: CameraSettings | None = None,
) -> dict[str, float]:
    """The offset between both outputs, at those who use them.

    A voice is spoken into a session in real time.  When each frame reaches the camera device is
    noted, and which picture it shows is read from its pixels.  When each sample reaches whoever
    records the virtual microphone is noted as a microphone's would be: a block of sound lasted
    until it came.  Where in the recording the voice of a picture is, is found by correlating 200
    ms of it.  The offset is the picture's time minus that of the first sample of its voice.

    Args:
        avatar: name, or a bundle's folder.
        seconds: how long to measure, after two seconds to settle.
        voice: ``[N]`` int16 mono at 48 kHz, repeated; None: a synthetic one.
        threads: processor threads that a network may use.
        settings: of the camera; backend and voice output are replaced.

    Returns:
        ``camera_microphone_offset_ms``: median of the absolute offset;
        ``camera_microphone_offset_p95_ms``; ``camera_microphone_bias_ms``: median with its sign,
        above 0 where the picture comes later; ``drift_ms_per_minute``: slope of the offset;
        ``camera_fps``: frames a second at the camera; ``matched``: pictures that were compared.

    Raises:
        VoiceOutError: if PulseAudio is not installed.
        MissingExtra: if pyvirtualcam is not installed.
        MeasureError: if too little of what was sent was found at the consumers.
    """
    spoken = _synthetic_voice() if voice is None else voice
    settings = (settings or CameraSettings.model_validate({})).model_copy(
        update={"backend": _BACKEND, "device": None, "voice_out": "auto"}
    )
    arrivals: list[Seen] = []
    sent = _Sent(settings)
    with _camera_noting(arrivals), PulseDaemon() as server:
        async with open_avatar(avatar, threads=threads) as loaded, loaded.session() as session:
            pipeline = open_pipeline(settings, _fail, server=server)
            with pipeline, _record(server) as heard:
                await _run(
                    seconds + _SETTLE_S, _speak(session, spoken), sent.note(session, pipeline.put)
                )
                pipeline.check()
    begin_s = arrivals[0].time_s + _SETTLE_S if arrivals else 0.0
    seen = [arrival for arrival in arrivals if arrival.time_s >= begin_s]
    found = await asyncio.to_thread(offsets, seen, sent.pictures, sent.voice, heard)
    if len(found) < 20:
        raise MeasureError(
            f"only {len(found)} pictures were found with their voice at the consumers",
            "measure longer, with more speech in the voice, on a machine that is less busy",
        )
    return summary(found, seen)


async def _run(seconds: float, *jobs: Coroutine[Any, Any, None]) -> None:
    """Do the jobs for so long; they end earlier only by raising."""
    tasks = [asyncio.create_task(job, name="measure camera") for job in jobs]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Camera:
    """A camera device for pyvirtualcam that notes what arrives."""

    seen: ClassVar[list[Seen]] = []

    def __init__(self, *, width: int, height: int, device: str | None, **_: Any) -> None:
        self._shape = (height, width * 3)

    def send(self, frame: NDArray[np.uint8]) -> None:
        self.seen.append(Seen(time.monotonic(), _digest(frame.reshape(self._shape))))

    def close(self) -> None:
        pass

    def device(self) -> str:
        return "measured camera"

    def native_fourcc(self) -> None:
        return None


@contextlib.contextmanager
def _camera_noting(arrivals: list[Seen]) -> Iterator[None]:
    """Make pyvirtualcam know our device, until the block ends."""
    pyvirtualcam = import_pyvirtualcam()
    _Camera.seen = arrivals
    pyvirtualcam.register_backend(_BACKEND, _Camera)
    try:
        yield
    finally:
        del pyvirtualcam.camera.BACKENDS[_BACKEND]


@dataclass
class _Sent:
    """What the session gave out.

    Attributes:
        pictures: digest of each moment's frame, as the camera should get it, by index.
        voice: ``[1920]`` of each moment, by index.
    """

    settings: CameraSettings
    pictures: dict[int, int] = field(default_factory=dict)
    voice: dict[int, NDArray[np.int16]] = field(default_factory=dict)

    async def note(self, session: LiveSession, put: Any) -> None:
        """Pass the session's moments on, noting them."""
        settings = self.settings
        letterbox = Letterbox(settings.width, settings.height, parse_colour(settings.background))
        async with contextlib.aclosing(session.moments()) as moments:
            async for moment in moments:
                put(moment, session.id)
                frame = letterbox.frame(moment.rgb)
                self.pictures[moment.index] = _digest(frame.reshape(settings.height, -1))
                self.voice[moment.index] = moment.pcm


def _digest(rows: NDArray[np.uint8]) -> int:
    """A number that tells a frame ``[H, 3 W]`` from others; every eighth line will do."""
    return zlib.crc32(rows[::8].tobytes())


@contextlib.contextmanager
def _record(server: str) -> Iterator[list[Heard]]:
    """Record the virtual microphone as a meeting tool would; yields what has come, growing."""
    process = subprocess.Popen(
        [
            "parec",
            f"--server={server}",
            f"--device={SOURCE}",
            "--raw",
            "--format=s16le",
            f"--rate={VOICE_RATE}",
            "--channels=1",
            f"--latency-msec={_BLOCK_MS}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    heard: list[Heard] = []
    descriptor = process.stdout.fileno()

    def read() -> None:
        while data := os.read(descriptor, 65_536):
            heard.append(Heard(time.monotonic(), np.frombuffer(data, np.int16)))

    reader = threading.Thread(target=read, name="measure recorder", daemon=True)
    reader.start()
    try:
        yield heard
    finally:
        process.terminate()
        process.wait()
        reader.join(5.0)
        process.stdout.close()


async def _speak(session: LiveSession, voice: NDArray[np.int16]) -> None:
    """Speak the voice, again and again, as a microphone brings it."""
    start_s = time.monotonic()
    number = 0
    whole = voice[: voice.size // CHUNK_SAMPLES * CHUNK_SAMPLES]
    while True:
        number += 1
        due_s = start_s + number * CHUNK_SAMPLES / VOICE_RATE
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        at = (number - 1) * CHUNK_SAMPLES % whole.size
        session.session.push_voice(whole[at : at + CHUNK_SAMPLES])


def _synthetic_voice() -> NDArray[np.int16]:
    from daetalker.streamer.bench import synthetic_voice

    return synthetic_voice()


def _fail(message: str) -> None:
    raise MeasureError(f"the measured outputs failed ({message})")
