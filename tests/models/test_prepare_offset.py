"""The offset between voice and lips: the arithmetic alone, and on the demo set's voices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.training.data import DataError, lip_opening, read_audio
from daetalker.models.training.prepare import offset, synchrony
from daetalker.models.training.prepare.measure import Measures
from daetalker.models.training.prepare.offset import (
    CREDIBLE,
    blocks,
    estimate_offset_ms,
    lag_profile,
    offset_of,
)
from daetalker.models.training.prepare.sound import Sound, shifted

DEMO = Path(__file__).parents[3] / "shared/data/demo/test_b"
SECONDS = 40


def _movement(times_s: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Lips: smooth noise of 0.7 to 6 Hz."""
    rng = np.random.default_rng(seed)
    hz, phase = rng.uniform(0.7, 6, 60), rng.uniform(0, 2 * np.pi, 60)
    waves = np.zeros_like(times_s)
    for rate, start in zip(hz, phase, strict=True):
        waves += np.sin(2 * np.pi * rate * times_s + start)
    return waves / len(hz)


def _lips(seed: int = 0) -> NDArray[np.float32]:
    return _movement((np.arange(SECONDS * 25) + 0.5) / 25, seed).astype(np.float32)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound that is a movement itself: its mean over 20 ms is what the read-out would say."""
    monkeypatch.setattr(
        offset, "read_opening", lambda audio: audio.reshape(-1, 320).mean(1).astype(np.float64)
    )


def _voice(late_ms: float = 0.0, seed: int = 0) -> NDArray[np.float32]:
    times = (np.arange(SECONDS * 16_000) + 0.5) / 16_000
    return _movement(times - late_ms / 1000, seed).astype(np.float32)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("late_ms", [-400, -213, -7, 0, 33, 200, 390])
def test_late_sound_is_positive_and_found_between_frames(late_ms: float) -> None:
    found, confidence = estimate_offset_ms(_voice(late_ms), _lips(), 25)
    assert found == pytest.approx(late_ms, abs=1.5)
    assert confidence > 0.9


@pytest.mark.usefixtures("reader")
def test_unknown_frames_do_not_count() -> None:
    lips = _lips()
    lips[300:600] = 50.0
    wrong, _ = estimate_offset_ms(_voice(120), lips, 25)
    lips[300:600] = np.nan
    right, confidence = estimate_offset_ms(_voice(120), lips, 25)
    assert right == pytest.approx(120, abs=2)
    assert confidence > 0.9
    assert abs(wrong - 120) > 2 or confidence > 0.9


@pytest.mark.usefixtures("reader")
def test_another_voice_has_no_confidence() -> None:
    assert estimate_offset_ms(_voice(seed=1), _lips(), 25)[1] < CREDIBLE


@pytest.mark.usefixtures("reader")
def test_recordings_add_up() -> None:
    voice, lips = _voice(80), _lips()
    half = SECONDS // 2
    both = lag_profile(voice[: half * 16_000], lips[: half * 25], 25) + lag_profile(
        voice[half * 16_000 :], lips[half * 25 :], 25
    )
    assert offset_of(both)[0] == pytest.approx(80, abs=2)
    assert both.seconds == pytest.approx(SECONDS, abs=0.2)


def test_nothing_known_says_nothing() -> None:
    assert estimate_offset_ms(np.zeros(0, np.float32), np.zeros(0, np.float32), 25)[1] == 0


def test_blocks_are_spread_over_everything() -> None:
    assert blocks([(0, 0, 100)], 40, 1000) == [(0, 0, 40), (0, 40, 80), (0, 80, 100)]
    many = blocks([(i, 0, 500) for i in range(20)], 500, 2500)
    assert len(many) == 5
    assert (many[0][0], many[-1][0]) == (0, 19)


def _measured(lips: NDArray[np.float32]) -> Measures:
    count, f32 = len(lips), np.float32
    one = np.ones(count, f32)
    return Measures(
        one, np.zeros((count, 68, 2), f32), np.zeros((count, 3), f32), np.zeros((count, 4), f32),
        lips, one, one, one, one,
    )  # fmt: skip


def _sound(voice: NDArray[np.float32]) -> Sound:
    frames = len(voice) // 640
    return Sound(voice, np.ones(frames, np.float32), np.zeros(frames, np.float32))


@pytest.mark.usefixtures("reader")
def test_the_common_offset_is_corrected_and_a_clips_own_believed() -> None:
    seen = [_measured(_lips(seed)) for seed in (0, 1, 2)]
    heard = [_sound(_voice(late, seed)) for late, seed in ((120, 0), (120, 1), (-150, 2))]
    whole = [[(0, SECONDS * 25)]] * 3
    common, each, warnings = synchrony.synchronise(heard, seen, whole, None)
    assert common.moved_ms == pytest.approx(120, abs=5)
    assert [o.moved_ms for o in each] == pytest.approx([120, 120, -150], abs=5)
    assert len(warnings) == 1


@pytest.mark.usefixtures("reader")
def test_the_users_figure_wins_and_a_small_one_is_left() -> None:
    one = ([_sound(_voice(120))], [_measured(_lips())], [[(0, SECONDS * 25)]])
    assert synchrony.synchronise(*one, 70.0)[1][0].moved_ms == 70
    near = ([_sound(_voice(12))], *one[1:])
    assert synchrony.synchronise(*near, None)[1][0].moved_ms == 0


@pytest.mark.usefixtures("reader")
def test_a_foreign_voice_is_refused_and_a_doubtful_one_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    foreign = ([_sound(_voice(seed=9))], [_measured(_lips())], [[(0, SECONDS * 25)]])
    monkeypatch.setattr(synchrony, "FOREIGN", 0.29)
    _, each, warnings = synchrony.synchronise(*foreign, None)
    assert each[0].moved_ms == 0
    assert "could not be told" in warnings[0]
    monkeypatch.setattr(synchrony, "FOREIGN_S", 30)
    with pytest.raises(DataError, match="does not fit the lips"):
        synchrony.synchronise(*foreign, None)
    assert synchrony.synchronise(*foreign, 0.0)[2] == []


@pytest.mark.skipif(not DEMO.is_dir(), reason="no demo set beside the checkout")
@pytest.mark.parametrize("late_ms", [0, 200])
def test_the_read_out_fits_the_embedded_front_end(late_ms: int) -> None:
    """Fails if the embedded avatar gets other acoustic features: then run `offset_fit` again."""
    audio = read_audio(DEMO / "audio.wav")[: 20 * 16_000]
    with np.load(DEMO / "truth.npz") as truth:
        lips = lip_opening(truth["landmarks"])[: 20 * 25]
    found, confidence = estimate_offset_ms(shifted(audio, -late_ms), lips, 25)
    assert found == pytest.approx(late_ms, abs=10)
    assert confidence > 0.75
