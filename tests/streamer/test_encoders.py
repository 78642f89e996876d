from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import aiortc.codecs
import av
import numpy as np
import pytest
from aiortc import RTCRtpSender
from aiortc.codecs import get_encoder, h264, vpx
from aiortc.jitterbuffer import JitterFrame
from numpy.typing import NDArray

from daetalker.streamer.encoders import (
    MOST_UP_S,
    UP_S,
    BitRate,
    PictureEncoder,
    VoiceEncoder,
    install_encoders,
)
from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_RATE
from tests.tiny import tiny_speech

SIZE = 128


class Line:
    """A rate, and a receiver that sees 25 pictures a second of some size come in."""

    def __init__(self, start: int) -> None:
        self.s = 0.0
        self.rate = BitRate(start, 100_000, 3_000_000, lambda: self.s)

    def send(self, seconds: float, bit_s: float) -> None:
        for _ in range(round(seconds * 25)):
            self.s += 0.04
            self.rate.sent(round(bit_s / 8 / 25))


def test_an_estimate_that_what_is_sent_does_not_fill_changes_nothing() -> None:
    """As an estimator says at first of the best of lines: half as much again as it has seen."""
    line = Line(2_000_000)
    for estimate in (620_000, 650_000, 700_000, 610_000):
        line.send(3.0, 480_000)
        line.rate.estimated(estimate)
        assert line.rate.bit_s == 2_000_000


def test_a_full_line_is_heeded_at_once_and_its_little_moves_are_not() -> None:
    line = Line(2_000_000)
    line.send(2.0, 450_000)
    line.rate.estimated(200_000)
    assert line.rate.bit_s == 180_000
    for estimate in itertools.islice(itertools.cycle((205_000, 195_000, 215_000, 190_000)), 40):
        line.send(0.5, 170_000)
        line.rate.estimated(estimate)
        assert line.rate.bit_s == 180_000
    line.rate.estimated(1)
    assert line.rate.bit_s == 100_000


def test_more_is_tried_ever_more_rarely_where_it_was_too_much() -> None:
    line = Line(400_000)
    waits: list[float] = []
    for _ in range(6):
        began_s = line.s
        while line.rate.bit_s == (low := 200_000 if waits else 400_000):
            line.send(0.5, 0.9 * low)
            line.rate.estimated(2 * low)
        waits.append(line.s - began_s)
        assert line.rate.bit_s == 1.5 * low
        line.send(1.0, 1.4 * low)
        line.rate.estimated(222_222)  # nine tenths of it: 200,000
        assert line.rate.bit_s == 200_000
    assert waits[0] == pytest.approx(UP_S, abs=0.6)
    assert waits[1:3] == pytest.approx([2 * UP_S - 1, 4 * UP_S - 1], abs=1.6)
    assert max(waits) <= MOST_UP_S + 0.6


def picture(number: int) -> av.VideoFrame:
    """A face's worth of soft shapes that move, with fine texture that does too."""
    y, x = np.mgrid[:SIZE, :SIZE] + np.array([0.3, 0.7])[:, None, None] * number
    soft = 90 * np.sin(x / 17) * np.cos(y / 23)
    fine = 12 * np.sin(x * 1.3) * np.sin(y * 1.1)
    rgb = np.clip(128 + np.stack([soft + fine, soft, fine], -1), 0, 255).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    frame.pts, frame.time_base = number * 3600, Fraction(1, 90_000)
    return frame


def is_complete(payloads: list[bytes]) -> bool:
    """A key frame: the lowest bit after the payload descriptor is 0 (RFC 7741, 4.3)."""
    _, data = vpx.VpxPayloadDescriptor.parse(payloads[0])
    return not data[0] & 1


def test_only_a_change_of_the_rate_or_a_wish_costs_a_complete_picture() -> None:
    encoder: Any = PictureEncoder()
    complete = []
    for number in range(60):
        if number == 40:
            encoder._rate.bit_s = 150_000
        payloads, timestamp = encoder.encode(picture(number), force_keyframe=number == 20)
        assert timestamp == number * 3600
        if is_complete(payloads):
            complete.append(number)
        encoder.target_bitrate = 900_000 + 40_000 * (number % 7)
    assert complete == [0, 20, 40]


def likeness(encoder: Any) -> tuple[float, int]:
    """PSNR of the brightness of 40 pictures, dB, and bytes."""
    decoder = av.CodecContext.create("libvpx", "r")
    errors, size = [], 0
    for number in range(40):
        frame = picture(number)
        payloads, _ = encoder.encode(frame)
        data = b"".join(vpx.vp8_depayload(payload) for payload in payloads)
        size += len(data)
        (decoded,) = decoder.decode(av.Packet(data))
        truth = frame.reformat(format="yuv420p").to_ndarray()[:SIZE].astype(float)
        errors.append(np.square(decoded.to_ndarray()[:SIZE] - truth).mean())
    return float(10 * np.log10(255**2 / np.mean(errors))), size


def test_a_generated_picture_is_not_smoothed() -> None:
    ours, our_size = likeness(PictureEncoder())
    theirs, their_size = likeness(vpx.Vp8Encoder())
    print(f"{ours:.1f} dB in {our_size} bytes, aiortc's {theirs:.1f} dB in {their_size}")
    assert ours > theirs + 1.0


def voice_packets(speech: NDArray[np.int16]) -> list[bytes]:
    encoder, packets = VoiceEncoder(), []
    for start in range(0, len(speech) - CHUNK_SAMPLES + 1, CHUNK_SAMPLES):
        chunk = speech[start : start + CHUNK_SAMPLES].reshape(1, -1)
        sound = av.AudioFrame.from_ndarray(chunk, format="s16", layout="mono")
        sound.sample_rate, sound.pts = VOICE_RATE, start
        sound.time_base = Fraction(1, VOICE_RATE)
        payloads, _ = encoder.encode(sound)
        packets += payloads
    return packets


def test_the_voice_is_mono_at_half_the_rate_and_each_packet_holds_the_one_before() -> None:
    speech = np.rint(tiny_speech(4.0, rate=VOICE_RATE) * 32767).astype(np.int16)
    packets = voice_packets(speech)
    assert len(packets) == 4 * 50
    kbit_s = sum(map(len, packets)) * 8 / 4 / 1000
    assert 24 < kbit_s < 60
    # RFC 6716: bit 2 of the first byte says stereo (3.1); of a mono packet of 20 ms that has a
    # SILK part, the second bit after it says that it holds the one before (4.2.3, 4.2.4).
    assert not any(packet[0] & 0b100 for packet in packets)
    spare = [packet[0] >> 3 < 16 and bool(packet[1] & 0x40) for packet in packets[10:]]
    assert np.mean(spare) > 0.5


def test_the_voice_comes_out_as_it_went_in() -> None:
    from aiortc.codecs.opus import OpusDecoder

    speech = np.rint(tiny_speech(2.0, rate=VOICE_RATE) * 32767).astype(np.int16)
    decoder, heard = OpusDecoder(), []
    for number, packet in enumerate(voice_packets(speech)):
        for sound in decoder.decode(JitterFrame(packet, number * CHUNK_SAMPLES)):
            assert isinstance(sound, av.AudioFrame)
            heard.append(sound.to_ndarray().reshape(-1, 2)[:, 0])
    line = np.concatenate(heard).astype(float)
    spoken = speech[VOICE_RATE // 2 : VOICE_RATE].astype(float)
    best = max(
        np.corrcoef(spoken, line[VOICE_RATE // 2 + shift : VOICE_RATE + shift])[0, 1]
        for shift in range(0, 960, 4)
    )
    assert best > 0.95


def test_connections_get_these_encoders_at_the_bit_rate_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (vpx, h264):
        for name in ("DEFAULT_BITRATE", "MIN_BITRATE", "MAX_BITRATE"):
            monkeypatch.setattr(module, name, getattr(module, name))
    for name in ("Vp8Encoder", "OpusEncoder"):
        monkeypatch.setattr(aiortc.codecs, name, getattr(aiortc.codecs, name))
    install_encoders(2000)
    made: dict[str, Any] = {}
    for kind in ("audio", "video"):
        for codec in RTCRtpSender.getCapabilities(kind).codecs:
            if codec.mimeType.lower() != "video/rtx":
                made[codec.mimeType.lower()] = get_encoder(codec)  # type: ignore[arg-type]
    assert isinstance(made["audio/opus"], VoiceEncoder)
    assert isinstance(made["video/vp8"], PictureEncoder)
    for name in ("video/vp8", "video/h264"):
        assert made[name].target_bitrate == 2_000_000
    made["video/h264"].target_bitrate = 50_000_000
    assert made["video/h264"].target_bitrate == 3_000_000
