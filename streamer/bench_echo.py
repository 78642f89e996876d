"""What this machine needs at this moment for the parts that are not ours.

The baseline of `daetalker bench check`: two bare connections of the WebRTC library in this process,
one speaking Opus, the other sending VP8 pictures of the avatar's size, and the networks run for
themselves.  No code of the pipeline takes part, so a pipeline that gets slower does not move it,
while a slower or busier machine does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from daetalker.streamer.bench_client import BenchError, SpeechTrack
from daetalker.streamer.engine import Engine
from daetalker.streamer.media import FPS, FRAME_S
from daetalker.streamer.profile import Profile
from daetalker.streamer.tracks import FRAME_TICKS, VIDEO_CLOCK_HZ

__all__ = ["Baseline", "measure_baseline"]

CONNECT_TIMEOUT_S = 20.0
PREFETCH_PACKETS = 4
"""The library gives a packet out when so many more have come; that wait is not the machine's."""


@dataclass(frozen=True)
class Baseline:
    """Medians in milliseconds.

    Attributes:
        receive: packet handed to the sender until decoded, less the library's own wait.
        compute: a hop's networks and one frame.
        encode: a picture's conversion, encoding and sending.
        network_ms: of each network alone.
    """

    receive: float
    compute: float
    encode: float
    network_ms: Mapping[str, float]

    def mouth_to_screen_ms(self, profile: Profile) -> float:
        """The delay to expect: these parts, and the profile's hop and look-ahead."""
        nominal_ms = (profile.hop_frames + profile.lookahead_frames) * FRAME_S * 1000
        return self.receive + nominal_ms + self.compute + self.encode

    def slower(self, other: Baseline) -> Baseline:
        """The slower of two in every part, for a machine that changed in between."""
        networks = {name: max(ms, other.network_ms[name]) for name, ms in self.network_ms.items()}
        return Baseline(
            max(self.receive, other.receive),
            max(self.compute, other.compute),
            max(self.encode, other.encode),
            networks,
        )


async def measure_baseline(
    engine: Engine, voice: NDArray[np.int16], size: int, seconds: float
) -> Baseline:
    """Measure for so many seconds, plus the time of connecting.

    Raises:
        BenchError: if the two ends do not connect.
    """
    network_ms = await asyncio.to_thread(engine.warm_up)
    handed_s: list[float] = []
    decoded_s: list[float] = []
    pictures = _Pictures(size)
    speaker, listener = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    tasks: list[asyncio.Task[None]] = []
    arrived = asyncio.Event()

    async def note(track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()
                if track.kind == "audio":
                    decoded_s.append(time.monotonic())
                    arrived.set()

    def follow(track: MediaStreamTrack) -> None:
        tasks.append(asyncio.create_task(note(track), name="bench echo"))

    try:
        speaker.on("track", follow)
        listener.on("track", follow)
        speaker.addTrack(SpeechTrack(voice, handed_s))
        speaker.addTransceiver("video", direction="recvonly")
        listener.addTrack(pictures)
        await speaker.setLocalDescription()
        await listener.setRemoteDescription(speaker.localDescription)
        await listener.setLocalDescription()
        await speaker.setRemoteDescription(listener.localDescription)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await arrived.wait()
        await asyncio.sleep(seconds)
    except TimeoutError:
        raise BenchError("no sound came: is UDP between local ports allowed?") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await speaker.close()
        await listener.close()
    receive_ms = [
        (at - handed_s[number + PREFETCH_PACKETS]) * 1000
        for number, at in enumerate(decoded_s[: max(len(handed_s) - PREFETCH_PACKETS, 0)])
    ]
    if not receive_ms or not pictures.encode_ms:
        raise BenchError("the machine is too busy to measure what it needs by itself")
    return Baseline(
        receive=max(float(np.median(receive_ms)), 0.0),
        compute=sum(network_ms.values()),
        encode=float(np.median(pictures.encode_ms)),
        network_ms=network_ms,
    )


class _Pictures(MediaStreamTrack):
    """A moving pattern at 25 frames a second; notes how long each picture took to leave."""

    kind = "video"

    def __init__(self, size: int) -> None:
        super().__init__()
        self.encode_ms: list[float] = []
        self._taken_s: float | None = None
        self._start_s: float | None = None
        self._count = 0
        ramp = np.add.outer(np.arange(size), np.arange(size)) % 256
        self._pattern = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2).astype(np.uint8)

    async def recv(self) -> av.VideoFrame:
        # The sender asks for the next picture once every packet of the last one is sent.
        now_s = time.monotonic()
        if self._taken_s is not None:
            self.encode_ms.append((now_s - self._taken_s) * 1000)
        if self.readyState != "live":
            raise MediaStreamError
        if self._start_s is None:
            self._start_s = now_s
        await asyncio.sleep(max(0.0, self._start_s + self._count / FPS - now_s))
        pixels = np.roll(self._pattern, self._count, axis=0)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        picture.pts = self._count * FRAME_TICKS
        picture.time_base = Fraction(1, VIDEO_CLOCK_HZ)
        self._count += 1
        self._taken_s = time.monotonic()
        return picture
