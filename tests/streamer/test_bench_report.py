"""The arithmetic of the bench, on times made up so that every answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from daetalker.streamer.bench import Usage, machine, synthetic_voice
from daetalker.streamer.bench_content import match_frames
from daetalker.streamer.bench_report import (
    frame_intervals,
    freezes,
    histogram,
    latencies,
    parts,
    percentiles,
)
from daetalker.streamer.bench_sound import (
    find_shift,
    media_timeline,
    spoken_positions,
    voice_damage,
)
from daetalker.streamer.bench_sync import first_index_by_time, offsets, voice_arrivals
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
    profile = PROFILES["default"]
    shares = parts(found, profile, compute_ms=25.0)
    assert shares["lookahead"] == 40.0 * profile.lookahead_frames
    assert shares["hop"] == 40.0 * profile.hop_frames
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


def test_freezes_and_histogram_of_intervals() -> None:
    gaps_ms = np.array([40.0, 41.0, 100.0, 100.1, 260.0])
    assert freezes(gaps_ms) == {"count": 2, "longest_ms": 260.0, "total_ms": 360.1}
    assert freezes(gaps_ms[:3]) == {"count": 0, "longest_ms": 0.0, "total_ms": 0.0}
    steps = histogram(gaps_ms, (40, 100))
    assert steps == {"<=40": 1, "<=100": 2, ">100": 2}
    assert percentiles(np.array([1.0, 2.0, 3.0])) == {"p50": 2.0, "p95": 2.9}
    assert percentiles(np.zeros(0)) == {"p50": None, "p95": None}


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


def test_damage_of_a_voice_is_counted_by_packets() -> None:
    spoken = _spoken(4.0)
    whole = voice_damage(spoken, spoken)
    assert (whole.damaged, whole.longest_ms) == (0, 0)
    assert whole.loud > 150
    broken = spoken.copy()
    broken[50 * CHUNK_SAMPLES : 53 * CHUNK_SAMPLES] = 0
    lost = voice_damage(spoken, broken)
    assert (lost.damaged, lost.longest_ms) == (3, 60)
    # 20 ms put in between, as a buffer does that grows: later, but all there.
    later = np.insert(spoken, 50 * CHUNK_SAMPLES, np.zeros(CHUNK_SAMPLES, np.int16))
    assert voice_damage(spoken, later).damaged == 0
    assert voice_damage(np.zeros(VOICE_RATE, np.int16), spoken).figures() == {
        "damaged_share": None, "longest_damage_ms": 0
    }  # fmt: skip


def test_drift_is_what_the_offset_does_not_its_amount() -> None:
    voice = _spoken(8.0)
    chunks = len(voice) // CHUNK_SAMPLES
    sounds_s = [10.0 + 0.02 * i for i in range(chunks)]
    ticks = [(i * CHUNK_SAMPLES, CHUNK_SAMPLES) for i in range(chunks)]
    arrivals = voice_arrivals(sounds_s, ticks, voice, voice)
    frames_s = [10.0 + 0.04 * f + 0.055 for f in range(200)]
    video_ticks = [3600 * f for f in range(200)]
    even = offsets(frames_s, video_ticks, 0, arrivals, (0.0, 99.0))
    assert even.figures() == {"p50": 0.0, "p95": 0.0, "longest": 0.0, "change": 0.0}
    assert even.offset_ms == pytest.approx(55.0)
    # Pictures that run away by 20 ms a second.
    away = offsets(
        [at + 0.0008 * f for f, at in enumerate(frames_s)], video_ticks, 0, arrivals, (0.0, 99.0)
    ).figures()
    assert away["change"] == pytest.approx(0.9 * 160, abs=3)
    assert away["p95"] is not None and away["p95"] > 60
    # One late frame is a drift of that frame.
    frames_s[100] += 0.2
    late = offsets(frames_s, video_ticks, 0, arrivals, (0.0, 99.0)).figures()
    assert (late["p95"], late["longest"]) == (0.0, 200.0)


def test_the_first_frame_is_found_by_time_where_no_picture_is_compared() -> None:
    log = {"sent": np.array([(0.04 * f + 5.0, f) for f in range(400)])}
    ticks = [3600 * i for i in range(100)]
    assert first_index_by_time([5.0 + 0.04 * (i + 7) + 0.03 for i in range(100)], ticks, log) == 7
    assert first_index_by_time([], [], {"sent": np.zeros((0, 2))}) is None


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
    assert set(gone.values()) == {None}
    assert machine()["cores"] >= 1
