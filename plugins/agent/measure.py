"""How soon after an interruption the mouth is shut and the voice silent, where it is received.

A real server process, an agent that speaks through its socket, and a WebRTC client that watches.
Everything is taken from what that client decodes: no figure comes from the server.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.plugins.agent.client import AgentClient
from daetalker.streamer.bench import running_server
from daetalker.streamer.bench_client import BenchClient, BenchError, Received
from daetalker.streamer.media import FPS, VOICE_RATE
from daetalker.streamer.settings import Settings

__all__ = ["interruption_times", "measure_interrupt"]

_IDLE_S = 6.0
_AFTER_S = 0.8
_SILENT_PEAK = 330
"""-40 dBFS; Opus leaves a little noise where the voice has ended."""

_OPEN_SHARE = 0.15
_MOUTH_SHARE = 0.01


async def measure_interrupt(
    settings: Settings, voice: NDArray[np.int16], times: int = 30, seed: int = 11
) -> dict[str, Any]:
    """Speak and interrupt ``times`` times, at moments that have nothing to do with frames.

    Returns:
        ``interrupt_to_closed_ms`` with ``p50`` and ``p95``, from sending the interruption until
        the mouth is shut and the voice silent, whichever is later; the two apart; and how often
        it was measured.  A mouth that happens to be shut when interrupted is left out.

    Raises:
        BenchError: if the server does not come up, or nothing is to be seen.
    """
    rng = np.random.default_rng(seed)
    sent_s: list[float] = []
    async with (
        running_server(settings, plugins="agent") as server,
        AgentClient(server.url, rate=VOICE_RATE) as agent,
    ):
        # Only the mouth and the eyelids move.
        straight = {"type": "pose", "yaw": 0.0, "pitch": 0.0, "roll": 0.0, "natural": 0.0}
        await agent.command(straight)
        seconds = _IDLE_S + times * 4.0
        watcher = BenchClient(server.url, None, watch=agent.session, keep_frames=int(seconds * FPS))
        async with watcher:
            await watcher.wait_for_video()
            await asyncio.sleep(_IDLE_S)
            speech_from_s = time.monotonic()
            for _ in range(times):
                start = int(rng.integers(0, max(1, voice.size - 4 * VOICE_RATE)))
                await agent.say(voice[start : start + 4 * VOICE_RATE])
                await asyncio.sleep(float(rng.uniform(0.9, 2.0)))
                sent_s.append(time.monotonic())
                await agent.interrupt()
                await asyncio.sleep(_AFTER_S)
    return interruption_times(watcher.received, speech_from_s, sent_s)


def interruption_times(
    received: Received, speech_from_s: float, sent_s: list[float]
) -> dict[str, Any]:
    """The figures, from what a watcher received; see `measure_interrupt`."""
    times_s = np.array(received.frame_times_s[: len(received.luma)])
    opening, threshold = _opening(received.luma, times_s < speech_from_s)
    sounds = np.array(received.sounds)
    mouth_ms, voice_ms, both_ms = [], [], []
    for at_s in sent_s:
        before = np.flatnonzero(times_s < at_s)
        if not before.size or opening[before[-1]] < threshold:
            continue
        mouth_s = _first_after(times_s, opening >= threshold, at_s)
        voice_s = _first_after(sounds[:, 0], sounds[:, 1] > _SILENT_PEAK, at_s)
        mouth_ms.append(1000 * (mouth_s - at_s))
        voice_ms.append(1000 * (voice_s - at_s))
        both_ms.append(max(mouth_ms[-1], voice_ms[-1]))
    if not both_ms:
        raise BenchError("no interruption met an open mouth; measure with real speech")
    return {
        "interrupt_to_closed_ms": _percentiles(both_ms),
        "interrupt_to_mouth_shut_ms": _percentiles(mouth_ms),
        "interrupt_to_silence_ms": _percentiles(voice_ms),
        "interruptions": len(both_ms),
    }


def _opening(
    pictures: list[NDArray[np.uint8]], idle: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """How far the mouth is from its rest in each picture, and what still counts as shut.

    The mouth is where speech changes the picture most and silence does not, which leaves the
    eyelids out; shut is within 15 % of its usual opening.
    """
    resting = [picture for picture, is_idle in zip(pictures, idle, strict=True) if is_idle]
    if len(resting) < FPS or len(resting) == len(pictures):
        raise BenchError("too few pictures came to know the mouth by")
    rest = np.median(np.stack(resting), axis=0).astype(np.float32)
    talking, still = np.zeros_like(rest), np.zeros_like(rest)
    for picture, is_idle in zip(pictures, idle, strict=True):
        away = np.abs(picture - rest)
        if is_idle:
            np.maximum(still, away, out=still)
        else:
            talking += away / (len(pictures) - len(resting))
    moves = talking - 3.0 * still
    mouth = moves >= np.quantile(moves, 1.0 - _MOUTH_SHARE)
    opening = np.array([np.abs(picture[mouth] - rest[mouth]).mean() for picture in pictures])
    wide, quiet = float(np.percentile(opening[~idle], 80)), float(opening[idle].max())
    return opening, quiet + _OPEN_SHARE * (wide - quiet)


def _first_after(times_s: NDArray[Any], active: NDArray[np.bool_], at_s: float) -> float:
    """Arrival of the first quiet item after the last active one in the time after ``at_s``."""
    inside = np.flatnonzero((times_s >= at_s) & (times_s < at_s + _AFTER_S))
    if not inside.size:
        raise BenchError("nothing was received after an interruption")
    loud = inside[active[inside]]
    place = loud[-1] + 1 if loud.size else inside[0]
    return float(times_s[min(place, len(times_s) - 1)])


def _percentiles(values: list[float]) -> dict[str, float]:
    return {
        "p50": round(float(np.percentile(values, 50)), 1),
        "p95": round(float(np.percentile(values, 95)), 1),
    }
