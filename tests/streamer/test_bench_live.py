"""The whole bench: a server process, clients, figures.  Says nothing about speed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from daetalker.streamer import bench_soak as soak
from daetalker.streamer.bench import BenchPlan, bench_live, running_server, synthetic_voice
from daetalker.streamer.bench_check import bench_check
from daetalker.streamer.bench_client import BenchError
from daetalker.streamer.bench_html import bench_page
from daetalker.streamer.bench_network import NETWORKS
from tests.streamer.serving import settings_for
from tests.tiny import make_tiny_bundle

VOICE = synthetic_voice(6.0)
PLAN = BenchPlan(seconds=3.0, voice=VOICE, audio="synthetic", check_s=2.0, onsets=1)


@pytest.mark.slow
async def test_bench_measures_a_real_server(tmp_path: Path) -> None:
    avatar = make_tiny_bundle(tmp_path / "tiny", size=32)
    plan = replace(PLAN, load=1, log=tmp_path / "log")
    figures = await bench_live(settings_for(avatar), plan)
    assert json.loads(json.dumps(figures)) == figures
    for key in ("fps", "interval_ms_p95", "longest_gap_ms", "cpu_cores", "rss_mb", "late"):
        assert figures[key] is not None, key
    assert set(figures["mouth_to_screen_ms"]) == {"p50", "p95"}
    assert set(figures["parts_ms"]) == {
        "receive", "lookahead", "hop", "compute", "pacing", "encode"
    }  # fmt: skip
    assert figures["frames"] > 0
    assert sum(figures["interval_histogram_ms"].values()) == figures["frames"] - 1
    assert sum(figures["stage_histograms_s"]["frame"].values()) > 0
    assert set(figures["overload"]) == {"processes", "before", "during", "after", "recovery_s"}
    assert figures["error"] is None
    session = figures["clients"][0]["session"]
    assert (tmp_path / "log" / session / "sent.f64").stat().st_size > 0
    assert json.loads((tmp_path / "log" / "figures.json").read_text()) == figures
    assert "daetalker bench live" in bench_page(figures)


@pytest.mark.slow
async def test_two_clients_through_a_poor_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The relay, whether or not this kernel has netem.
    monkeypatch.setattr("daetalker.streamer.bench_path.shutil.which", lambda _: None)
    avatar = make_tiny_bundle(tmp_path / "tiny", size=32)
    plan = replace(PLAN, clients=2, network=NETWORKS["delay100"], check_s=0.0, onsets=0)
    figures = await bench_live(settings_for(avatar), plan)
    assert figures["network"]["by"] == "relay"
    packets = figures["network"]["packets"]
    assert packets["up"]["packets"] > 200 and packets["down"]["packets"] > 200
    assert len(figures["clients"]) == 2
    assert len({one["session"] for one in figures["clients"]}) == 2
    assert all(one["frames"] > 0 for one in figures["clients"])
    # The delay is on the way to the server, so it is part of the figure.
    if figures["mouth_to_screen_packets"]:  # a starved server may have heard nothing whole
        assert figures["mouth_to_screen_ms"]["p50"] > figures["delay_ms"] - 40 + 90
        assert figures["parts_ms"]["receive"] > 90


@pytest.mark.slow
async def test_the_gate_fires_when_the_server_takes_longer(tmp_path: Path) -> None:
    avatar = make_tiny_bundle(tmp_path / "tiny", size=32)
    settings = settings_for(avatar, allowance_ms=600)
    figures = await bench_check(settings, PLAN)
    failed = [bar["name"] for bar in figures["bars"] if not bar["ok"]]
    assert "mouth to screen, p50" in failed
    assert not figures["ok"]
    # The baseline knows nothing of the allowance.
    assert figures["baseline_ms"]["mouth_to_screen"] < figures["live"]["delay_ms"] - 300


@pytest.mark.slow
async def test_a_short_soak_lets_visitors_leave_in_every_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ALONE_S": 1.0, "ASLEEP_S": 2.0, "VISIT_S": (0.2, 0.4)}.items():
        monkeypatch.setattr(soak, name, value)
    avatar = make_tiny_bundle(tmp_path / "tiny", size=32)
    plan = soak.SoakPlan(seconds=0.5, visitors=3, voice=VOICE, audio="synthetic")
    figures = await soak.bench_soak(settings_for(avatar), plan)
    assert json.loads(json.dumps(figures)) == figures
    assert figures["visits"] == {"goodbye": 1, "killed": 1, "asleep": 1}
    assert figures["failed"] == []
    assert figures["growth"]["sessions"] == 0
    assert max(row["sessions"] for row in figures["samples"] if row["sessions"]) > 1
    named = {bar["name"]: bar for bar in figures["bars"]}
    for name in ("threads, more than before", "open files and sockets, more than before",
                 "sessions left behind", "errors and visitors who saw nothing"):  # fmt: skip
        assert named[name]["ok"], named[name]


async def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    avatar = make_tiny_bundle(tmp_path / "tiny", size=32)
    settings = settings_for(avatar)
    (avatar / "student.onnx").write_bytes(b"junk")
    with pytest.raises(BenchError, match=r"did not start: .*student\.onnx"):
        async with running_server(settings, tmp_path / "log"):
            pass
