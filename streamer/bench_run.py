"""One run of the bench: a server, clients that talk to it, and everything they noted."""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from daetalker.streamer.bench_client import BenchClient, Received
from daetalker.streamer.bench_load import busy_processes
from daetalker.streamer.bench_log import Log, read_log, read_voice_log
from daetalker.streamer.bench_path import BenchPath, open_path
from daetalker.streamer.bench_plan import BenchPlan
from daetalker.streamer.bench_process import Usage
from daetalker.streamer.bench_server import running_server, wait_for_file
from daetalker.streamer.media import FPS
from daetalker.streamer.settings import Settings

__all__ = ["ClientRun", "Run", "crowd_settings", "run_bench"]

SETTLE_S = 2.0
"""Left out at the start: the connection's first second is not what a minute looks like."""

FLUSH_S = 1.0
"""What is on its way at the end belongs to the measured time."""

STAGES = "daetalker_stage_seconds"


@dataclass(frozen=True)
class ClientRun:
    """What is known of one client's session.

    Attributes:
        log: what the server noted.
        heard: ``[N]`` the voice that came back, as decoded.
    """

    received: Received
    log: Log
    heard: NDArray[np.int16]


@dataclass
class Run:
    """Everything noted in one run; times are ``time.monotonic()`` seconds.

    Attributes:
        span_s: beginning and end of the measured time.
        load_s: beginning and end of the load, if there was one.
        used: processor and memory of the server.
        stages: the server's histograms of its stages during the measured time, by stage: runs
            that took at most so many seconds and more than the step before.
        lag_ms: how late the bench's own event loop was, sampled; its share in the figures.
    """

    clients: list[ClientRun] = field(default_factory=list)
    span_s: tuple[float, float] = (0.0, 0.0)
    load_s: tuple[float, float] | None = None
    used: dict[str, float | None] = field(default_factory=dict)
    stages: dict[str, dict[str, int]] = field(default_factory=dict)
    lag_ms: list[float] = field(default_factory=list)
    path: str = "loopback"
    why_not: str = ""
    packets: dict[str, dict[str, int]] | None = None


async def run_bench(settings: Settings, plan: BenchPlan, folder: Path) -> Run:
    """Measure; the raw notes are left in ``folder``.

    Raises:
        BenchError: if the server does not come up, refuses or sends nothing.
        NetworkError: if the network cannot be made.
    """
    run = Run()
    keep_frames = int((plan.check_s + SETTLE_S) * FPS) if plan.check_s else 0
    async with contextlib.AsyncExitStack() as stack:
        path = await stack.enter_async_context(open_path(plan.network, plan.seed))
        run.path, run.why_not = path.kind, path.why_not
        server = await stack.enter_async_context(
            running_server(
                settings,
                folder,
                within=path.within,
                host=path.host,
                more=crowd_settings(plan.clients) | path.settings,
            )
        )
        clients: list[BenchClient] = []
        async with contextlib.AsyncExitStack() as connected:
            for number in range(plan.clients):
                client = BenchClient(
                    server.url,
                    plan.voice,
                    keep_frames=0 if number else keep_frames,
                    keep_voice=folder / f"client-{number}.s16",
                    relay=path.relay,
                    number=number,
                )
                clients.append(await connected.enter_async_context(client))
                await client.wait_for_video()
            await asyncio.sleep(SETTLE_S)
            before = await _stages(server.url)
            usage = Usage(server.pid)
            async with _lag(run.lag_ms):
                await _spend(plan, run, usage)
            run.used = usage.figures(run.span_s[1] - run.span_s[0])
            run.stages = _difference(before, await _stages(server.url))
            await asyncio.sleep(FLUSH_S)
            run.packets = await _packets(path)
        for number, client in enumerate(clients):
            assert client.received.welcome is not None
            log = folder / client.received.welcome.session
            await wait_for_file(log / "session.json")
            heard = read_voice_log(folder / f"client-{number}.s16")
            run.clients.append(ClientRun(client.received, read_log(log), heard))
    return run


def crowd_settings(clients: int) -> dict[str, object]:
    """What lets so many clients of one address in, whether or not they can be served well."""
    return {"max_clients": clients, "admission": "off", "max_per_address": clients + 4}


async def _spend(plan: BenchPlan, run: Run, usage: Usage) -> None:
    """The measured time, its middle third under load if there is to be one."""
    start_s = time.monotonic()

    async def until(share: float) -> None:
        while (left_s := start_s + share * plan.seconds - time.monotonic()) > 0:
            await asyncio.sleep(min(1.0, left_s))
            usage.sample()

    if plan.load:
        await until(1 / 3)
        with busy_processes(plan.load):
            load_start_s = time.monotonic()
            await until(2 / 3)
        run.load_s = load_start_s, time.monotonic()
    await until(1.0)
    run.span_s = start_s, time.monotonic()


async def _packets(path: BenchPath) -> dict[str, dict[str, int]] | None:
    return await path.relay.figures() if path.relay is not None else None


@contextlib.asynccontextmanager
async def _lag(lag_ms: list[float], every_s: float = 0.1) -> AsyncIterator[None]:
    """Sample how late this event loop is while the block runs."""

    async def sample() -> None:
        while True:
            due_s = time.monotonic() + every_s
            await asyncio.sleep(every_s)
            lag_ms.append((time.monotonic() - due_s) * 1000)

    task = asyncio.create_task(sample(), name="bench lag")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _stages(url: str) -> dict[str, dict[str, int]]:
    """The server's histograms of its stages so far; empty if it does not tell."""

    def fetch() -> str:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    try:
        text = await asyncio.to_thread(fetch)
    except (urllib.error.URLError, OSError):
        return {}
    cumulative: dict[str, list[tuple[str, int]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"{STAGES}_bucket":
                stage = cumulative.setdefault(sample.labels["stage"], [])
                stage.append((sample.labels["le"], int(sample.value)))
    return {
        stage: {
            edge: count - (steps[i - 1][1] if i else 0) for i, (edge, count) in enumerate(steps)
        }
        for stage, steps in cumulative.items()
    }


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {
        stage: {edge: count - before.get(stage, {}).get(edge, 0) for edge, count in steps.items()}
        for stage, steps in after.items()
    }
