"""VoiceReceiver: the microphone's packets, decoded the moment they can be.

aiortc keeps four packets (80 ms) of every voice in a buffer of its own, which no parameter of a
connection changes, waits 320 ms for a packet that is lost, and hands decoding to a thread.  So
`attach` puts its own buffer in that one's place, a private member of the library's receiver; where
a version of the library has none of that name, the voice comes through the library as it would
anyway, later but whole.  Decoding takes 0.1 ms a packet and happens on the event loop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from daetalker.streamer.audio_limit import AudioLimit
from daetalker.streamer.concealment import Concealer
from daetalker.streamer.jitter import JitterBuffer, Loss
from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_RATE
from daetalker.streamer.metrics import Metrics

__all__ = ["VoiceReceiver"]

logger = logging.getLogger(__name__)

Hear = Callable[[NDArray[np.int16], int], None]

_MEMBER = "_RTCRtpReceiver__jitter_buffer"
_MOST_CONCEALED = 10
"""Packets of one loss that are filled; what is longer is a pause, which the intake fills."""


class VoiceReceiver:
    """Decodes one client's Opus to mono at 48 kHz.

    Attributes:
        jitter: how many packets were lost or late.
        concealed: samples made up in place of lost ones.
        broken: packets that were not Opus.
    """

    def __init__(
        self,
        hear: Hear,
        metrics: Metrics | None = None,
        too_much: Callable[[], None] = lambda: None,
    ) -> None:
        """Call ``hear`` with ``[N]`` int16 and the position of its first sample, in order.

        Args:
            too_much: called when the client floods, and again with every packet from then on.
        """
        self._limit = AudioLimit(time.monotonic)
        self._too_much = too_much
        self._metrics = metrics or Metrics()
        self.jitter = JitterBuffer()
        self.concealed = 0
        self.broken = 0
        self._hear = hear
        self._concealer = Concealer()
        self._codec: AudioCodecContext | None = None
        self._expected: int | None = None
        self._packet_samples = CHUNK_SAMPLES

    def attach(self, receiver: RTCRtpReceiver) -> bool:
        """Take the place of the library's buffer; False if this version has it elsewhere."""
        if not hasattr(receiver, _MEMBER):
            logger.warning("this version of aiortc keeps 80 ms of every voice back")
            return False
        setattr(receiver, _MEMBER, _Place(self))
        return True

    def packet(self, sequence: int, timestamp: int, data: bytes) -> None:
        """Take one RTP packet's payload as it arrived."""
        if not self._limit.take():
            if self._limit.exhausted:
                self._too_much()
            return
        for item in self.jitter.push(sequence, timestamp, data, time.monotonic()):
            if isinstance(item, Loss):
                self._conceal(item.packets)
            elif item.data:
                self._metrics.stage("receive", item.held_s)
                self._decode(item.data, item.position)

    async def follow(self, track: MediaStreamTrack) -> None:
        """Return when the track ends; hear what the library decodes, if it does."""
        resampler = av.AudioResampler(format="s16", layout="mono", rate=VOICE_RATE)
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if isinstance(frame, av.AudioFrame):
                for sound in resampler.resample(frame):
                    self._give(_mono(sound), _position(sound, self._expected))

    def _decode(self, data: bytes, position: int) -> None:
        if self._codec is None:
            self._codec = _opus()
        try:
            sounds = self._codec.decode(av.Packet(data))
        except av.FFmpegError:  # bad input of the client's, not worth its connection
            self.broken += 1
            self._codec = None
            self._conceal(1)
            return
        for sound in sounds:
            pcm = _mono(sound)
            self._packet_samples = max(pcm.size, 1)
            self._give(self._concealer.hear(pcm), position)
            position += pcm.size

    def _conceal(self, packets: int) -> None:
        if self._expected is None or packets > _MOST_CONCEALED:
            return
        samples = packets * self._packet_samples
        self.concealed += samples
        self._give(self._concealer.fill(samples), self._expected)

    def _give(self, pcm: NDArray[np.int16], position: int) -> None:
        self._expected = position + pcm.size
        self._hear(pcm, position)


class _Place:
    """What the library's receiver calls instead of its own buffer."""

    def __init__(self, voice: VoiceReceiver) -> None:
        self._voice = voice

    def add(self, packet: Any) -> tuple[bool, None]:
        self._voice.packet(packet.sequence_number, packet.timestamp, packet._data)
        return False, None  # no picture to ask for again, nothing for the library to decode


def _opus() -> AudioCodecContext:
    codec = av.CodecContext.create("libopus", "r")
    assert isinstance(codec, AudioCodecContext)
    codec.format = "s16"
    codec.layout = "mono"  # Opus mixes stereo down by itself
    codec.sample_rate = VOICE_RATE
    return codec


def _mono(sound: av.AudioFrame) -> NDArray[np.int16]:
    pcm: NDArray[np.int16] = sound.to_ndarray().reshape(-1).astype(np.int16)
    return pcm


def _position(sound: av.AudioFrame, expected: int | None) -> int:
    if sound.pts is None or sound.time_base is None:
        return expected or 0
    return round(sound.pts * sound.time_base * VOICE_RATE)
