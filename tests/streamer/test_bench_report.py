"""The arithmetic of the bench, on times made up so that every answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from daetalker.streamer.bench import Usage, machine, synthetic_voice
from daetalker.streamer.bench_report import (
    find_shift,
    frame_intervals,
    latencies,
    match_frames,
    media_timeline,
    parts,
    spoken_positions,
)
from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_PER_FRAME, VOICE_RATE
from daetalker.streamer.profile import PROFILES

RECEIVE_S, DELAY_S, ENCODE_S = 0.085, 0.360, 0.003
LOST_PACKETS, INSERTED = 4, 3 * CHUNK_SAMPLES


def _spoken(seconds: float = 6.0) -> np.ndarray[Any, np.dtype[np.int16]]:
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(int(seconds * VOICE_RATE)) * 3000
    return np.rint(noise).astype(np.int16)


def _log(spoken: Any, packet_times_s: list[float]) -> dict[str, Any]:
    """A session that missed four packets, then put 60 ms of silence before what it heard."""
    heard = spoken[LOST_PACKETS * CHUNK_SAMPLES :]
    # A codec changes samples a little; positions must be found all the same.
    heard = (heard * 0.9).astype(np.int16)
    count = len(heard) // CHUNK_SAMPLES
    rows = [
        (packet_times_s[i + LOST_PACKETS] + RECEIVE_S, i * CHUNK_SAMPLES, CHUNK_SAMPLES)
        for i in range(count)
    ]
    line = np.concatenate([np.zeros(INSERTED, np.int16), heard[: count * CHUNK_SAMPLES]])
    zero_s = rows[0][0] - INSERTED / VOICE_RATE  # when media sample 0 came
    frames = len(line) // VOICE_PER_FRAME
    taken = [(zero_s + f * 0.04 + DELAY_S, f) for f in range(frames)]
    return {
        "heard": np.array(rows),
        "heard_pcm": heard[: count * CHUNK_SAMPLES],
        "voice_start": np.arange(0, len(line), CHUNK_SAMPLES),
        "voice_pcm": line,
        "taken": np.array(taken),
        "sent": np.array([(at + ENCODE_S, f) for at, f in taken]),
    }


def test_delays_are_found_through_losses_and_inserted_silence() -> None:
    spoken = _spoken()
    times = [100.0 + 0.02 * i for i in range(len(spoken) // CHUNK_SAMPLES)]
    found = latencies(times, spoken, _log(spoken, times))
    assert len(found["total"]) > 100
    assert found["receive"] == pytest.approx(RECEIVE_S * 1000, abs=0.01)
    assert found["encode"] == pytest.approx(ENCODE_S * 1000, abs=0.01)
    # A frame holds two packets; the second came 20 ms after the first and waits 20 ms less.
    assert sorted({round(float(ms)) for ms in found["held"]}) == [340, 360]
    total = RECEIVE_S + DELAY_S + ENCODE_S
    assert found["total"].max() == pytest.approx(total * 1000, abs=0.01)
    shares = parts(found, PROFILES["default"], compute_ms=25.0)
    assert shares["lookahead"] == 120.0
    assert shares["hop"] == 160.0
    known = [share for share in shares.values() if share is not None]
    assert len(known) == 6
    assert sum(known) == pytest.approx(float(np.median(found["total"])), abs=21)


def test_nothing_heard_is_no_figure() -> None:
    empty = np.zeros(0, np.int16)
    log: dict[str, Any] = {
        "heard": np.zeros((0, 3)),
        "heard_pcm": empty,
        "voice_start": np.zeros(0, np.int64),
        "voice_pcm": empty,
        "taken": np.zeros((0, 2)),
        "sent": np.zeros((0, 2)),
    }
    found = latencies([], empty, log)
    assert len(found["total"]) == 0
    assert set(parts(found, PROFILES["default"], 1.0).values()) == {None}


def test_intervals() -> None:
    figures = frame_intervals([0.0, 0.04, 0.08, 0.2, 0.24])
    assert figures["fps"] == pytest.approx(4 / 0.24, abs=0.001)
    assert figures["longest_gap_ms"] == pytest.approx(120)
    assert figures["interval_ms_p50"] == pytest.approx(40)
    assert frame_intervals([1.0])["fps"] == 0


def test_a_block_is_found_where_it_lies_and_silence_nowhere() -> None:
    line = _spoken(1.0)
    at, score = find_shift(line[5000:9000], line)
    assert (at, round(score, 3)) == (5000, 1.0)
    assert find_shift(np.zeros(4000, np.int16), line)[1] == 0
    assert find_shift(line, line[:100]) == (0, 0.0)
    assert spoken_positions(np.zeros(VOICE_RATE, np.int16), line) == {}


def test_chunks_are_laid_on_their_positions() -> None:
    pcm = np.arange(2 * CHUNK_SAMPLES, dtype=np.int16)
    line = media_timeline(np.array([CHUNK_SAMPLES, 3 * CHUNK_SAMPLES]), pcm)
    assert len(line) == 4 * CHUNK_SAMPLES
    assert not line[:CHUNK_SAMPLES].any()
    assert line[-1] == 2 * CHUNK_SAMPLES - 1


def test_pictures_tell_which_frames_they_are() -> None:
    rng = np.random.default_rng(2)
    reference = rng.integers(16, 236, (60, 8, 8)).astype(np.uint8)
    shown = np.arange(9, 49)
    noise = rng.integers(-3, 4, (40, 8, 8))
    luma = np.clip(reference[shown] + noise, 0, 255).astype(np.uint8)
    ticks = [int(3600 * (f - 9)) for f in shown]
    arrivals = [0.04 * int(f) + 5.045 for f in shown]
    log = {"sent": np.array([(0.04 * f + 5.0, f) for f in range(60)])}
    moving = np.ones(60, bool)
    found = match_frames(luma, ticks, arrivals, log, reference, moving)
    assert found == {"checked": 40, "matched": 1.0, "first_frame": 9, "transit_ms": 45.0}
    wrong = match_frames(luma[::-1], ticks, arrivals, log, reference, moving)
    assert wrong["matched"] is not None and wrong["matched"] < 0.2
    still = match_frames(luma, ticks, arrivals, log, reference, ~moving)
    assert still["checked"] == 0


def test_the_made_up_voice_is_loud_repeatable_and_pauses() -> None:
    voice = synthetic_voice(4.0)
    assert np.array_equal(voice, synthetic_voice(4.0))
    assert voice.dtype == np.int16
    assert len(voice) == 4 * VOICE_RATE
    assert 8000 < np.abs(voice.astype(np.int32)).max() <= 12000
    pause = voice[int(2.5 * VOICE_RATE) : int(2.9 * VOICE_RATE)].astype(np.float64)
    assert np.sqrt(np.mean(pause**2)) < 20


def test_usage_reads_this_process_and_shrugs_at_others() -> None:
    import os

    mine = Usage(os.getpid()).figures(1.0)
    assert mine["rss_mb"] is None or mine["rss_mb"] > 10
    gone = Usage(2**30).figures(1.0)
    assert gone == {"cpu_cores": None, "rss_mb": None}
    assert machine()["cores"] >= 1
