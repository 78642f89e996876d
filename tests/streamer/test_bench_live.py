"""The whole bench: a server process, a client, figures.  Says nothing about speed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daetalker.streamer.bench import BenchPlan, bench_live
from daetalker.streamer.bench_client import BenchError
from tests.streamer.serving import buzz, settings_for
from tests.tiny import make_tiny_bundle


@pytest.mark.slow
async def test_bench_measures_a_real_server(tmp_path: Path) -> None:
    avatar = make_tiny_bundle(tmp_path / "tiny", size=32)
    plan = BenchPlan(seconds=3.0, voice=buzz(2.0), audio="buzz", check_s=2.0)
    figures = await bench_live(settings_for(avatar), plan)
    assert json.loads(json.dumps(figures)) == figures
    for key in ("fps", "interval_ms_p95", "longest_gap_ms", "cpu_cores", "rss_mb", "late"):
        assert figures[key] is not None, key
    assert set(figures["mouth_to_screen_ms"]) == {"p50", "p95"}
    assert set(figures["parts_ms"]) == {
        "receive", "lookahead", "hop", "compute", "pacing", "encode"
    }  # fmt: skip
    assert figures["frames"] > 0
    assert figures["error"] is None


async def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    avatar = make_tiny_bundle(tmp_path / "tiny", size=32)
    settings = settings_for(avatar)
    (avatar / "student.onnx").write_bytes(b"junk")
    from daetalker.streamer.bench import running_server

    with pytest.raises(BenchError, match=r"did not start: .*student\.onnx"):
        async with running_server(settings, tmp_path / "log.npz"):
            pass
