"""What is made of measured times: overload, sweep, bars, first motion, the page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daetalker.models.bundle import AvatarBundle
from daetalker.streamer.bench_bars import Bar, bar_figures, bar_lines
from daetalker.streamer.bench_check import check_bars
from daetalker.streamer.bench_echo import Baseline
from daetalker.streamer.bench_growth import Samples, soak_bars
from daetalker.streamer.bench_html import bench_page
from daetalker.streamer.bench_log import read_log
from daetalker.streamer.bench_onset import (
    first_motion,
    first_moving_frame,
    speech_onsets,
    visible_difference,
)
from daetalker.streamer.bench_overload import overload_figures, recovery_s
from daetalker.streamer.bench_sweep import sweep_figures
from daetalker.streamer.cli import main
from daetalker.streamer.engine import Engine
from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_PER_FRAME, VOICE_RATE
from daetalker.streamer.profile import PROFILES
from daetalker.streamer.tap import MediaTap
from tests.streamer.serving import buzz, settings_for

DEFAULT = PROFILES["default"]


def test_overload_is_told_apart_and_recovery_timed() -> None:
    even = [i / 25 for i in range(250)]
    under_load = [at for at in np.arange(10.0, 20.0, 0.1)]
    # After the load 0.6 s more of ten frames a second, then all of them.
    tail = [20.0, 20.1, 20.2, 20.3, 20.4, 20.5] + [20.6 + i / 25 for i in range(200)]
    figures = overload_figures([*even, *under_load, *tail], (0.0, 28.0), (10.0, 20.0))
    assert figures["before"]["fps"] == pytest.approx(25, abs=0.01)
    assert figures["during"]["fps"] == pytest.approx(10, abs=0.1)
    assert figures["during"]["interval_ms_p95"] == pytest.approx(100, abs=1)
    assert figures["recovery_s"] == pytest.approx(0.6, abs=0.11)
    assert recovery_s(even, 3.0) == 0.0
    assert recovery_s(under_load, 11.0) is None


def _live(clients: int = 1, **more: Any) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "bench": "live", "avatar": "tiny", "profile": "default", "audio": "buzz", "seconds": 10.0,
        "network": {"name": "loopback", "by": "loopback"}, "fps": 25.0,
        "mouth_to_screen_ms": {"p50": 280.0, "p95": 300.0},
        "first_motion_ms": {"p50": 200.0, "p95": 220.0, "onsets": 3},
        "drift_ms": {"p50": 5.0, "p95": 12.0, "longest": 30.0, "change": 0.5},
        "freezes": {"count": 0, "longest_ms": 0.0, "total_ms": 0.0},
        "parts_ms": {"receive": 5.0, "lookahead": 120.0, "hop": 120.0, "compute": 40.0,
                     "pacing": -20.0, "encode": 5.0},
        "interval_histogram_ms": {"<=40": 100, ">40": 3},
        "stage_histograms_s": {"frame": {"0.01": 4, "0.02": 9, "+Inf": 1}},
        "cpu_cores": 1.1, "rss_mb": 250.0, "late": 0, "skipped": 0, "error": None,
        "bench_lag_ms": {"p50": 0.2, "p95": 1.0},
        "machine": {"cpu": "a <cpu>", "cores": 2, "python": "3.11"},
    }  # fmt: skip
    figures |= more
    names = ("fps", "mouth_to_screen_ms", "drift_ms", "freezes")
    figures["clients"] = [{name: figures[name] for name in names}] * clients
    return figures


def test_a_sweep_counts_until_the_first_that_was_not_served() -> None:
    late = {"p50": 300.0, "p95": 401.0}
    runs = [_live(3, mouth_to_screen_ms=late), _live(1), _live(2), _live(4)]
    figures = sweep_figures(runs)
    assert [(row["clients"], row["served"]) for row in figures["runs"]] == [
        (1, True), (2, True), (3, False), (4, True)
    ]  # fmt: skip
    assert (figures["sessions"], figures["sessions_per_core"]) == (2, 1.0)
    assert sweep_figures([_live(1, fps=24.4)])["sessions"] == 0


BASELINE = Baseline(
    receive=2.0,
    compute=40.0,
    encode=6.0,
    network_ms={"acoustic": 15.0, "speech": 10.0, "latent": 5.0, "student": 10.0},
)


def _failed(figures: dict[str, Any], baseline: Baseline = BASELINE, **settings: Any) -> list[str]:
    bars = check_bars(settings_for(Path("tiny"), **settings), baseline, figures)
    return [bar.name for bar in bars if not bar.ok]


def test_the_gate_lets_the_good_through_and_names_what_is_worse() -> None:
    assert BASELINE.mouth_to_screen_ms(DEFAULT) == pytest.approx(240 + 48)
    assert _failed(_live()) == []
    slow = {"p50": 1.26 * 288, "p95": 400.0}
    assert _failed(_live(mouth_to_screen_ms=slow)) == ["mouth to screen, p50"]
    # A longer allowance is no excuse, nor is having measured nothing.
    assert _failed(_live(mouth_to_screen_ms=slow), allowance_ms=500) == ["mouth to screen, p50"]
    assert len(_failed(_live(mouth_to_screen_ms={"p50": None, "p95": None}))) == 1
    drift = {"p50": 5.0, "p95": 41.0, "longest": 60.0, "change": 0.0}
    assert _failed(_live(drift_ms=drift)) == ["picture against voice, drift p95"]
    frozen = {"count": 1, "longest_ms": 201.0, "total_ms": 201.0}
    assert _failed(_live(freezes=frozen)) == ["longest freeze"]
    assert _failed(_live(error="no")) == ["errors"]


def test_a_machine_that_is_slow_itself_does_not_fail() -> None:
    frozen = {"count": 1, "longest_ms": 900.0, "total_ms": 900.0}
    slow = Baseline(30.0, 110.0, 20.0, dict.fromkeys(BASELINE.network_ms, 60.0))
    late = _live(mouth_to_screen_ms={"p50": 480.0, "p95": 600.0}, freezes=frozen)
    assert _failed(late, slow) == []
    assert _failed(_live(freezes=frozen, bench_lag_ms={"p50": 5.0, "p95": 50.0})) == []
    assert BASELINE.slower(slow).receive == 30.0


def test_bars_are_told_in_words() -> None:
    bars = [Bar("a", 1.0, 2.0, "ms"), Bar("b", 3.0, 2.0), Bar("c", None, 2.0),
            Bar("d", None, 2.0, skipped="too short")]  # fmt: skip
    assert [bar.ok for bar in bars] == [True, False, False, True]
    assert bar_lines(bar_figures(bars)) == [
        "ok         a: 1, at most 2 ms",
        "FAILED     b: 3, at most 2",
        "FAILED     c: not measured, at most 2",
        "not judged d: not measured, at most 2 (too short)",
    ]


def test_a_soak_fails_by_what_grows() -> None:
    flat: dict[str, float | None] = {
        "rss_mb": 1.0, "threads": 0.0, "files": 0.0, "sessions": 0.0, "rss_mb_per_hour": None
    }  # fmt: skip
    assert all(bar.ok for bar in soak_bars(flat, [], _live()))
    for name, worse in (("rss_mb", 60.0), ("threads", 40.0), ("files", 20.0), ("sessions", 1.0),
                        ("rss_mb_per_hour", 50.0)):  # fmt: skip
        assert [bar.ok for bar in soak_bars(flat | {name: worse}, [], _live())].count(False) == 1
    assert not all(bar.ok for bar in soak_bars(flat, ["a visitor saw nothing"], _live()))


def test_growth_is_what_goes_on_after_the_first_crowd() -> None:
    def look(at_s: float, rss_mb: float, threads: int = 20) -> dict[str, Any]:
        return {"at_s": at_s, "rss_mb": rss_mb, "threads": threads, "files": 9, "sessions": 1}

    samples = Samples()
    samples.visited_s = 10.0
    crowd = [look(10.0 + i, min(250.0 + 10 * i, 300.0), 30) for i in range(1, 31)]
    samples.all = [look(5.0, 200.0), *crowd]
    samples.alone = [look(9.0, 200.0), look(41.0, 301.0, 21)]
    assert samples.growth() == {
        "rss_mb": 1.0, "threads": 1, "files": 0, "sessions": 0, "rss_mb_per_hour": None
    }  # fmt: skip
    # Half an hour that loses 1 MB a minute.
    samples.all = [look(10.0 + 2 * i, 300.0 + i / 30) for i in range(900)]
    samples.alone[1] = look(1811.0, 330.0)
    leaking = samples.growth()
    assert leaking["rss_mb_per_hour"] == pytest.approx(60, abs=0.5)
    assert [bar.ok for bar in soak_bars(leaking, [], _live())].count(False) == 1
    assert len(samples.rows()) <= 300


def test_speech_begins_after_a_pause_only() -> None:
    loud, pause = buzz(0.5), np.zeros(VOICE_RATE // 2, np.int16)
    short = np.zeros(VOICE_RATE // 10, np.int16)
    click = np.concatenate([buzz(0.02), np.zeros(VOICE_RATE // 2, np.int16)])
    voice = np.concatenate([pause, loud, short, loud, pause, click, loud])
    second = pause.size + 2 * loud.size + short.size + pause.size + click.size
    assert speech_onsets(voice) == [pause.size, second // CHUNK_SAMPLES * CHUNK_SAMPLES]
    assert speech_onsets(np.zeros(0, np.int16)) == []


def test_the_first_moving_frame_moves_because_of_the_speech(tiny_engine: Engine) -> None:
    # More than the three seconds that are heard again, and a cut that is no multiple of the hop.
    onset = 5 * VOICE_RATE + 3 * CHUNK_SAMPLES
    voice = np.concatenate([np.zeros(onset, np.int16), buzz(1.5)])
    frame = first_moving_frame(tiny_engine, voice, onset, DEFAULT)
    assert frame is not None
    assert abs(frame - onset // VOICE_PER_FRAME) <= DEFAULT.lookahead_frames + 2
    still = np.zeros_like(voice)
    assert first_moving_frame(tiny_engine, still, onset, DEFAULT) is None
    black = np.zeros((20, 20), np.uint8)
    spot = black.copy()
    spot[0, :4] = 80
    assert visible_difference(black, spot) == 80.0


def test_first_motion_ends_when_that_frame_is_sent(
    tiny_bundle: AvatarBundle, tiny_engine: Engine, tmp_path: Path
) -> None:
    voice = np.concatenate([np.zeros(2 * VOICE_RATE, np.int16), _noise(2.0)])
    packets = voice.size // CHUNK_SAMPLES
    handed_s = [100.0 + 0.02 * i for i in range(packets)]
    frame = first_moving_frame(tiny_engine, voice, 2 * VOICE_RATE, DEFAULT)
    assert frame is not None
    log = {
        "heard": np.array([(at + 0.003, 960 * i, 960) for i, at in enumerate(handed_s)]),
        "heard_pcm": voice[: packets * CHUNK_SAMPLES],
        "voice_start": np.arange(packets) * CHUNK_SAMPLES,
        "voice_pcm": voice[: packets * CHUNK_SAMPLES],
        "sent": np.array([(100.0 + 0.04 * f + 0.3, f) for f in range(100)]),
    }
    found = first_motion(tiny_engine, DEFAULT, handed_s, voice, log, 5, (100.0, 200.0))
    assert found == pytest.approx([(0.04 * frame + 0.3 - 2.0) * 1000], abs=0.1)


def _noise(seconds: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    rng = np.random.default_rng(1)
    return np.rint(rng.standard_normal(int(seconds * VOICE_RATE)) * 3000).astype(np.int16)


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    tap = MediaTap(tmp_path / "session")
    pcm = np.arange(CHUNK_SAMPLES, dtype=np.int16)
    for i in range(3):
        tap.heard(i * CHUNK_SAMPLES, pcm)
        tap.voice(i * CHUNK_SAMPLES, pcm + 1)
        tap.taken(i)
        tap.sent(i)
    assert not (tmp_path / "session" / "session.json").exists()
    tap.save(late=2, frame_ms=7.5)
    tap.sent(4)  # too late to be noted, and no fault
    tap.close()
    log = read_log(tmp_path / "session")
    assert log["heard"][:, 1:].tolist() == [[0, 960], [960, 960], [1920, 960]]
    assert log["heard_pcm"].size == log["voice_pcm"].size == 3 * CHUNK_SAMPLES
    assert log["voice_pcm"][0] == 1
    assert log["sent"][:, 1].tolist() == [0, 1, 2]
    assert (int(log["late"]), float(log["frame_ms"])) == (2, 7.5)
    empty = MediaTap(tmp_path / "empty")
    empty.save()
    assert read_log(tmp_path / "empty")["heard_pcm"].size == 0


def test_mistakes_in_the_options_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "live", "--network", "wet"]) == 2
    assert "there is no network 'wet'; there are: loss1" in capsys.readouterr().err
    assert main(["bench", "live", "--network", "list"]) == 0
    assert "300 kbit/s" in capsys.readouterr().out
    for words, said in (
        (["live", "--clients", "2,x"], "'x' must be a whole number, 1 to 64"),
        (["live", "--seconds", "0"], "'0' must be 1 to 86400"),
        (["soak", "--minutes", "long"], "'long' must be 0.1 to 1440"),
        (["live", "--seconds", "5", "--minutes", "1"], "not allowed with"),
    ):
        with pytest.raises(SystemExit):
            main(["bench", *words])
        assert said in capsys.readouterr().err


class _Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing() -> None:
    bars = bar_figures([Bar("<b>old", 3.0, 2.0), Bar("fine", 1.0, 2.0)])
    overload = {"processes": 2, **overload_figures([i / 25 for i in range(750)], (0, 29), (9, 19))}
    samples = [
        {"at_s": 2.0 * i, "rss_mb": 250.0 + i, "threads": 20, "files": 30, "sessions": None}
        for i in range(5)
    ]
    pages = [
        bench_page(_live(2, overload=overload)),
        bench_page({"bench": "check", "bars": bars, "live": _live()}),
        bench_page({"bench": "soak", "bars": bars, "resident": _live(), "samples": samples}),
        bench_page(sweep_figures([_live(1), _live(2)])),
        bench_page(_live(parts_ms=dict.fromkeys(("receive", "encode")))),
    ]
    for page in pages:
        reader = _Balance()
        reader.feed(page)
        assert reader.open == []
        assert not reader.tags & {"script", "link", "img", "cpu", "b>"}
        assert "a &lt;cpu&gt;" in page
    assert "FAILED" in pages[1] and "&lt;b&gt;old" in pages[1]
    assert "polyline" in pages[2] and "not measured" in pages[2]
