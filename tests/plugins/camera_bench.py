"""What the camera's tests share: a camera device that notes, a recorder that times, moments."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import VOICE_PER_FRAME
from daetalker.streamer.pairing import Moment

RATE = 48_000
BACKEND = "daetalker-test"
PATIENCE_S = 60.0


class FakeCamera:
    """A backend of pyvirtualcam: the package's own checks run before this gets a frame.

    Attributes:
        frames: when each frame came, and the frame.
        gone: True makes the device refuse, as one that was unloaded does.
    """

    frames: ClassVar[list[tuple[float, NDArray[np.uint8]]]] = []
    opened: ClassVar[int] = 0
    closed: ClassVar[int] = 0
    gone: ClassVar[bool] = False

    @classmethod
    def reset(cls) -> None:
        cls.frames, cls.opened, cls.closed, cls.gone = [], 0, 0, False

    def __init__(
        self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **_: Any
    ) -> None:
        if FakeCamera.gone:
            raise RuntimeError("the device is not there")
        self._device = device or "/dev/video7"
        self._shape = (height, width, 3)
        FakeCamera.opened += 1

    def send(self, frame: NDArray[np.uint8]) -> None:
        if FakeCamera.gone:
            raise RuntimeError("write: no such device")
        FakeCamera.frames.append((time.monotonic(), frame.reshape(self._shape).copy()))

    def close(self) -> None:
        FakeCamera.closed += 1

    def device(self) -> str:
        return self._device

    def native_fourcc(self) -> None:
        return None


def moment(
    index: int, pcm: NDArray[np.int16] | None = None, level: int = 0, size: int = 32
) -> Moment:
    """One moment with a plain grey picture; silent without ``pcm``."""
    sound = np.zeros(VOICE_PER_FRAME, np.int16) if pcm is None else pcm
    rgb = np.full((size, size, 3), level, np.uint8)
    return Moment(index, rgb, (0.0, 0.0, 0.0), pcm is not None, sound, None, False, False)


def eventually(condition: Callable[[], Any], what: str) -> None:
    """Wait until it holds."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, f"never: {what}"
        time.sleep(0.05)


class Recorder:
    """Records a source as a meeting tool does, noting when each block comes."""

    def __init__(self) -> None:
        self.blocks: list[tuple[float, NDArray[np.int16]]] = []

    @property
    def sound(self) -> NDArray[np.int16]:
        pieces = [block for _, block in list(self.blocks)]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def came_s(self, sample: int) -> float:
        """When a sample was heard, as a microphone's: its block lasted until it came."""
        end = 0
        for time_s, block in self.blocks:
            end += block.size
            if end > sample:
                return time_s - (end - sample) / RATE
        raise IndexError(sample)


@contextlib.contextmanager
def recording(server: str, source: str) -> Iterator[Recorder]:
    """Record until the block ends."""
    command = ["parec", f"--server={server}", f"--device={source}", "--raw", "--format=s16le"]
    process = subprocess.Popen(
        [*command, f"--rate={RATE}", "--channels=1", "--latency-msec=20"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    recorder, descriptor = Recorder(), process.stdout.fileno()

    def read() -> None:
        while data := os.read(descriptor, 1 << 16):
            recorder.blocks.append((time.monotonic(), np.frombuffer(data, np.int16)))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        eventually(lambda: recorder.blocks, "anything recorded")
        yield recorder
    finally:
        process.terminate()
        process.wait()
        thread.join()
        process.stdout.close()


def place_of(piece: NDArray[np.int16], sound: NDArray[np.int16]) -> tuple[int, float]:
    """Where in ``sound`` the piece is, and how like it is: 1 for an exact copy."""
    size = 1 << (piece.size + sound.size).bit_length()
    wanted, there = piece.astype(np.float64), sound.astype(np.float64)
    product = np.fft.rfft(there, size) * np.conj(np.fft.rfft(wanted, size))
    likeness = np.fft.irfft(product, size)[: max(1, sound.size - piece.size + 1)]
    best = int(np.argmax(likeness))
    norm = np.linalg.norm(there[best : best + piece.size]) * np.linalg.norm(wanted)
    return best, float(likeness[best] / norm) if norm else 0.0


def rumble(seconds: float, seed: int = 0) -> NDArray[np.int16]:
    """A dull noise: a piece of it is known again when the voice was stretched a little."""
    rng = np.random.default_rng(seed)
    dull = np.convolve(rng.standard_normal(round(seconds * RATE)), np.ones(40) / 40, "same")
    return np.asarray(np.clip(dull * 30_000, -32_000, 32_000), np.int16)


SURE = 0.8
"""Likeness of 40 ms of `rumble` above which it is no chance, which gives up to 0.6."""


def heard(voice: NDArray[np.int16], sound: NDArray[np.int16]) -> bool:
    """True if two pieces of the voice's middle are there, at their distance."""
    middle, apart = voice.size // 2, RATE // 5
    pieces = [voice[at : at + 1920] for at in (middle, middle + apart)]
    if sound.size < 2 * apart:
        return False
    (first, one), (second, two) = (place_of(piece, sound) for piece in pieces)
    return one > SURE and two > SURE and abs(second - first - apart) < 0.01 * apart
