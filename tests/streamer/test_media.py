from __future__ import annotations

import numpy as np
import pytest

from daetalker.streamer.media import (
    CHUNK_SAMPLES,
    VOICE_RATE,
    VoiceResampler,
    frame_count,
    to_model_rate,
)
from tests.tiny import tiny_speech, to_pcm

VOICE = to_pcm(tiny_speech(0.4, rate=VOICE_RATE))


@pytest.mark.parametrize("size", [1, 2, 160, 331, CHUNK_SAMPLES])
def test_resampler_chunked_equals_whole(size: int) -> None:
    chunked = VoiceResampler()
    pieces = [chunked.push(VOICE[at : at + size]) for at in range(0, VOICE.size, size)]
    np.testing.assert_array_equal(np.concatenate(pieces), VoiceResampler().push(VOICE))


def test_resampler_gives_a_third_of_the_samples_at_once() -> None:
    resampler = VoiceResampler()
    assert resampler.push(VOICE[:CHUNK_SAMPLES]).size == CHUNK_SAMPLES // 3
    assert resampler.push(VOICE[:CHUNK_SAMPLES]).size == CHUNK_SAMPLES // 3


def test_resampler_is_causal() -> None:
    changed = VOICE.copy()
    changed[9000:] = 0
    np.testing.assert_array_equal(
        to_model_rate(VOICE)[: 9000 // 3], to_model_rate(changed)[: 9000 // 3]
    )


@pytest.mark.parametrize(("hertz", "gain"), [(200, 1.0), (3000, 1.0), (6500, 1.0), (9500, 0.0)])
def test_resampler_passes_speech_and_stops_aliases(hertz: float, gain: float) -> None:
    time_s = np.arange(VOICE_RATE // 4) / VOICE_RATE
    tone = to_pcm((0.5 * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32))
    heard = VoiceResampler().push(tone)[200:]
    assert np.std(heard) == pytest.approx(gain * 0.5 / np.sqrt(2), abs=0.01)


def test_resampler_is_one_millisecond_late() -> None:
    pulse = np.zeros(960, np.int16)
    pulse[300] = 32767
    assert int(np.argmax(VoiceResampler().push(pulse))) == 100 + 16


def test_silence_stays_exactly_zero() -> None:
    assert not np.any(VoiceResampler().push(np.zeros(5000, np.int16)))


def test_frame_count_rounds_up() -> None:
    assert [frame_count(np.zeros(n, np.int16)) for n in (0, 1, 1920, 1921)] == [0, 1, 1, 2]
