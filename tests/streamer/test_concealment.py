from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.streamer.concealment import Concealer

CHUNK = 960


def hum(hz: float, chunks: int) -> NDArray[np.int16]:
    """A voiced sound: a few harmonics of one pitch."""
    t = np.arange(chunks * CHUNK) / 48_000
    tone = sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 6))
    pcm: NDArray[np.int16] = np.rint(6000 * np.asarray(tone)).astype(np.int16)
    return pcm


def heard_with_losses(voice: NDArray[np.int16], lost: set[int]) -> NDArray[np.int16]:
    concealer = Concealer()
    line = []
    for n in range(voice.size // CHUNK):
        if n in lost:
            line.append(concealer.fill(CHUNK))
        else:
            line.append(concealer.hear(voice[n * CHUNK : (n + 1) * CHUNK]))
    return np.concatenate(line)


def test_without_losses_nothing_changes() -> None:
    voice = hum(140, 20)
    np.testing.assert_array_equal(heard_with_losses(voice, set()), voice)


@pytest.mark.parametrize("hz", [85.0, 140.0, 220.0, 310.0])
def test_a_lost_packet_of_a_held_vowel_is_hardly_heard(hz: float) -> None:
    voice = hum(hz, 30)
    line = heard_with_losses(voice, {20}).astype(np.float64)
    gap = slice(20 * CHUNK, 20 * CHUNK + CHUNK // 2)  # the part at full level
    wanted, got = voice[gap].astype(np.float64), line[gap]
    assert np.corrcoef(wanted, got)[0, 1] > 0.95
    silence = np.sum(wanted**2)
    assert np.sum((wanted - got) ** 2) < 0.15 * silence


def test_nothing_clicks_at_either_end() -> None:
    voice = hum(150, 30)
    line = heard_with_losses(voice, {15, 20, 21})
    steps = np.abs(np.diff(line.astype(np.int32)))
    natural = np.abs(np.diff(voice.astype(np.int32))).max()
    assert steps.max() < 2.0 * natural


def test_a_long_loss_fades_to_silence_within_60_ms() -> None:
    line = heard_with_losses(hum(150, 30), set(range(15, 25)))
    assert np.abs(line[15 * CHUNK : 15 * CHUNK + 480]).max() > 4000
    assert not np.any(line[18 * CHUNK + 10 : 25 * CHUNK])


def test_silence_stays_silent() -> None:
    concealer = Concealer()
    assert not np.any(concealer.fill(CHUNK))
    concealer.hear(np.zeros(CHUNK, np.int16))
    assert not np.any(concealer.fill(3 * CHUNK))
