"""The two outgoing tracks: an outlet's frames and voice as the WebRTC library wants them."""

from __future__ import annotations

from fractions import Fraction

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.media import FPS, VOICE_RATE
from daetalker.streamer.session import Outlet
from daetalker.streamer.tap import MediaTap

VIDEO_CLOCK_HZ = 90_000
FRAME_TICKS = VIDEO_CLOCK_HZ // FPS


class VideoTrack(MediaStreamTrack):
    """Frames at their due time, with the frame's index as its timestamp.

    The outlet paces, so the timestamps are exact multiples of 40 ms even where sending jitters.
    Frames stay RGB here: the encoder's worker thread converts them, off the event loop.
    """

    kind = "video"

    def __init__(self, outlet: Outlet, tap: MediaTap | None = None) -> None:
        super().__init__()
        self._outlet = outlet
        self._tap = tap
        self._last_index: int | None = None

    async def recv(self) -> av.VideoFrame:
        # The sender asks for the next frame once every packet of the last one is sent.
        if self._tap is not None and self._last_index is not None:
            self._tap.sent(self._last_index)
        if self.readyState != "live":
            raise MediaStreamError
        try:
            frame = await self._outlet.video()
        except SessionClosed:
            self.stop()
            raise MediaStreamError from None
        if self._tap is not None:
            self._tap.taken(frame.index)
        self._last_index = frame.index
        picture = av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")
        picture.pts = frame.index * FRAME_TICKS
        picture.time_base = Fraction(1, VIDEO_CLOCK_HZ)
        return picture


class VoiceTrack(MediaStreamTrack):
    """The speaker's own voice, delayed as the video is, 20 ms at a time."""

    kind = "audio"

    def __init__(self, outlet: Outlet, tap: MediaTap | None = None) -> None:
        super().__init__()
        self._outlet = outlet
        self._tap = tap

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
        sound = av.AudioFrame.from_ndarray(chunk.pcm.reshape(1, -1), format="s16", layout="mono")
        sound.sample_rate = VOICE_RATE
        sound.pts = chunk.start
        sound.time_base = Fraction(1, VOICE_RATE)
        return sound
