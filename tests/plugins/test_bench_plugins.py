"""`daetalker bench plugins`: what it says of times that are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from daetalker.plugins import bench
from daetalker.plugins.agent.measure import interruption_times
from daetalker.streamer.bench_client import BenchError, Received
from daetalker.streamer.cli import main
from daetalker.streamer.errors import StreamerError

FRAME_S = 0.04
IDLE_S = 4.0
RNG = np.random.default_rng(5)


def picture(opening: float, blinks: bool) -> np.ndarray:
    grey = np.full((40, 40), 120.0)
    grey[28:32, 16:24] -= 80.0 * opening
    if blinks:
        grey[10:13, 8:32] += 90.0
    return np.clip(grey + RNG.normal(0.0, 1.5, grey.shape), 16, 235).astype(np.uint8)


def watched(closes_after_s: float, silent_after_s: float, at_s: list[float]) -> Received:
    """A mouth that moves from 4 s on, and falls shut and silent so long after each ``at_s``."""
    received = Received()
    for number in range(int((at_s[-1] + 2.0) / FRAME_S)):
        now_s = number * FRAME_S
        speaks = now_s >= IDLE_S and not any(a + closes_after_s <= now_s < a + 1.0 for a in at_s)
        opening = 0.6 + 0.4 * np.sin(now_s * 3) if speaks else 0.0
        received.frame_times_s.append(now_s)
        received.luma.append(picture(opening, blinks=number % 60 < 4))
    for number in range(int((at_s[-1] + 2.0) / 0.02)):
        now_s = number * 0.02
        speaks = now_s >= IDLE_S and not any(a + silent_after_s <= now_s < a + 1.0 for a in at_s)
        received.sounds.append((now_s, 5000 if speaks else 3))
    return received


@pytest.mark.parametrize(("mouth_s", "voice_s"), [(0.06, 0.11), (0.21, 0.05)])
def test_the_later_of_mouth_and_voice_counts(mouth_s: float, voice_s: float) -> None:
    at_s = [7.013, 9.5, 12.321]
    figures = interruption_times(watched(mouth_s, voice_s, at_s), IDLE_S, at_s)
    assert figures["interruptions"] == 3
    mouth = figures["interrupt_to_mouth_shut_ms"]["p50"]
    voice = figures["interrupt_to_silence_ms"]["p50"]
    assert 1000 * mouth_s <= mouth <= 1000 * mouth_s + 41
    assert 1000 * voice_s <= voice <= 1000 * voice_s + 21
    assert figures["interrupt_to_closed_ms"]["p50"] == max(mouth, voice)


def test_a_mouth_that_never_opens_is_no_measurement() -> None:
    at_s = [7.0]
    with pytest.raises(BenchError, match="open mouth"):
        interruption_times(watched(-10.0, 0.05, at_s), IDLE_S, at_s)
    with pytest.raises(BenchError, match="too few pictures"):
        interruption_times(watched(0.05, 0.05, at_s), 0.0, at_s)


def test_parts_are_printed_and_what_is_missing_is_said(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> dict[str, float]:
        raise StreamerError("mosquitto is not installed")

    parts = {
        "camera": lambda *_: {"camera_microphone_offset_ms": 12.0},
        "interrupt": lambda *_: {"interrupt_to_closed_ms": {"p50": 90.0, "p95": 170.0}},
        "mqtt": broken,
    }
    monkeypatch.setattr(bench, "PARTS", parts)
    assert bench.main(["--avatar", str(bundle), "--json"]) == 1
    figures = json.loads(capsys.readouterr().out)
    assert figures["camera_microphone_offset_ms"] == 12.0
    assert figures["not_measured"] == {"mqtt": "mosquitto is not installed"}
    assert figures["machine"]["cores"] >= 1
    assert bench.main(["--avatar", str(bundle)]) == 1
    printed = capsys.readouterr().out
    assert "12.0   (within 20)" in printed and "(OVER 150)" in printed
    assert "mqtt: not measured" in printed


@pytest.mark.slow
def test_an_interruption_is_measured_on_a_real_server(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--only", "interrupt", "--interruptions", "2", "--avatar", str(bundle)]
    assert main(["bench", "plugins", *arguments, "--threads", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["interruptions"] >= 1
    assert 0 < figures["interrupt_to_closed_ms"]["p50"] < 2000
