"""A siege: many hostile connections to one server, beside a client that only wants to talk."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import secrets
import time
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from typing import Any

import numpy as np

from daetalker.streamer.bench_client import BenchClient
from tests.hostile.attacks import ATTACKS, Place
from tests.hostile.server import Held, Server
from tests.streamer.serving import buzz, offering
from tests.tiny import tiny_speech, to_pcm

__all__ = ["Outcome", "besiege"]

ATTACK_S = 20.0
AT_ONCE = 12
WAVES = 4
_REFUSED = re.compile(r"refused reason=(\S+)")


@dataclass
class Outcome:
    """What a siege did.

    Attributes:
        attacks: connections by attack.
        refused_connections: attacks that could not even connect.
        fps, worst_interval_ms: of the good client meanwhile; fps_after of one that comes later.
        before, after: what the server held.
        waves_mb: its memory after each quarter of the attacks.
        faults: lines of the log that should not be there.
        refusals: lines about refusals, by reason.
    """

    attacks: dict[str, int] = field(default_factory=dict)
    refused_connections: int = 0
    seconds: float = 0.0
    alive: bool = False
    fps: float = 0.0
    worst_interval_ms: float = 0.0
    fps_after: float = 0.0
    before: Held | None = None
    after: Held | None = None
    waves_mb: list[float] = field(default_factory=list)
    log_bytes: int = 0
    faults: list[str] = field(default_factory=list)
    refusals: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Everything, for a report."""
        return asdict(self)


async def besiege(server: Server, connections: int, seed: int = 0) -> Outcome:
    """Attack with so many connections, a dozen at once, while a good client talks."""
    secret = secrets.token_hex(12)
    async with offering() as (_, offer):
        place = Place("127.0.0.1", server.port, offer, server.media_ports, secret)
    outcome = Outcome()
    await _warm(place, server)
    outcome.before = await server.settled(Held(0, 0, 0, 0.0), 2.0)
    began_s = time.monotonic()
    async with _talking(server.url) as good:
        frames_before, since_s = len(good.received.frame_times_s), time.monotonic()
        rng = random.Random(seed)
        for wave in range(WAVES):
            count = connections // WAVES + (wave < connections % WAVES)
            await _attack(place, count, rng, outcome)
            outcome.waves_mb.append(server.held().mb)
        times = np.array(good.received.frame_times_s[frames_before:])
        outcome.fps = len(times) / (time.monotonic() - since_s)
        outcome.worst_interval_ms = float(np.diff(times).max(initial=0.0)) * 1000
    outcome.seconds = round(time.monotonic() - began_s, 1)
    outcome.after = await server.settled(outcome.before)
    outcome.alive = server.alive()
    outcome.fps_after = await _later(server.url)
    _read(server.said(), secret, outcome)
    return outcome


async def _warm(place: Place, server: Server) -> None:
    """Each attack once, and a good client: what a first time loads is no leak."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_later(server.url))
        for name in ATTACKS:
            group.create_task(_once(name, place, random.Random(1)))


async def _attack(place: Place, connections: int, rng: random.Random, outcome: Outcome) -> None:
    names = list(islice(cycle(ATTACKS), connections))
    rng.shuffle(names)
    door = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, seed: int) -> None:
        async with door:
            if await _once(name, place, random.Random(seed)):
                outcome.attacks[name] = outcome.attacks.get(name, 0) + 1
            else:
                outcome.refused_connections += 1

    async with asyncio.TaskGroup() as group:
        for number, name in enumerate(names):
            group.create_task(one(name, rng.randrange(2**32) + number))


async def _once(name: str, place: Place, rng: random.Random) -> bool:
    """True if the attack came as far as it could."""
    try:
        async with asyncio.timeout(ATTACK_S):
            await ATTACKS[name](place, rng)
    except OSError:
        return False
    except TimeoutError:
        pass
    return True


@contextlib.asynccontextmanager
async def _talking(url: str) -> Any:
    voice = np.concatenate([to_pcm(tiny_speech(3.0, rate=48_000)), buzz(0.2)])
    async with BenchClient(url, voice) as client:
        await client.wait_for_video()
        yield client


async def _later(url: str) -> float:
    """Frames a second of a good client over three seconds."""
    async with _talking(url) as client:
        await asyncio.sleep(1.0)
        before = len(client.received.frame_times_s)
        began_s = time.monotonic()
        await asyncio.sleep(3.0)
        return (len(client.received.frame_times_s) - before) / (time.monotonic() - began_s)


def _read(log: str, secret: str, outcome: Outcome) -> None:
    outcome.log_bytes = len(log)
    for line in log.splitlines():
        if found := _REFUSED.search(line):
            outcome.refusals[found[1]] = outcome.refusals.get(found[1], 0) + 1
        bad = "Traceback" in line or " ERROR " in line or "never retrieved" in line
        told = secret in line or "a=ice-pwd" in line or "ice-ufrag" in line or "m=audio" in line
        if bad or told:
            outcome.faults.append(line[:300])
