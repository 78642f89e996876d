"""Staying in time: resampling, the drift controller, the programme's cuts, ten minutes of both."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.plugins.camera.drift import DriftController
from daetalker.plugins.camera.heard_line import HeardLine
from daetalker.plugins.camera.programme import Programme
from daetalker.plugins.camera.resample import MAX_CORRECTION, SlowResampler
from tests.plugins.camera_bench import RATE, moment

BUFFER_S = 0.08


def noise(samples: int, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).normal(0, 3000, samples).astype(np.int16)


# --- resampling ---------------------------------------------------------------------------------


def test_a_voice_that_needs_no_correction_is_an_exact_copy() -> None:
    voice, resampler = noise(9600), SlowResampler()
    out = np.concatenate([resampler.push(part, 0.0) for part in np.array_split(voice, 7)])
    assert np.array_equal(out, voice[: out.size])
    assert voice.size - out.size == resampler.held == 16


@pytest.mark.parametrize("correction", [0.005, 0.0001, -0.0037])
def test_stretching_is_the_same_however_the_voice_is_cut(correction: float) -> None:
    voice = noise(19_200)
    whole = SlowResampler().push(voice, correction)
    resampler = SlowResampler()
    parts = [resampler.push(part, correction) for part in np.split(voice, [100, 103, 1920, 9000])]
    out = np.concatenate(parts)
    assert np.array_equal(out, whole)
    assert abs(out.size - voice.size * (1 - correction)) < 20
    assert out.size / (1 - correction) + resampler.held == pytest.approx(voice.size, abs=0.01)


def test_a_stretched_tone_is_the_same_tone_slower() -> None:
    correction, hertz = 0.003, 3000.0
    n = np.arange(RATE)
    out = SlowResampler().push(
        (12_000 * np.sin(2 * np.pi * hertz * n / RATE)).astype(np.int16), correction
    )
    wanted = 12_000 * np.sin(2 * np.pi * hertz * np.arange(out.size) / (1 - correction) / RATE)
    error = out[100:-100] - wanted[100:-100]
    assert 20 * np.log10(np.sqrt(np.mean(error**2)) / 12_000) < -70


def test_the_correction_is_limited() -> None:
    out = SlowResampler().push(noise(RATE), 0.5)
    assert out.size == pytest.approx(RATE * (1 - MAX_CORRECTION), abs=20)


# --- the controller -----------------------------------------------------------------------------


def run_controller(drift: float, error_s: float, minutes: float) -> NDArray[np.float64]:
    """Errors while the device's clock is off by ``drift``, one for each 40 ms."""
    controller, errors = DriftController(), []
    for _ in range(round(minutes * 1500)):
        errors.append(error_s)
        correction = controller.update(error_s, 0.04)
        assert abs(correction) <= MAX_CORRECTION
        error_s += 0.04 * (drift - correction)
    return np.array(errors)


@pytest.mark.parametrize("drift", [100e-6, -100e-6, 1000e-6])
def test_ten_minutes_of_drift_leave_no_error(drift: float) -> None:
    errors = run_controller(drift, 0.0, 10)
    assert abs(errors).max() < 0.006  # 60 ms without us, at 100 millionths
    assert abs(errors[-1500:]).max() < 0.0025
    assert abs(errors[-1] - errors[-1500]) < 0.0005


@pytest.mark.parametrize("error_s", [0.05, -0.05])
def test_an_error_is_worked_off_without_overshoot(error_s: float) -> None:
    errors = run_controller(0.0, error_s, 2) * np.sign(error_s)
    assert errors[1500] < 0.003
    assert errors.min() > -0.006


def test_clocks_that_agree_are_left_alone() -> None:
    controller = DriftController()
    jitter = np.random.default_rng(0).uniform(-0.0019, 0.0019, 1000)
    assert {controller.update(float(error), 0.04) for error in jitter} == {0.0}


# --- the line of what is heard ------------------------------------------------------------------


def test_jitter_of_the_reports_is_smoothed_and_a_shift_is_followed_at_once() -> None:
    line, rng = HeardLine(), np.random.default_rng(0)
    assert line.heard_s(0.0) is None
    for index in range(200):
        line.note(index * 0.04, 5.0 + index * 0.04 + rng.normal(0, 0.003))
    assert line.heard_s(10.0) == pytest.approx(15.0, abs=0.002)
    line.note(8.0, 13.1)
    assert line.heard_s(8.0) == pytest.approx(13.1)


# --- the programme ------------------------------------------------------------------------------


class Sink:
    """A sound device in simulated time: its clock runs ``drift`` fast."""

    def __init__(self, drift: float = 0.0) -> None:
        self._rate = RATE * (1 + drift)
        self.end_s = 0.0

    def heard_s(self, now_s: float) -> float:
        self.end_s = max(self.end_s, now_s)
        return self.end_s

    def write(self, samples: float) -> None:
        self.end_s += samples / self._rate


def test_the_first_moments_fill_the_buffer_exactly() -> None:
    programme, sink = Programme(BUFFER_S), Sink()
    pieces = programme.admit(moment(7, level=3), "a", arrived_s=1.0, heard_s=sink.heard_s(1.0))
    assert [piece.pcm.size for piece in pieces] == [round(BUFFER_S * RATE), 1920]
    assert pieces[0].rgb is None and not pieces[0].pcm.any()
    assert programme.padded_s == BUFFER_S and programme.error_s == pytest.approx(0.0)


def test_while_all_is_well_nothing_is_touched() -> None:
    programme, sink, rng = Programme(BUFFER_S), Sink(), np.random.default_rng(0)
    voice = noise(1920 * 100)
    out = []
    for index in range(100):
        # Arrivals jitter by up to 20 ms, always late.
        now_s = index * 0.04 + (0.0 if index == 0 else rng.uniform(0, 0.02))
        said = moment(index, voice[1920 * index :][:1920])
        for piece in programme.admit(said, "a", now_s, sink.heard_s(now_s)):
            out.append(piece.pcm)
            sink.write(piece.pcm.size)
        assert abs(programme.error_s) < 1e-3
    sound = np.concatenate(out)[round(BUFFER_S * RATE) :]
    assert np.array_equal(sound[200:], voice[200:])  # after the fade of its beginning
    assert programme.cut_s == 0.0 and programme.starved == 0


def test_a_surplus_is_cut_in_silence_at_once_in_speech_only_when_it_is_large() -> None:
    def one(error_ms: int, pcm: NDArray[np.int16] | None) -> tuple[int, int]:
        programme = Programme(BUFFER_S)
        programme.admit(moment(0), "a", 0.0, BUFFER_S)
        heard_s = 0.04 + BUFFER_S + error_ms / 1000
        pieces = programme.admit(moment(1, pcm), "a", 0.04, heard_s)
        return sum(piece.pcm.size for piece in pieces), round(1000 * programme.error_s)

    speech = noise(1920)
    assert one(4, None) == (1920, 4)
    assert one(10, None) == (1440, 0)
    assert one(100, None) == (0, 60)
    assert one(50, speech) == (1920, 50)
    assert one(70, speech) == (0, 30)
    assert one(-10, None) == (2400, 0)
    assert one(-50, speech) == (1920, -50)
    assert one(-70, speech) == (1920 + 3360, 0)


def test_cuts_and_pauses_make_no_clicks() -> None:
    programme = Programme(BUFFER_S)
    loud = np.full(1920, 20_000, np.int16)
    line = [piece.pcm for piece in programme.admit(moment(0, loud), "a", 0.0, 0.0)]
    line.append(programme.fill().pcm)
    line += [piece.pcm for piece in programme.admit(moment(1, loud), "a", 0.04, 0.0)]
    steps = abs(np.diff(np.concatenate(line).astype(int)))
    assert steps.max() < 500


def test_running_dry_makes_the_buffer_grow_and_a_quiet_time_makes_it_shrink() -> None:
    programme = Programme(BUFFER_S)
    programme.admit(moment(0, level=9), "a", 0.0, BUFFER_S)
    filled = programme.fill()
    assert not filled.pcm.any() and filled.rgb is not None and filled.rgb[0, 0, 0] == 9
    programme.fill()
    assert programme.starved == 1  # the same one
    assert programme.buffer_s == pytest.approx(0.1)
    for index in range(1, 1501):
        programme.admit(moment(index), "a", index * 0.04, index * 0.04 + programme.buffer_s)
    assert programme.buffer_s == pytest.approx(0.09, abs=1e-3)
    programme.leave()
    programme.fill()
    assert programme.starved == 1  # nobody is expected to speak


def test_another_source_starts_a_line_of_its_own() -> None:
    programme = Programme(BUFFER_S)
    programme.admit(moment(1000), "a", 100.0, 100.0 + BUFFER_S)
    pieces = programme.admit(moment(3), "b", 200.0, 200.02)
    assert sum(piece.pcm.size for piece in pieces) == 1920 + round(0.06 * RATE)
    assert programme.error_s == pytest.approx(0.0)


@pytest.mark.parametrize("drift", [100e-6, -100e-6])
@pytest.mark.parametrize("talks", [True, False])
def test_ten_minutes_against_a_device_whose_clock_is_off(drift: float, talks: bool) -> None:
    programme, sink, controller = Programme(BUFFER_S), Sink(drift), DriftController()
    rng = np.random.default_rng(1)
    pcm = np.full(1920, 4000, np.int16) if talks else None
    worst_s = 0.0
    for index in range(15_000):
        now_s = index * 0.04 + rng.uniform(0, 0.01)
        for piece in programme.admit(moment(index, pcm), "a", now_s, sink.heard_s(now_s)):
            correction = controller.update(programme.error_s, piece.pcm.size / RATE)
            sink.write(piece.pcm.size * (1 - correction))
        waiting_s = sink.end_s - now_s
        assert 0.04 < waiting_s < 0.16  # neither a gap nor a pile
        worst_s = max(worst_s, abs(programme.error_s))
    assert worst_s < 0.02
    assert abs(programme.error_s) < 0.005
    assert programme.starved == 0
    assert programme.cut_s < 0.02 and programme.padded_s < BUFFER_S + 0.02
