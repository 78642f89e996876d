"""How picture and voice are packed for a connection, in place of aiortc's own encoders.

aiortc's VP8 encoder smooths the picture against a camera's noise, which a generated picture does
not have: without it the mouth of the demo avatar is 2.4 dB nearer to what was drawn, with fewer
bits and a fifth less time.  It is also made anew, with a complete picture, whenever the receiver's
estimate of the line moves by a tenth, which an estimate does all the time; `BitRate` moves it when
the line demands it.  No parameter of a connection changes any of this, nor that encoders start at
0.5 (VP8) or 1 Mbit/s (H.264) and stop at 1.5.

aiortc's Opus encoder sends a voice in stereo at 96 kbit/s.  Here it is mono at half of that, and
each packet holds the packet before it once more, roughly (RFC 6716, section 2.1.7): a browser that
misses one packet takes it from the next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import aiortc.codecs
import av
from aiortc.codecs import h264, vpx
from aiortc.codecs.opus import SAMPLE_RATE, SAMPLES_PER_FRAME, OpusEncoder
from av.frame import Frame

__all__ = ["BitRate", "PictureEncoder", "VoiceEncoder", "install_encoders"]

LEAST_VIDEO_BIT_S = 100_000
VOICE_BIT_S = 48_000
LOSS_PERCENT = 15
"""Of packets, that the voice is made ready for.  It costs 0.07 dB of spectral distance."""

AVERAGED_S = 1.0
DOWN_S, UP_S, MOST_UP_S = 0.5, 8.0, 60.0


class BitRate:
    """At what rate to encode, by what the receiver says that its line can carry.

    An estimate is no more than half as much again as what was sent, however good the line is.  So
    it asks for less only if it is hardly more than what is being sent, and for more only if it is
    well over the present rate for a while, which becomes longer each time that more was too much.

    Pure but for the clock ``now``.
    """

    def __init__(
        self, start: int, least: int, most: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        """A rate of ``start`` bit/s, which stays between ``least`` and ``most``."""
        self.bit_s = start
        self._least, self._most = least, most
        self._now = now
        self._moved_s = self._sent_s = now()
        self._sent_bit_s = 0.0
        self._patience_s = UP_S
        self._raised = False

    def sent(self, size: int) -> None:
        """Note a picture of ``size`` bytes."""
        now_s = self._now()
        past_s = max(now_s - self._sent_s, 1e-3)
        self._sent_s = now_s
        share = 1 - math.exp(-past_s / AVERAGED_S)
        self._sent_bit_s += share * (size * 8 / past_s - self._sent_bit_s)

    def estimated(self, bit_s: int) -> None:
        """Heed the receiver's estimate of what the line can carry."""
        bit_s = max(self._least, min(bit_s, self._most))
        since_s = self._now() - self._moved_s
        if bit_s < min(1.05 * self._sent_bit_s, 0.95 * self.bit_s) and since_s >= DOWN_S:
            if self._raised:
                self._patience_s = min(2 * self._patience_s, MOST_UP_S)
            self._move(max(self._least, round(0.9 * bit_s)), raised=False)
        elif bit_s > 1.3 * self.bit_s and since_s >= self._patience_s:
            self._move(min(bit_s, round(1.5 * self.bit_s)), raised=True)

    def _move(self, bit_s: int, *, raised: bool) -> None:
        self.bit_s, self._moved_s, self._raised = bit_s, self._now(), raised


class PictureEncoder(vpx.Vp8Encoder):
    """VP8, as sharp as the line allows."""

    def __init__(self) -> None:
        super().__init__()
        self._rate = BitRate(vpx.DEFAULT_BITRATE, vpx.MIN_BITRATE, vpx.MAX_BITRATE)

    @property
    def target_bitrate(self) -> int:
        """Bit/s."""
        return self._rate.bit_s

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._rate.estimated(bitrate)

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """Packets of one picture, and its time."""
        assert isinstance(frame, av.VideoFrame)
        made: Any = self.codec
        wanted = (frame.width, frame.height, self._rate.bit_s)
        if made is None or (made.width, made.height, made.bit_rate) != wanted:
            self.codec = _vp8(*wanted)
        payloads, timestamp = super().encode(frame, force_keyframe)
        self._rate.sent(sum(map(len, payloads)))
        return payloads, timestamp


class VoiceEncoder(OpusEncoder):
    """Opus in mono, with what a lost packet held in the packet after it."""

    def __init__(self) -> None:
        super().__init__()
        self.codec.bit_rate = VOICE_BIT_S
        self.codec.layout = "mono"
        self.codec.options |= {"fec": "1", "packet_loss": str(LOSS_PERCENT)}
        self.resampler = av.AudioResampler(
            format="s16", layout="mono", rate=SAMPLE_RATE, frame_size=SAMPLES_PER_FRAME
        )


def install_encoders(kbit_s: int) -> None:
    """Let connections made from now on, in this process, use these; video starts at this rate.

    The receiver's estimate may move it between 100 kbit/s (or an eighth of the start, if that is
    less) and 1.5 times the start.
    """
    codecs: Any = aiortc.codecs
    codecs.Vp8Encoder, codecs.OpusEncoder = PictureEncoder, VoiceEncoder
    module: Any
    for module in (vpx, h264):
        module.DEFAULT_BITRATE = kbit_s * 1000
        module.MIN_BITRATE = min(kbit_s * 1000 // 8, LEAST_VIDEO_BIT_S)
        module.MAX_BITRATE = kbit_s * 1500


def _vp8(width: int, height: int, bit_s: int) -> Any:
    """As libwebrtc sets it for a constant rate, and as aiortc does but for the noise."""
    codec: Any = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height = width, height
    codec.pix_fmt = "yuv420p"
    codec.bit_rate = bit_s
    codec.gop_size = 3000
    codec.qmin, codec.qmax = 2, 56
    codec.thread_count = 1 if width * height <= 640 * 480 else 2
    codec.options = {
        "minrate": str(bit_s),
        "maxrate": str(bit_s),
        "bufsize": str(bit_s),  # one second
        "overshoot-pct": "15",
        "undershoot-pct": "100",
        "deadline": "realtime",
        "cpu-used": "-6",
        "lag-in-frames": "0",
        "noise-sensitivity": "0",
        "partitions": "0",
        "static-thresh": "1",
    }
    return codec
