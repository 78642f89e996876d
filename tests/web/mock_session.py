"""A session of the mock server: a pose, a microphone's sound, and the tracks that show them."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack

from tests.web.mock_face import draw_face
from tests.web.mock_presets import MockPresets

FPS = 25
CHUNKS_PER_S = 50
CHUNK_BYTES = 1920
DELAY_CHUNKS = 18  # 360 ms


class MockSession:
    """What one client says and does; any number of others may watch it.

    Attributes:
        mouth: how the mouth moves: ``follows`` the voice, ``still`` or ``restless``.
        interrupted: how often it was told to stop speaking.
    """

    def __init__(self, session_id: str, mouth: str, presets: MockPresets) -> None:
        self.id = session_id
        self.mouth = mouth
        self.pose = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0}
        self.muted = False
        self.level = 0.0
        self.interrupted = 0
        self.ended = asyncio.Event()
        self._presets = presets
        self._target = dict(self.pose)
        self._preset: str | None = None
        self._release: asyncio.TimerHandle | None = None
        self._heard: deque[bytes] = deque(maxlen=100)  # full: the oldest 20 ms are dropped
        self._watchers: list[deque[bytes]] = []

    def command(self, message: dict[str, Any]) -> bool:
        """Do what a command says; False if it is none, KeyError for an unknown preset."""
        match message["type"]:
            case "pose":
                self._turn({axis: float(message[axis]) for axis in self.pose}, None)
            case "preset":
                preset = self._presets.find(message["name"])
                if preset is None:
                    raise KeyError(message["name"])
                target = {axis: float(preset[axis]) for axis in self.pose}
                self._turn(target, preset["name"], preset["hold_s"])
            case "natural":
                self._turn(dict.fromkeys(self.pose, 0.0), None)
            case "mute":
                self.muted = message["on"]
            case "interrupt":
                self._heard.clear()
                self.interrupted += 1
            case _:
                return False
        return True

    def _turn(
        self, target: dict[str, float], preset: str | None, hold_s: float | None = None
    ) -> None:
        if self._release is not None:
            self._release.cancel()
            self._release = None
        self._target, self._preset = target, preset
        if hold_s is not None:
            rest = dict.fromkeys(self.pose, 0.0)
            self._release = asyncio.get_running_loop().call_later(hold_s, self._turn, rest, None)

    def state(self) -> dict[str, Any]:
        """The fields of the message `state`."""
        return {
            "speaking": self.level > 0.05,
            "fps": 25.0,
            "latency_ms": 360.0,
            "late": 0,
            "pose": {axis: round(angle, 2) for axis, angle in self.pose.items()},
            "preset": self._preset,
            "muted": self.muted,
        }

    async def listen(self, track: MediaStreamTrack) -> None:
        """Take the microphone's sound until it ends."""
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                for sound in resampler.resample(frame):
                    self._heard.append(bytes(sound.planes[0])[: sound.samples * 2])

    def play(self) -> bytes:
        """The next 20 ms of the delayed voice; opens the mouth as loud as they are."""
        pcm = self._heard.popleft() if len(self._heard) > DELAY_CHUNKS else bytes(CHUNK_BYTES)
        pcm = pcm.ljust(CHUNK_BYTES, b"\0")[:CHUNK_BYTES]
        rms = float(np.sqrt(np.mean((np.frombuffer(pcm, np.int16) / 32768.0) ** 2)))
        self.level += 0.5 * (min(1.0, rms * 8) - self.level)
        for sound in self._watchers:
            sound.append(pcm)
        return pcm

    @contextlib.contextmanager
    def overheard(self) -> Iterator[deque[bytes]]:
        """A queue of what is played from now on, for somebody who watches."""
        sound: deque[bytes] = deque(maxlen=10)  # full: the oldest 20 ms are dropped
        self._watchers.append(sound)
        try:
            yield sound
        finally:
            self._watchers = [other for other in self._watchers if other is not sound]

    def ease(self) -> None:
        """One frame's way to where the head is wanted."""
        for axis, angle in self._target.items():
            self.pose[axis] += 0.2 * (angle - self.pose[axis])

    def opening(self, seconds: float) -> float:
        """Of the mouth, 0 to 1."""
        return {
            "follows": self.level,
            "still": 0.0,
            "restless": 0.5 + 0.5 * math.sin(seconds * 14),
        }[self.mouth]


class Voice(AudioStreamTrack):
    """The delayed voice: of the session's own microphone, or ``overheard`` by a watcher."""

    def __init__(self, session: MockSession, overheard: deque[bytes] | None = None) -> None:
        super().__init__()
        self._session = session
        self._overheard = overheard
        self._chunk = 0
        self._began: float | None = None

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        self._began = loop.time() if self._began is None else self._began
        await asyncio.sleep(max(0.0, self._began + self._chunk / CHUNKS_PER_S - loop.time()))
        if self._overheard is None:
            pcm = self._session.play()
        else:
            pcm = self._overheard.popleft() if self._overheard else bytes(CHUNK_BYTES)
        samples = np.frombuffer(pcm, np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = 48_000
        frame.pts, frame.time_base = self._chunk * 960, Fraction(1, 48_000)
        self._chunk += 1
        return frame


class Face(MediaStreamTrack):
    """The drawn face at 25 frames a second; the session's own also moves the head."""

    kind = "video"

    def __init__(self, session: MockSession, *, own: bool, frozen: asyncio.Event) -> None:
        super().__init__()
        self._session = session
        self._own = own
        self._frozen = frozen
        self._index = 0
        self._start: float | None = None

    async def recv(self) -> av.VideoFrame:
        loop = asyncio.get_running_loop()
        self._start = loop.time() if self._start is None else self._start
        while self._frozen.is_set():
            await asyncio.sleep(0.05)
        # Latest wins: a machine that cannot draw 25 a second skips some instead of falling behind.
        self._index = max(self._index + 1, int((loop.time() - self._start) * FPS))
        await asyncio.sleep(max(0.0, self._start + self._index / FPS - loop.time()))
        seconds = self._index / FPS
        if self._own:
            self._session.ease()
        pose = self._session.pose
        yaw = pose["yaw"] + 1.2 * math.sin(seconds * 1.3)
        opening = self._session.opening(seconds)
        rgb = await asyncio.to_thread(draw_face, opening, yaw, pose["pitch"], pose["roll"])
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = self._index * 3600, Fraction(1, 90_000)
        return frame
