from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.streamer.gate import VoiceGate
from tests.tiny import tiny_speech

FRAME = 640


def quiet(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * 16_000), np.float32)


def noise(seconds: float, level_db: float, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    sound = rng.standard_normal(round(seconds * 16_000)) * 10 ** (level_db / 20)
    return sound.astype(np.float32)


SPOKEN = np.concatenate([quiet(0.6), tiny_speech(0.8), quiet(1.2)])


@pytest.mark.parametrize("size", [1600, 320, 333])
def test_chunked_equals_whole(size: int) -> None:
    gate = VoiceGate()
    pieces = [gate.push(SPOKEN[at : at + size]) for at in range(0, SPOKEN.size, size)]
    np.testing.assert_array_equal(np.concatenate(pieces), VoiceGate().push(SPOKEN))


def test_causal_up_to_the_look_ahead() -> None:
    cut = 20 * FRAME
    changed = np.concatenate([SPOKEN[:cut], quiet(1.0)])
    early = VoiceGate(3).push(SPOKEN[:cut])
    assert early.size == 20 - 3
    np.testing.assert_array_equal(early, VoiceGate(3).push(changed)[: early.size])


@pytest.mark.parametrize("lookahead", [2, 3])
def test_open_before_the_onset_and_shut_after_the_end(lookahead: int) -> None:
    weights = VoiceGate(lookahead).push(SPOKEN)
    onset, end = 15, 35
    assert np.all(weights[onset : end + 5] == 1.0), "neither onset nor a short pause is clipped"
    assert weights[onset - 1] > 0.0, "the ramp lies before the onset"
    assert np.all(weights[: onset - 4] == 0.0)
    assert np.all(weights[end + 13 :] == 0.0)
    assert np.max(np.abs(np.diff(weights))) <= 1 / 3 + 1e-6, "ramps, no steps"


@pytest.mark.parametrize("level_db", [-90.0, -60.0, -50.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_quiet_room_is_exactly_zero(level_db: float, seed: int) -> None:
    assert not np.any(VoiceGate().push(noise(4.0, level_db, seed)))


def test_hum_and_digital_silence_are_exactly_zero() -> None:
    time_s = np.arange(64_000) / 16_000
    harmonics = np.arange(1, 4)[:, None]
    hum = np.sum(np.sin(2 * np.pi * 50.0 * harmonics * time_s) / harmonics, axis=0)
    hum *= 10 ** (-50 / 20) / np.std(hum)
    assert not np.any(VoiceGate().push(hum.astype(np.float32)))
    assert not np.any(VoiceGate().push(quiet(4.0)))


def test_speech_in_a_quiet_room_opens() -> None:
    room = noise(SPOKEN.size / 16_000, -55.0)
    weights = VoiceGate().push(SPOKEN + room)
    assert np.mean(weights[15:35]) > 0.95
    assert not np.any(weights[:10])


def test_a_click_does_not_open() -> None:
    sound = quiet(2.0)
    sound[16_000:16_160] = 0.5
    assert not np.any(VoiceGate().push(sound))


def test_muting_ends_the_hangover() -> None:
    speech = tiny_speech(0.8)
    plain, muted = VoiceGate(), VoiceGate()
    plain.push(speech)
    muted.push(speech)
    open_s = np.count_nonzero(plain.push(quiet(1.0)))
    muted_s = np.count_nonzero(muted.push(quiet(1.0), muted=True))
    assert muted_s <= open_s - 7


def test_muted_speech_is_silence() -> None:
    assert not np.any(VoiceGate().push(tiny_speech(1.0), muted=True))


def test_silence_shuts_at_once() -> None:
    gate = VoiceGate()
    gate.push(tiny_speech(0.8))
    gate.silence()
    assert not np.any(gate.push(quiet(0.5)))
