"""The two outgoing tracks: an outlet's frames and voice as the WebRTC library wants them."""

from __future__ import annotations

import time
from fractions import Fraction

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.media import FPS, VOICE_RATE
from daetalker.streamer.metrics import Metrics
from daetalker.streamer.session import Outlet
from daetalker.streamer.tap import MediaTap

VIDEO_CLOCK_HZ = 90_000
FRAME_TICKS = VIDEO_CLOCK_HZ // FPS


class Departures:
    """When picture and voice leave, for one connection's figures: their drift, and encoding."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._voice_s: float | None = None
        self._taken_s: float | None = None

    def voice(self, start: int) -> None:
        """The chunk that begins at 48 kHz sample ``start`` leaves."""
        self._voice_s = time.monotonic() - start / VOICE_RATE

    def picture(self, index: int) -> None:
        """Frame ``index`` goes to the encoder."""
        self._taken_s = time.monotonic()
        if self._voice_s is not None:
            self._metrics.drift(1000 * (self._taken_s - index / FPS - self._voice_s))

    def sent(self) -> None:
        """The last packet of the frame has left."""
        if self._taken_s is not None:
            self._metrics.stage("encode", time.monotonic() - self._taken_s)
            self._taken_s = None


class VideoTrack(MediaStreamTrack):
    """Frames at their due time, with the frame's index as its timestamp.

    The outlet paces, so the timestamps are exact multiples of 40 ms even where sending jitters.
    Frames stay RGB here: the encoder's worker thread converts them, off the event loop.
    """

    kind = "video"

    def __init__(
        self, outlet: Outlet, tap: MediaTap | None = None, departures: Departures | None = None
    ) -> None:
        super().__init__()
        self._id = f"synthetic-{self._id}"  # the track's name in the SDP, and in the browser
        self._outlet = outlet
        self._tap = tap
        self._departures = departures
        self._last_index: int | None = None

    async def recv(self) -> av.VideoFrame:
        # The sender asks for the next frame once every packet of the last one is sent.
        if self._tap is not None and self._last_index is not None:
            self._tap.sent(self._last_index)
        if self._departures is not None:
            self._departures.sent()
        if self.readyState != "live":
            raise MediaStreamError
        try:
            frame = await self._outlet.video()
        except SessionClosed:
            self.stop()
            raise MediaStreamError from None
        if self._tap is not None:
            self._tap.taken(frame.index)
        if self._departures is not None:
            self._departures.picture(frame.index)
        self._last_index = frame.index
        picture = av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")
        picture.pts = frame.index * FRAME_TICKS
        picture.time_base = Fraction(1, VIDEO_CLOCK_HZ)
        return picture


class VoiceTrack(MediaStreamTrack):
    """The speaker's own voice, delayed as the video is, 20 ms at a time."""

    kind = "audio"

    def __init__(
        self, outlet: Outlet, tap: MediaTap | None = None, departures: Departures | None = None
    ) -> None:
        super().__init__()
        self._outlet = outlet
        self._tap = tap
        self._departures = departures

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        try:
            chunk = await self._outlet.voice()
        except SessionClosed:
            self.stop()
            raise MediaStreamError from None
        if self._tap is not None:
            self._tap.voice(chunk.start, chunk.pcm)
        if self._departures is not None:
            self._departures.voice(chunk.start)
        sound = av.AudioFrame.from_ndarray(chunk.pcm.reshape(1, -1), format="s16", layout="mono")
        sound.sample_rate = VOICE_RATE
        sound.pts = chunk.start
        sound.time_base = Fraction(1, VOICE_RATE)
        return sound
