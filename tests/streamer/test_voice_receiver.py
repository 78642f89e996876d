"""The voice receiver with real Opus, and at the library's real receiver."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from aiortc import RTCRtpReceiver
from aiortc.codecs.opus import OpusEncoder
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError
from numpy.typing import NDArray

from daetalker.streamer.bench_sound import find_shift
from daetalker.streamer.voice_receiver import VoiceReceiver
from tests.streamer.test_concealment import hum

CHUNK = 960


def opus(voice: NDArray[np.int16]) -> list[bytes]:
    encoder, packets = OpusEncoder(), []
    for n in range(voice.size // CHUNK):
        sound = av.AudioFrame.from_ndarray(
            voice[None, n * CHUNK : (n + 1) * CHUNK], format="s16", layout="mono"
        )
        sound.sample_rate, sound.pts, sound.time_base = 48_000, n * CHUNK, Fraction(1, 48_000)
        packets += encoder.encode(sound)[0]
    return packets


class Ear:
    def __init__(self) -> None:
        self.starts: list[int] = []
        self.pieces: list[NDArray[np.int16]] = []

    def __call__(self, pcm: NDArray[np.int16], position: int) -> None:
        self.starts.append(position)
        self.pieces.append(pcm)

    @property
    def line(self) -> NDArray[np.int16]:
        return np.concatenate(self.pieces)

    def has_no_holes(self) -> bool:
        ends = [s + piece.size for s, piece in zip(self.starts, self.pieces, strict=True)]
        return self.starts[1:] == ends[:-1]


def test_every_packet_is_heard_as_it_comes() -> None:
    ear, voice = Ear(), hum(140, 50)
    receiver = VoiceReceiver(ear)
    for n, packet in enumerate(opus(voice)):
        receiver.packet(n, n * CHUNK, packet)
        assert len(ear.pieces) == n + 1, "nothing is held back"
    assert ear.has_no_holes()
    _, likeness = find_shift(voice[4800 : 20 * CHUNK], ear.line)
    assert likeness > 0.88, "Opus keeps the sound, not the samples"


def test_lost_packets_are_filled_and_the_voice_goes_on_in_its_place() -> None:
    ear, voice = Ear(), hum(140, 50)
    receiver = VoiceReceiver(ear)
    lost = {20, 31, 32}
    for n, packet in enumerate(opus(voice)):
        if n not in lost:
            receiver.packet(n, n * CHUNK, packet)
            if n + 1 not in lost:  # as if 20 ms had passed
                held = receiver.jitter._held
                for place, (since_s, timestamp, data) in list(held.items()):
                    held[place] = (since_s - 0.02, timestamp, data)
    assert ear.has_no_holes()
    assert receiver.concealed == 3 * CHUNK
    assert receiver.jitter.lost == 3
    filled = ear.line[20 * CHUNK : 21 * CHUNK]
    assert np.abs(filled).max() > 0.5 * np.abs(voice).max()


def test_what_is_no_opus_costs_its_own_moment_only() -> None:
    ear, voice = Ear(), hum(140, 30)
    receiver = VoiceReceiver(ear)
    for n, packet in enumerate(opus(voice)):
        receiver.packet(n, n * CHUNK, b"\xff" * 3 if n == 10 else packet)
    assert receiver.broken == 1
    assert ear.has_no_holes()
    assert np.abs(ear.line[-5 * CHUNK :]).max() > 3000


def test_an_empty_packet_is_no_sound() -> None:
    ear = Ear()
    VoiceReceiver(ear).packet(0, 0, b"")
    assert ear.pieces == []


def test_the_library_still_has_the_member_that_is_replaced() -> None:
    """Else 80 ms more delay for everybody: look for its new name."""
    connection = SimpleNamespace(state="new")
    receiver = RTCRtpReceiver("audio", connection)  # type: ignore[arg-type]
    ear = Ear()
    voice = VoiceReceiver(ear)
    assert voice.attach(receiver)
    place = receiver._RTCRtpReceiver__jitter_buffer  # type: ignore[attr-defined]
    packets = opus(hum(140, 3))
    packet = SimpleNamespace(sequence_number=7, timestamp=5, _data=packets[0])
    assert place.add(packet) == (False, None)
    assert ear.starts == [5]


async def test_with_another_library_the_voice_comes_its_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ear = Ear()
    voice = VoiceReceiver(ear)
    assert not voice.attach(SimpleNamespace())  # type: ignore[arg-type]
    assert "80 ms" in caplog.text

    class Three(AudioStreamTrack):
        left = 3

        async def recv(self) -> av.AudioFrame:
            if not self.left:
                raise MediaStreamError
            self.left -= 1
            return await super().recv()  # type: ignore[return-value]

    async with asyncio.timeout(10):
        await voice.follow(Three())
    assert ear.has_no_holes()
    assert ear.line.size >= 2 * CHUNK
