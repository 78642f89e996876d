"""`daetalker bench check`: a short run that fails where the pipeline got worse.

What is measured is compared with a baseline taken in the same run (`bench_echo.py`), before and
after it, so that neither a slow nor a busy machine fails, and a slower pipeline does.  On a machine
that cannot draw 25 frames a second, or that starved the bench itself, freezes and drift say nothing
about the pipeline and are not judged.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from daetalker.models.bundle import find_avatar, load_bundle
from daetalker.streamer.bench import bench_live
from daetalker.streamer.bench_bars import Bar, bar_figures
from daetalker.streamer.bench_echo import Baseline, measure_baseline
from daetalker.streamer.bench_plan import BenchPlan
from daetalker.streamer.capacity import capacity
from daetalker.streamer.engine import Engine
from daetalker.streamer.profile import PROFILES
from daetalker.streamer.settings import Settings

__all__ = ["bench_check", "check_bars"]

ECHO_S = 2.0
SLOWER_SHARE = 1.25
DRIFT_MS = 40.0
FREEZE_MS = 200.0
"""Twice what counts as a freeze: a neighbour on a shared machine may cost one short one."""

STARVED_MS = 20.0


async def bench_check(settings: Settings, plan: BenchPlan) -> dict[str, Any]:
    """Measure and judge; ``ok`` is false if a bar failed.

    Raises:
        BenchError: if it could not be measured.
    """
    bundle = await asyncio.to_thread(load_bundle, find_avatar(settings.avatar))
    engine = await asyncio.to_thread(Engine, bundle, threads=settings.threads)
    size = bundle.manifest.size
    before = await measure_baseline(engine, plan.voice, size, ECHO_S)
    figures = await bench_live(settings, replace(plan, check_s=0.0, onsets=0, clients=1))
    after = await measure_baseline(engine, plan.voice, size, ECHO_S)
    baseline = before.slower(after)
    bars = check_bars(settings, baseline, figures)
    return {
        "bench": "check",
        "ok": all(bar.ok for bar in bars),
        "bars": bar_figures(bars),
        "baseline_ms": {
            "receive": round(baseline.receive, 1),
            "compute": round(baseline.compute, 1),
            "encode": round(baseline.encode, 1),
            "mouth_to_screen": round(baseline.mouth_to_screen_ms(PROFILES[settings.profile]), 1),
        },
        "live": figures,
    }


def check_bars(settings: Settings, baseline: Baseline, figures: dict[str, Any]) -> list[Bar]:
    """Hold the figures of a run against its bars.

    The baseline takes hop and look-ahead of the profile by its name, and no other delay, whatever
    the settings: an allowance made longer is a pipeline made slower.
    """
    profile = PROFILES[settings.profile]
    expected_ms = baseline.mouth_to_screen_ms(profile)
    skipped = ""
    if capacity(baseline.network_ms, profile).tier == "reduced":
        skipped = "this machine cannot draw every frame"
    elif (figures["bench_lag_ms"]["p95"] or 0.0) > STARVED_MS:
        skipped = "this machine was too busy for the bench itself"
    errors = [figures["error"]] if figures["error"] else []
    return [
        Bar(
            "mouth to screen, p50",
            figures["mouth_to_screen_ms"]["p50"],
            SLOWER_SHARE * expected_ms,
            "ms",
        ),
        Bar("picture against voice, drift p95", figures["drift_ms"]["p95"], DRIFT_MS, "ms",
            skipped),
        Bar("longest freeze", figures["freezes"]["longest_ms"], FREEZE_MS, "ms", skipped),
        Bar("errors", float(len(errors)), 0.0),
    ]  # fmt: skip
