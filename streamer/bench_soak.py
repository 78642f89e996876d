"""`daetalker bench soak`: one client stays, others come and go, and nothing may grow.

A third of the visitors say goodbye, a third are killed, and a third fall asleep (their process is
stopped: its sockets stay open and nothing comes any more).  The server's memory, threads, open
files and sessions are sampled all the time, and compared when the resident is alone again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import find_avatar, load_bundle
from daetalker.streamer.bench import figures_of
from daetalker.streamer.bench_bars import bar_figures
from daetalker.streamer.bench_client import BenchClient, BenchError
from daetalker.streamer.bench_growth import Samples, soak_bars
from daetalker.streamer.bench_log import read_log, read_voice_log
from daetalker.streamer.bench_plan import BenchPlan
from daetalker.streamer.bench_process import Usage
from daetalker.streamer.bench_run import ClientRun, Run, crowd_settings
from daetalker.streamer.bench_server import RunningServer, running_server, wait_for_file
from daetalker.streamer.bench_visitor import SEES
from daetalker.streamer.settings import Settings

__all__ = ["SoakPlan", "bench_soak"]

SAMPLE_S = 2.0
ALONE_S = 4.0
"""The resident alone, before the visitors come and after the last has gone."""

VISIT_S = (3.0, 9.0)
PAUSE_S = (0.2, 2.0)
SEE_TIMEOUT_S = 60.0
ASLEEP_S = 20.0
"""Longer than the server waits for a sign of life."""

GONE_TIMEOUT_S = 40.0
"""A client that fell asleep is noticed within 15 s; the rest is for a busy machine."""

LOG_BYTES_S = 300_000
"""Voices of the resident, as the server and the client keep them for the figures."""

WAYS = ("goodbye", "killed", "asleep")


@dataclass(frozen=True)
class SoakPlan:
    """What to soak.

    Attributes:
        seconds: how long visitors come and go.
        visitors: how many are there at the same time, beside the resident.
        voice: ``[N]`` int16 at 48 kHz that the resident speaks.
        seed: for the order of things.
    """

    seconds: float
    visitors: int
    voice: NDArray[np.int16]
    audio: str
    seed: int = 1


@dataclass
class _Visits:
    """How the visitors left, and what went wrong."""

    left: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAYS, 0))
    failed: list[str] = field(default_factory=list)


async def bench_soak(settings: Settings, plan: SoakPlan) -> dict[str, Any]:
    """Soak and judge; ``ok`` is false if a bar failed.

    Raises:
        BenchError: if the server does not come up, or there is no room for its log.
    """
    bundle = await asyncio.to_thread(load_bundle, find_avatar(settings.avatar))
    with tempfile.TemporaryDirectory(prefix="daetalker-soak-") as name:
        folder = Path(name)
        needed = int(LOG_BYTES_S * (plan.seconds + GONE_TIMEOUT_S))
        if shutil.disk_usage(folder).free < needed:
            raise BenchError(f"the soak keeps {needed // 10**6} MB in {folder.parent}: too full")
        visits, samples = _Visits(), Samples()
        crowd = crowd_settings(plan.visitors + 8)  # those who fell asleep keep their places
        async with running_server(settings, folder, more=crowd) as server:
            client = BenchClient(server.url, plan.voice, keep_voice=folder / "client.s16")
            async with client:
                await client.wait_for_video()
                run = await _spend(plan, server, client, folder, visits, samples)
            assert client.received.welcome is not None
            log = folder / client.received.welcome.session
            await wait_for_file(log / "session.json", 60.0)
            heard = read_voice_log(folder / "client.s16")
            run.clients.append(ClientRun(client.received, read_log(log), heard))
        live = BenchPlan(plan.seconds, plan.voice, plan.audio, check_s=0.0, onsets=0)
        resident = await asyncio.to_thread(figures_of, settings, live, bundle, run)
    growth = samples.growth()
    bars = soak_bars(growth, visits.failed, resident)
    return {
        "bench": "soak",
        "ok": all(bar.ok for bar in bars),
        "bars": bar_figures(bars),
        "seconds": plan.seconds,
        "visitors": plan.visitors,
        "visits": visits.left,
        "failed": visits.failed[:20],
        "growth": growth,
        "samples": samples.rows(),
        "resident": resident,
        "machine": resident["machine"],
    }


async def _spend(
    plan: SoakPlan,
    server: RunningServer,
    client: BenchClient,
    folder: Path,
    visits: _Visits,
    samples: Samples,
) -> Run:
    """The resident alone, the visitors, the resident alone again."""
    run, usage = Run(), Usage(server.pid)
    keep = client.received.welcome.session if client.received.welcome else ""
    sampling = asyncio.create_task(_sample(server, samples, usage, folder, keep), name="soak look")
    try:
        start_s = time.monotonic()
        # What a first visitor makes the server fetch for good is not growth.
        await _visit(server.url, "goodbye", 1.0)
        await asyncio.sleep(ALONE_S)
        samples.alone.append(await samples.look(server))
        samples.visited_s = time.monotonic()
        async with asyncio.timeout(plan.seconds + SEE_TIMEOUT_S + GONE_TIMEOUT_S):
            async with asyncio.TaskGroup() as group:
                for number in range(plan.visitors):
                    dice = random.Random(plan.seed + number)
                    coming = _come_and_go(plan, server.url, number, dice, visits)
                    group.create_task(coming, name="soak visitor")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE_TIMEOUT_S):
                while (await samples.look(server))["sessions"] not in (1, None):
                    await asyncio.sleep(0.5)
        await asyncio.sleep(ALONE_S)
        samples.alone.append(await samples.look(server))
        run.span_s = start_s, time.monotonic()
        run.used = usage.figures(run.span_s[1] - start_s)
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
    return run


async def _come_and_go(
    plan: SoakPlan, url: str, first: int, dice: random.Random, visits: _Visits
) -> None:
    """One visitor after the other, until the time is over; ``first`` says how the first leaves."""
    end_s = time.monotonic() + plan.seconds
    for way in itertools.islice(itertools.cycle(WAYS), first % len(WAYS), None):
        if time.monotonic() >= end_s:
            return
        try:
            await _visit(url, way, dice.uniform(*VISIT_S))
            visits.left[way] += 1
        except BenchError as error:
            visits.failed.append(str(error))
        await asyncio.sleep(dice.uniform(*PAUSE_S))


async def _visit(url: str, way: str, stays_s: float) -> None:
    """One visitor.

    Raises:
        BenchError: if it is not let in, or does not see the avatar.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "daetalker.streamer.bench_visitor", url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEE_TIMEOUT_S):
                line = await process.stdout.readline()
        if line.strip() != SEES.encode():
            if process.returncode is None:
                process.kill()
            _, said = await process.communicate()
            words = said.decode(errors="replace").strip().splitlines()
            raise BenchError(f"a visitor saw nothing: {words[-1] if words else 'it said nothing'}")
        await asyncio.sleep(stays_s)
        if way == "goodbye":
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SEE_TIMEOUT_S):
                    await process.wait()
        elif way == "asleep":
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(ASLEEP_S)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _sample(
    server: RunningServer, samples: Samples, usage: Usage, folder: Path, keep: str
) -> None:
    while True:
        samples.all.append(await samples.look(server))
        usage.sample()
        await asyncio.to_thread(_forget, folder, keep)
        await asyncio.sleep(SAMPLE_S)


def _forget(folder: Path, keep: str) -> None:
    """Remove what visitors who have left leave behind: an hour of them would fill a disk."""
    for done in folder.glob("*/session.json"):
        if done.parent.name != keep:
            shutil.rmtree(done.parent, ignore_errors=True)
