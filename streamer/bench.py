"""`daetalker bench live`: a real server, a real client, and figures of what arrived.

The server runs in a process of its own, as `daetalker serve` does, and is told to keep raw times
(`tap.py`).  The client runs here (`bench_client.py`), over a real WebSocket and WebRTC on loopback.
``bench_report.py`` turns the times into figures and defines each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import find_avatar, load_bundle
from daetalker.streamer.bench_client import BenchClient, BenchError, Received
from daetalker.streamer.bench_report import (
    frame_intervals,
    latencies,
    match_frames,
    media_timeline,
    parts,
)
from daetalker.streamer.hub import profile_of
from daetalker.streamer.media import CHUNK_SAMPLES, FPS, VOICE_PER_FRAME, VOICE_RATE, to_model_rate
from daetalker.streamer.settings import Settings

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
SETTLE_S = 2.0
"""Left out at the start: the connection's first second is not what a minute looks like."""


@dataclass(frozen=True)
class BenchPlan:
    """What to measure.

    Attributes:
        seconds: measured time, after two seconds of settling.
        voice: ``[N]`` int16 mono 48 kHz, repeated if it is shorter.
        audio: what the voice is, for the report.
        check_s: seconds whose frames are compared with the offline render; 0 leaves that out.
    """

    seconds: float
    voice: NDArray[np.int16]
    audio: str
    check_s: float = 8.0


async def bench_live(settings: Settings, plan: BenchPlan) -> dict[str, Any]:
    """Measure; returns one flat-enough dictionary for JSON.

    Raises:
        BenchError: if the server does not come up, refuses or sends nothing.
        BundleError: if the avatar is missing or damaged.
    """
    bundle = await asyncio.to_thread(load_bundle, find_avatar(settings.avatar))
    keep_frames = int((plan.check_s + SETTLE_S) * FPS) if plan.check_s else 0
    with tempfile.TemporaryDirectory(prefix="daetalker-bench-") as folder:
        log_path = Path(folder) / "times.npz"
        async with running_server(settings, log_path) as server:
            async with BenchClient(server.url, plan.voice, keep_frames=keep_frames) as client:
                await client.wait_for_video()
                await asyncio.sleep(SETTLE_S)
                usage = Usage(server.pid)
                start_s = time.monotonic()
                while (left_s := start_s + plan.seconds - time.monotonic()) > 0:
                    await asyncio.sleep(min(1.0, left_s))
                    usage.sample()
                end_s = time.monotonic()
                used = usage.figures(end_s - start_s)
                # What is on its way (its delay, the jitter buffer) belongs to the measured time.
                await asyncio.sleep(1.0)
            await wait_for_file(log_path)
            with np.load(log_path, allow_pickle=False) as file:
                log = {name: file[name] for name in file.files}
        received = client.received
    profile = profile_of(settings)
    manifest = bundle.manifest
    figures: dict[str, Any] = {
        "bench": "live",
        "avatar": manifest.name,
        "size": manifest.size,
        "profile": profile.name,
        "delay_ms": round(profile.delay_s * 1000, 1),
        "audio": plan.audio,
        "seconds": round(end_s - start_s, 1),
        **_frames(received, start_s, end_s),
        **_delays(received, plan.voice, log, settings),
        **used,
        "late": int(log["late"]),
        "skipped": int(log["skipped"]),
        "input_gaps": int(log["input_gaps"]),
        "voice_s": round(received.voice_samples / VOICE_RATE, 2),
        "error": received.error.message if received.error else None,
        "machine": machine(),
    }
    if plan.check_s:
        figures["content"] = await asyncio.to_thread(
            check_content, settings, received, log, plan.check_s
        )
    return figures


def _frames(received: Received, start_s: float, end_s: float) -> dict[str, Any]:
    times = [at for at in received.frame_times_s if start_s <= at <= end_s]
    return {"frames": len(times), **frame_intervals(times)}


def _delays(
    received: Received,
    voice: NDArray[np.int16],
    log: Mapping[str, NDArray[Any]],
    settings: Settings,
) -> dict[str, Any]:
    count = len(received.packet_times_s) * CHUNK_SAMPLES
    whole = voice[: len(voice) // CHUNK_SAMPLES * CHUNK_SAMPLES]
    spoken = np.resize(whole, count)
    times_ms = latencies(received.packet_times_s, spoken, log)
    total = times_ms["total"]
    stages = {name: float(log[name]) for name in log if name.endswith("_ms")}
    measured = len(total) > 0
    return {
        "mouth_to_screen_ms": {
            "p50": round(float(np.percentile(total, 50)), 1) if measured else None,
            "p95": round(float(np.percentile(total, 95)), 1) if measured else None,
        },
        "mouth_to_screen_packets": len(total),
        "parts_ms": parts(times_ms, profile_of(settings), sum(stages.values())),
        "stages_ms": {name: round(value, 2) for name, value in stages.items()},
    }


def check_content(
    settings: Settings, received: Received, log: Mapping[str, NDArray[Any]], check_s: float
) -> dict[str, Any]:
    """Render offline what the server heard and look the received frames up in it."""
    from daetalker.streamer.engine import Engine
    from daetalker.streamer.offline import synthesise

    sent = log["sent"]
    if not len(sent) or not received.luma:
        return {"checked": 0}
    # The client may have missed frames at the start, while the connection settled.
    frames = int(sent[0, 1]) + int((check_s + 2 * SETTLE_S) * FPS)
    voice = media_timeline(log["voice_start"], log["voice_pcm"])[: (frames + FPS) * VOICE_PER_FRAME]
    bundle = load_bundle(find_avatar(settings.avatar))
    engine = Engine(bundle, threads=settings.threads)
    rendered = list(
        synthesise(
            bundle, engine, to_model_rate(voice), profile=profile_of(settings), frames=frames
        )
    )
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    reference = np.stack([np.rint(frame.rgb @ weights) for frame in rendered])
    # The picture on the wire has limited range; so has the decoded grey picture.
    reference = np.rint(16.0 + reference * (219.0 / 255.0)).astype(np.uint8)
    speaking = np.array([frame.speaking for frame in rendered])
    return match_frames(
        np.stack(received.luma),
        received.frame_ticks,
        received.frame_times_s,
        log,
        reference,
        speaking,
    )


@dataclass(frozen=True)
class RunningServer:
    """A server process that is ready."""

    url: str
    pid: int


@contextlib.asynccontextmanager
async def running_server(
    settings: Settings, bench_log: Path | None = None, plugins: str = ""
) -> AsyncIterator[RunningServer]:
    """A `daetalker serve` process on a free port; ended on the way out.

    Args:
        bench_log: file for the raw times of one session.
        plugins: names of plugins to load, comma separated.

    Raises:
        BenchError: with the server's own last words, if it does not come up.
    """
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "daetalker.streamer.cli", "serve"),
            *server_flags(settings, bench_log),
            *(("--plugins", plugins) if plugins else ()),
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
        )
        try:
            try:
                async with asyncio.timeout(READY_TIMEOUT_S):
                    url = await _ready_url(process)
            except TimeoutError:
                url = None
            if url is None:
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                raise BenchError("the server did not start: " + (lines[-1] if lines else "no word"))
            yield RunningServer(url, process.pid)
        finally:
            await _stop(process)


def server_flags(settings: Settings, bench_log: Path | None) -> list[str]:
    """Flags that give a server the same settings, on a port of its own."""
    flags = ["--host", "127.0.0.1", "--port", "0"]
    if bench_log is not None:
        flags += ["--bench-log", str(bench_log)]
    for name in ("avatar", "profile", "allowance_ms", "threads", "video_kbit_s", "log_level"):
        value = getattr(settings, name)
        if value is not None:
            flags += ["--" + name.replace("_", "-"), str(value)]
    return flags


async def _ready_url(process: asyncio.subprocess.Process) -> str | None:
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode(errors="replace"):
        if line.startswith("Ready: "):
            return line.removeprefix("Ready: ").strip()
    return None


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.communicate()  # also drains its pipe
    except TimeoutError:
        process.kill()
        await process.wait()


async def wait_for_file(path: Path, timeout_s: float = 15.0) -> None:
    """Until the server has written its times; it does so once the client has left.

    Raises:
        BenchError: if it does not.
    """
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if path.exists():
            return
        await asyncio.sleep(0.1)
    raise BenchError("the server did not write its times: did the client leave cleanly?")


class Usage:
    """Processor time and memory of a process, from ``/proc``; None where there is none."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)
        self._start_s = self._cpu_s()
        self._rss_mb: float | None = None
        self.sample()

    def sample(self) -> None:
        """Note the memory in use; the largest counts."""
        with contextlib.suppress(OSError, ValueError):
            for line in (self._folder / "status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    rss_mb = int(line.split()[1]) * 1024 / 1e6
                    self._rss_mb = max(self._rss_mb or 0.0, rss_mb)

    def figures(self, wall_s: float) -> dict[str, float | None]:
        """``cpu_cores`` (processor seconds a second) since the start, and ``rss_mb`` (10^6 B)."""
        end_s = self._cpu_s()
        cores = None
        if self._start_s is not None and end_s is not None and wall_s > 0:
            cores = round((end_s - self._start_s) / wall_s, 3)
        return {
            "cpu_cores": cores,
            "rss_mb": None if self._rss_mb is None else round(self._rss_mb, 1),
        }

    def _cpu_s(self) -> float | None:
        try:
            # The second field is a name in parentheses and may hold spaces.
            fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, Any]:
    """What the figures were measured on, without names of hosts or people."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cores": cores, "python": platform.python_version()}


def synthetic_voice(seconds: float = 12.0, seed: int = 7) -> NDArray[np.int16]:
    """A voice-like signal for machines without a speech file: ``[N]`` int16 mono 48 kHz.

    Harmonics of a gliding pitch under moving formants, in syllables with pauses.  Enough to drive
    every stage; no measure of lip quality.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * VOICE_RATE)) / VOICE_RATE
    pitch_hz = 125 + 25 * np.sin(2 * np.pi * 0.4 * t) + 4 * np.sin(2 * np.pi * 5.1 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / VOICE_RATE
    knots = np.arange(0, seconds + 0.25, 0.25)
    formants = [
        np.interp(t, knots, rng.uniform(low, high, len(knots)))
        for low, high in ((300, 800), (900, 2200), (2300, 3000))
    ]
    sound = np.zeros_like(t)
    for harmonic in range(1, 28):
        frequency = harmonic * pitch_hz
        gain = sum(
            np.exp(-(((frequency - f) / width) ** 2))
            for f, width in zip(formants, (90, 130, 180), strict=True)
        )
        sound += (gain + 0.02) * np.sin(harmonic * phase) / harmonic**0.3
    syllables = np.clip(np.sin(2 * np.pi * 3.7 * t) + 0.55, 0, 1) ** 0.7
    phrases = np.clip(np.minimum(t % 3.0, 2.3 - t % 3.0) * 20, 0, 1)
    sound = sound * syllables * phrases + 1e-4 * rng.standard_normal(len(t))
    loud = np.rint(sound / np.abs(sound).max() * 12000)
    voice: NDArray[np.int16] = loud.astype(np.int16)
    return voice
