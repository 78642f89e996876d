"""`daetalker bench live`: a real server, real clients, and figures of what arrived.

The server runs in a process of its own, as `daetalker serve` does, and is told to keep raw times
(`tap.py`).  The clients run here (`bench_client.py`), over real WebSockets and WebRTC.
`bench_run.py` is the run itself; here its notes become the figures that docs/benchmarks.md defines.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle, find_avatar, load_bundle
from daetalker.streamer.bench_client import Received
from daetalker.streamer.bench_content import match_frames, reference_luma
from daetalker.streamer.bench_log import Log
from daetalker.streamer.bench_onset import first_motion
from daetalker.streamer.bench_overload import overload_figures
from daetalker.streamer.bench_plan import BenchPlan
from daetalker.streamer.bench_process import Usage, machine
from daetalker.streamer.bench_report import (
    Floats,
    frame_intervals,
    freezes,
    histogram,
    latencies,
    parts,
    percentiles,
)
from daetalker.streamer.bench_run import SETTLE_S, ClientRun, Run, run_bench
from daetalker.streamer.bench_server import RunningServer, running_server, wait_for_file
from daetalker.streamer.bench_sound import media_timeline, voice_damage
from daetalker.streamer.bench_sync import Sync, first_index_by_time, offsets, voice_arrivals
from daetalker.streamer.bench_voice import synthetic_voice
from daetalker.streamer.engine import Engine
from daetalker.streamer.hub import profile_of
from daetalker.streamer.media import CHUNK_SAMPLES, FPS, VOICE_RATE
from daetalker.streamer.profile import Profile
from daetalker.streamer.settings import Settings

__all__ = [
    "BenchPlan",
    "RunningServer",
    "Usage",
    "bench_live",
    "machine",
    "running_server",
    "synthetic_voice",
    "wait_for_file",
]


async def bench_live(settings: Settings, plan: BenchPlan) -> dict[str, Any]:
    """Measure; returns one dictionary for JSON.

    Raises:
        BenchError: if the server does not come up, refuses or sends nothing.
        BundleError: if the avatar is missing or damaged.
        NetworkError: if the network cannot be made.
    """
    bundle = await asyncio.to_thread(load_bundle, find_avatar(settings.avatar))
    with _folder(plan.log) as folder:
        run = await run_bench(settings, plan, folder)
        figures = await asyncio.to_thread(figures_of, settings, plan, bundle, run)
        if plan.log is not None:
            (folder / "figures.json").write_text(json.dumps(figures, indent=1))
    return figures


def figures_of(
    settings: Settings, plan: BenchPlan, bundle: AvatarBundle, run: Run
) -> dict[str, Any]:
    """All figures of a run; takes a few seconds, more with the check of the pictures."""
    profile = profile_of(settings)
    start_s, end_s = run.span_s
    engine = Engine(bundle, threads=settings.threads)
    content = _check_content(plan, engine, profile, run.clients[0]) if plan.check_s else None
    firsts = [content["first_frame"] if content else None] + [None] * (len(run.clients) - 1)
    people = [
        _client(client, plan.voice, profile, run.span_s, first)
        for client, first in zip(run.clients, firsts, strict=True)
    ]
    worst = min(people, key=lambda one: float(one.figures["fps"]))
    intervals_ms = np.concatenate([one.intervals_ms for one in people])
    times_ms = {
        name: np.concatenate([one.times_ms[name] for one in people]) for name in people[0].times_ms
    }
    stages = _stage_medians(run)
    pooled = Sync(
        np.concatenate([one.sync.frames for one in people]),
        # Each about its own constant: clients do not share a receiver.
        np.concatenate([_centred(one.sync.offset_ms) for one in people]),
    )
    network = plan.network
    errors = [one.received.error for one in run.clients if one.received.error]
    figures: dict[str, Any] = {
        "bench": "live",
        "avatar": bundle.manifest.name,
        "size": bundle.manifest.size,
        "profile": profile.name,
        "delay_ms": round(profile.delay_s * 1000, 1),
        "audio": plan.audio,
        "seconds": round(end_s - start_s, 1),
        "network": {"name": network.name if network else "loopback", "by": run.path}
        | ({"instead": run.why_not} if run.why_not else {})
        | ({"packets": run.packets} if run.packets else {}),
        "frames": worst.figures["frames"],
        "fps": worst.figures["fps"],
        "interval_ms_p50": percentiles(intervals_ms)["p50"],
        "interval_ms_p95": percentiles(intervals_ms)["p95"],
        "longest_gap_ms": max(one.figures["longest_gap_ms"] for one in people),
        "interval_histogram_ms": histogram(intervals_ms),
        "freezes": freezes(intervals_ms),
        "mouth_to_screen_ms": percentiles(times_ms["total"]),
        "mouth_to_screen_packets": len(times_ms["total"]),
        "first_motion_ms": _first_motion(plan, engine, profile, run),
        "parts_ms": parts(times_ms, profile, sum(stages.values())),
        "stages_ms": {name: round(value, 2) for name, value in stages.items()},
        "stage_histograms_s": run.stages,
        "drift_ms": pooled.figures(),
        **run.used,
        "late": sum(int(one.log["late"]) for one in run.clients),
        "skipped": sum(int(one.log["skipped"]) for one in run.clients),
        "input_gaps": sum(int(one.log["input_gaps"]) for one in run.clients),
        "voice_s": people[0].figures["voice_s"],
        "voice": people[0].figures["voice"],
        "error": errors[0].message if errors else None,
        "bench_lag_ms": percentiles(np.array(run.lag_ms)),
        "clients": [one.figures for one in people],
        "machine": machine(),
    }
    if run.load_s is not None:
        # The one that fared worst.
        frame_times = run.clients[people.index(worst)].received.frame_times_s
        figures["overload"] = {
            "processes": plan.load,
            **overload_figures(frame_times, run.span_s, run.load_s),
        }
    if content:
        figures["content"] = content
    return figures


@dataclass(frozen=True)
class _Person:
    """One client's share of the figures."""

    figures: dict[str, Any]
    intervals_ms: Floats
    times_ms: dict[str, Floats]
    sync: Sync


def _client(
    client: ClientRun,
    voice: NDArray[np.int16],
    profile: Profile,
    span_s: tuple[float, float],
    first_index: int | None,
) -> _Person:
    received, log = client.received, client.log
    times = [at for at in received.frame_times_s if span_s[0] <= at <= span_s[1]]
    intervals_ms = np.diff(np.array(times)) * 1000
    spoken = _spoken(voice, received)
    times_ms = latencies(received.packet_times_s, spoken, log)
    given_out = media_timeline(log["voice_start"], log["voice_pcm"])
    if first_index is None:
        first_index = first_index_by_time(received.frame_times_s, received.frame_ticks, log)
    sync = Sync(np.zeros(0, np.int64), np.zeros(0))
    if first_index is not None:
        sounds_s = [at for at, _ in received.sounds]
        arrivals = voice_arrivals(sounds_s, received.sound_ticks, client.heard, given_out)
        sync = offsets(received.frame_times_s, received.frame_ticks, first_index, arrivals, span_s)
    figures = {
        "session": received.welcome.session if received.welcome else None,
        "frames": len(times),
        **frame_intervals(times),
        "freezes": freezes(intervals_ms),
        "mouth_to_screen_ms": percentiles(times_ms["total"]),
        "drift_ms": sync.figures(),
        "voice_s": round(received.voice_samples / VOICE_RATE, 2),
        "voice": {
            "to_server": voice_damage(spoken, given_out).figures(),
            "from_server": voice_damage(given_out, client.heard).figures(),
        },
        "late": int(log["late"]),
        "skipped": int(log["skipped"]),
        "input_gaps": int(log["input_gaps"]),
        "error": received.error.message if received.error else None,
    }
    return _Person(figures, intervals_ms, times_ms, sync)


def _check_content(
    plan: BenchPlan, engine: Engine, profile: Profile, client: ClientRun
) -> dict[str, Any]:
    """Render offline what the server heard and look the received frames up in it."""
    received, log = client.received, client.log
    sent = log["sent"]
    if not len(sent) or not received.luma:
        return {"checked": 0, "first_frame": None}
    # The client may have missed frames at the start, while the connection settled.
    frames = int(sent[0, 1]) + int((plan.check_s + 2 * SETTLE_S) * FPS)
    given_out = media_timeline(log["voice_start"], log["voice_pcm"])
    reference, speaking = reference_luma(engine.bundle, engine, given_out, profile, frames)
    return match_frames(
        np.stack(received.luma),
        received.frame_ticks,
        received.frame_times_s,
        log,
        reference,
        speaking,
    )


def _first_motion(
    plan: BenchPlan, engine: Engine, profile: Profile, run: Run
) -> dict[str, float | int | None]:
    if not plan.onsets:
        return {"p50": None, "p95": None, "onsets": 0}
    client = run.clients[0]
    times_ms = first_motion(
        engine,
        profile,
        client.received.packet_times_s,
        _spoken(plan.voice, client.received),
        client.log,
        plan.onsets,
        run.span_s,
    )
    return {**percentiles(times_ms), "onsets": len(times_ms)}


def _spoken(voice: NDArray[np.int16], received: Received) -> NDArray[np.int16]:
    """What a client said, over and over, packet by packet."""
    whole = voice[: len(voice) // CHUNK_SAMPLES * CHUNK_SAMPLES]
    return np.resize(whole, len(received.packet_times_s) * CHUNK_SAMPLES)


def _stage_medians(run: Run) -> dict[str, float]:
    """Median milliseconds of each stage over the sessions."""
    names = [name for name in run.clients[0].log if name.endswith("_ms")]
    logs: list[Log] = [client.log for client in run.clients]
    return {
        name: float(np.median([float(log[name]) for log in logs if name in log])) for name in names
    }


def _centred(values: Floats) -> Floats:
    return values - np.median(values) if len(values) else values


@contextlib.contextmanager
def _folder(log: Path | None) -> Iterator[Path]:
    """Where the raw notes go: a folder to keep, or one that is gone in the end."""
    if log is not None:
        log.mkdir(parents=True, exist_ok=True)
        yield log
        return
    with tempfile.TemporaryDirectory(prefix="daetalker-bench-") as folder:
        yield Path(folder)
