from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.intake import Intake

CHUNK = 960
LAG = 576
"""Silence stays 12 ms behind the present: the voice that ends it then starts in step."""


def chunk(value: int, size: int = CHUNK) -> NDArray[np.int16]:
    return np.full(size, value, np.int16)


def test_voice_on_time_passes_untouched() -> None:
    intake = Intake()
    for n in range(50):
        loud = chunk(1000 + n)
        np.testing.assert_array_equal(intake.accept(loud, n * CHUNK, n * 0.02), loud)
        assert intake.keep_up((n + 1) * 0.02).size == 0
    assert (intake.heard, intake.gaps, intake.surplus_samples) == (50 * CHUNK, 0, 0)


def test_before_anyone_speaks_silence_flows_and_is_no_gap() -> None:
    intake = Intake()
    assert sum(intake.keep_up(n * 0.02).size for n in range(1, 51)) == 48_000 - LAG
    assert intake.gaps == 0


def test_voice_up_to_100_ms_late_is_waited_for() -> None:
    intake = Intake()
    intake.accept(chunk(1), None, 0.0)
    assert intake.keep_up(0.119).size == 0
    assert intake.keep_up(0.13).size == round(0.13 * 48_000) - LAG - CHUNK
    assert intake.keep_up(0.15).size == CHUNK, "once dry, it keeps up with the present"
    assert intake.gaps == 1
    intake.accept(chunk(2), None, 0.15)
    assert intake.keep_up(0.2).size == 0, "voice is back"


def test_surplus_beyond_200_ms_is_dropped_and_counted() -> None:
    intake = Intake()
    passed = intake.accept(chunk(1000, 48_000), None, 0.0)
    assert passed.size == 9_600
    assert intake.surplus_samples == 48_000 - 9_600


def test_lost_packets_become_silence_of_their_length() -> None:
    intake = Intake()
    intake.accept(chunk(1), 10_000, 0.02)
    line = intake.accept(chunk(2), 10_000 + 3 * CHUNK, 0.08)
    np.testing.assert_array_equal(line, np.concatenate([chunk(0, 2 * CHUNK), chunk(2)]))
    assert intake.heard == 4 * CHUNK and intake.gaps == 1


def test_repeated_samples_are_dropped() -> None:
    intake = Intake()
    intake.accept(chunk(1), 0, 0.02)
    assert intake.accept(chunk(1), 0, 0.02).size == 0
    assert intake.accept(chunk(2), CHUNK // 2, 0.04).size == CHUNK // 2


def test_a_drought_lines_the_sender_up_anew() -> None:
    intake = Intake()
    intake.accept(chunk(1), 0, 0.0)
    assert intake.keep_up(0.5).size == 24_000 - LAG - CHUNK
    line = intake.accept(chunk(2), 25 * CHUNK, 0.5)
    assert line.size == CHUNK, "silence for the loss is there already"
    np.testing.assert_array_equal(intake.accept(chunk(3), 26 * CHUNK, 0.52), chunk(3))


def test_a_jump_of_the_senders_clock_is_no_loss() -> None:
    intake = Intake()
    intake.accept(chunk(1), 0, 0.0)
    assert intake.accept(chunk(2), 10_000_000, 0.02).size == CHUNK
    assert intake.accept(chunk(3), 10_000_000 + CHUNK, 0.04).size == CHUNK
    assert intake.accept(chunk(4), 5, 0.06).size == CHUNK


def test_after_a_surplus_the_senders_timeline_still_fits() -> None:
    intake = Intake()
    intake.accept(chunk(1000, 20 * CHUNK), 0, 0.0)
    assert intake.surplus_samples == 10 * CHUNK
    assert intake.accept(chunk(2000), 20 * CHUNK, 0.1).size == CHUNK
    assert intake.gaps == 0


def test_delay_after_a_hiccup_is_won_back_in_a_pause() -> None:
    intake = Intake()
    intake.accept(chunk(1000), 0, 0.02)
    for tick in range(2, 12):  # 0.2 s without voice; silence takes its place
        intake.keep_up(tick * 0.02)
    burst = intake.accept(chunk(1000, 8 * CHUNK), None, 0.22)
    assert burst.size == 8 * CHUNK, "speech is never cut for being a little ahead"
    ahead = intake.heard - round(0.22 * 48_000)
    for n in range(12, 40):
        intake.accept(chunk(10), None, n * 0.02)
    assert intake.heard - round(39 * 0.02 * 48_000) <= CHUNK < ahead
    spoken = intake.accept(chunk(1000), None, 40 * 0.02)
    np.testing.assert_array_equal(spoken, chunk(1000))


def late_by(intake: Intake, late_s: Callable[[int], float], first: int, count: int) -> list[int]:
    """Quiet packets, each late by its own amount; how far ahead each is, in samples."""
    ahead = []
    for n in range(first, first + count):
        at_s = (n + 1) * 0.02 + late_s(n)
        intake.accept(chunk(10), n * CHUNK, at_s)
        ahead.append(intake.heard - round(at_s * 48_000))
    return ahead


def test_on_a_steady_network_nothing_is_kept_in_reserve() -> None:
    intake = Intake()
    intake.accept(chunk(10, 5 * CHUNK), 0, 0.02)  # a first burst: 80 ms ahead
    ahead = late_by(intake, lambda n: 0.0, 5, 300)
    assert max(ahead[60:]) <= CHUNK + 48


def test_the_reserve_covers_the_latest_packets_and_no_more() -> None:
    """Every tenth packet is 40 ms late: it must come just in time in the end."""
    intake = Intake()
    ahead = late_by(intake, lambda n: 0.04 if n % 10 == 9 else 0.0, 0, 600)
    settled = np.array(ahead[300:])
    assert -240 <= settled.min() <= CHUNK + 48
    assert settled.max() <= 0.04 * 48_000 + CHUNK + 48
    assert intake.reserve_samples >= 0.03 * 48_000
    assert intake.gaps == 0


def test_the_reserve_goes_when_the_network_calms_down() -> None:
    intake = Intake()
    late_by(intake, lambda n: 0.04 if n % 10 == 9 else 0.0, 0, 600)
    ahead = late_by(intake, lambda n: 0.0, 600, 600)
    assert max(ahead[-50:]) <= CHUNK + 48


def test_speech_is_never_stretched_or_cut_for_the_reserve() -> None:
    intake = Intake()
    for n in range(400):
        late_s = 0.03 if n % 10 == 9 else 0.0
        passed = intake.accept(chunk(2000), n * CHUNK, (n + 1) * 0.02 + late_s)
        np.testing.assert_array_equal(passed, chunk(2000))


def test_chunks_exactly_in_time_are_never_touched_however_the_clock_is_rounded() -> None:
    """Else a stream on a simulated clock would differ from the render of the same samples."""
    intake = Intake()
    for n in range(20_000):
        assert intake.accept(chunk(10), None, n * 0.02).size == CHUNK
