"""Lip figures by arithmetic on made-up openings and phones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from daetalker.models.training import lips
from daetalker.models.training.data import DataError
from daetalker.models.training.lips import Phone


def _talk(count: int = 200) -> np.ndarray:
    """A smooth opening that never repeats within the lags tried."""
    noise = np.random.default_rng(0).standard_normal(count + 4)
    return 0.1 + 0.03 * np.convolve(noise, np.ones(5) / 5, "valid")


def test_phones_are_read_with_their_times(tmp_path: Path) -> None:
    table = tmp_path / "phones.csv"
    table.write_text("start_s,end_s,phone\n0.000,0.540,SIL\n0.540,0.600,M\n")
    assert lips.read_phones(table) == [Phone(0.0, 0.54, "SIL"), Phone(0.54, 0.6, "M")]


def test_a_broken_phone_line_is_named(tmp_path: Path) -> None:
    table = tmp_path / "phones.csv"
    table.write_text("start_s,end_s,phone\n0.000,0.540,SIL\n0.540,soon,M\n")
    with pytest.raises(DataError, match="line 3"):
        lips.read_phones(table)


@pytest.mark.parametrize(
    ("start_s", "end_s", "widen", "frames"),
    [
        (0.08, 0.16, 0, (2, 4)),
        (0.09, 0.11, 0, (2, 3)),
        (0.08, 0.16, 1, (1, 5)),
        (0.0, 0.04, 2, (0, 3)),
        (0.36, 0.44, 1, (8, 10)),
        (9.0, 9.1, 0, (10, 10)),
    ],
)
def test_a_phone_touches_these_of_ten_frames(
    start_s: float, end_s: float, widen: int, frames: tuple[int, int]
) -> None:
    found = Phone(start_s, end_s, "M").frames(10, widen)
    assert (found.start, found.stop) == frames


@pytest.mark.parametrize("lag", [-4, -1, 0, 3, 5])
def test_a_shift_is_found_as_lag(lag: int) -> None:
    truth = _talk()
    late = np.roll(truth, lag)
    assert lips.best_lag(late, truth) == lag
    assert lips.correlation(late, truth, lag) == pytest.approx(1.0, abs=1e-9)


def test_scale_and_unmeasured_frames_do_not_change_the_correlation() -> None:
    truth = _talk()
    other = 3 * truth + 1
    other[10:20] = np.nan
    assert lips.correlation(other, truth) == pytest.approx(1.0)
    assert np.isnan(lips.correlation(np.full(200, 0.1), truth))
    assert np.isnan(lips.best_lag(np.full(200, np.nan), truth))


def _sentence() -> list[Phone]:
    """SIL T AA T P T AA T SIL, four frames each."""
    names = ["SIL", "T", "AA", "T", "P", "T", "AA", "T", "SIL"]
    return [Phone(0.16 * i, 0.16 * (i + 1), name) for i, name in enumerate(names)]


def _opening(phones: list[Phone], of: dict[str, float]) -> np.ndarray:
    return np.repeat([of[p.name] for p in phones], 4)


def test_the_threshold_lies_a_fifth_of_the_way_and_separates_closures_from_vowels() -> None:
    phones = _sentence()
    true = _opening(phones, {"SIL": 0.0, "T": 0.05, "AA": 0.1, "P": 0.005})
    threshold = lips.shut_threshold(true, phones)
    assert threshold == pytest.approx(0.005 + 0.2 * 0.095)
    closures = [p for p in phones if p.name == "P"]
    vowels = lips.vowels_in_the_open(phones)
    assert len(vowels) == 2
    assert lips.closed_share(true, closures, threshold) == 1.0
    assert lips.closed_share(true, vowels, threshold) == 0.0
    shut_all_day = np.zeros_like(true)
    assert lips.closed_share(shut_all_day, vowels, threshold) == 1.0
    never_shut = np.full_like(true, 0.05)
    assert lips.closed_share(never_shut, closures, threshold) == 0.0


def test_a_closure_one_frame_off_counts_and_two_frames_off_does_not() -> None:
    phone = [Phone(0.4, 0.44, "B")]
    for offset, share in ((1, 1.0), (2, 0.0)):
        opening = np.full(30, 0.1)
        opening[10 + offset] = 0.0
        assert lips.closed_share(opening, phone, 0.02) == share


def test_without_closures_or_contrast_there_is_no_threshold() -> None:
    phones = _sentence()
    assert np.isnan(lips.shut_threshold(np.full(36, 0.1), phones))
    assert np.isnan(lips.shut_threshold(np.full(36, 0.1), phones[:3]))
    assert np.isnan(lips.closed_share(np.full(36, 0.1), phones, float("nan")))


def test_movement_is_the_mean_step_inside_the_mask() -> None:
    ramp = np.arange(20.0)
    where = np.zeros(20, bool)
    where[5:10] = True
    assert lips.movement(ramp, where) == pytest.approx(1.0)
    assert lips.movement(np.full(20, 0.3), where) == 0.0
    assert np.isnan(lips.movement(ramp, np.zeros(20, bool)))


def test_single_frame_trembling_is_smoothed_and_shut_lips_can_count_as_equal() -> None:
    everywhere = np.ones(41, bool)
    spike = np.zeros(41)
    spike[20] = 0.01
    assert lips.movement(spike, everywhere) == 0.0
    wobble = 0.004 + 0.004 * np.sin(np.arange(41))
    assert lips.movement(wobble, everywhere) > 0
    assert lips.movement(wobble, everywhere, shut=0.02) == 0.0
    assert lips.movement(wobble + 0.1, everywhere, shut=0.02) == pytest.approx(
        lips.movement(wobble, everywhere)
    )


def test_pink_noise_has_its_level_and_falls_three_decibels_an_octave() -> None:
    noise = lips.pink_noise(64_000, -55.0, seed=1)
    assert 20 * np.log10(np.sqrt(np.mean(noise.astype(np.float64) ** 2))) == pytest.approx(-55.0)
    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [power[low : 2 * low].mean() for low in (200, 400, 800, 1600)]
    falls = 10 * np.log10(np.divide(octaves[1:], octaves[:-1]))
    assert falls == pytest.approx([-3.0] * 3, abs=1.0)
    assert np.array_equal(noise, lips.pink_noise(64_000, -55.0, seed=1))
