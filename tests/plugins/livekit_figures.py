"""Figures of the LiveKit face, for docs/agents.md.

::

    python -m tests.plugins.livekit_figures speech.wav --avatar mira

A server process with the plugin ``livekit``, an agent, and a tiny LiveKit server at which the
figures are taken; then a face in the agent's process, whose published tracks are read back to see
how far picture and voice are apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import Agent, AgentSession
from numpy.typing import NDArray

from daetalker.plugins.livekit import AvatarSession
from daetalker.streamer.bench import running_server
from daetalker.streamer.settings import load_settings
from daetalker.streamer.voice_file import read_voice
from tests.plugins.tiny_livekit import KEY, SECRET, TinyLiveKit, tiny_livekit, token_of

LOUD = 330
"""-40 dBFS."""


async def _frames(pcm: NDArray[np.int16]) -> Any:
    for start in range(0, pcm.size, 4800):
        piece = pcm[start : start + 4800]
        yield rtc.AudioFrame(piece.tobytes(), 48_000, 1, piece.size)


async def _session(
    stack: AsyncExitStack, livekit: TinyLiveKit, avatar: AvatarSession
) -> tuple[AgentSession[None], rtc.Room]:
    room = rtc.Room()
    await room.connect(livekit.url, token_of("lobby", "agent"))
    stack.push_async_callback(room.disconnect)
    session: AgentSession[None] = AgentSession()
    await avatar.start(session, room)
    stack.push_async_callback(avatar.aclose)
    await session.start(Agent(instructions="talk"), record=False)
    stack.push_async_callback(session.aclose)
    await avatar.wait_for_join()
    return session, room


async def from_a_server(name: str, voice: NDArray[np.int16], times: int) -> dict[str, Any]:
    """At the room: pictures, positions, interruptions."""
    rng = np.random.default_rng(3)
    silent_ms, reported_ms, first_ms, wrong_ms = [], [], [], []
    async with AsyncExitStack() as stack:
        settings = load_settings({"avatar": name, "port": 0})
        server = await stack.enter_async_context(running_server(settings, plugins="livekit"))
        livekit = await stack.enter_async_context(tiny_livekit())
        avatar = AvatarSession(
            url=server.url,
            livekit_url=livekit.url,
            livekit_api_key=KEY,
            livekit_api_secret=SECRET,
        )
        began_s = time.monotonic()
        session, _ = await _session(stack, livekit, avatar)
        published = livekit.seen["daetalker-avatar"].published
        while not published.pictures:
            await asyncio.sleep(0.005)
        first_picture_s = published.pictures[0][0] - began_s
        await asyncio.sleep(2.0)
        output = session.output.audio
        assert output is not None
        finished: list[Any] = []
        output.on("playback_finished", lambda event: finished.append((time.monotonic(), event)))

        for _ in range(times):
            start = int(rng.integers(0, voice.size - 4 * 48_000))
            said_s, seen = time.monotonic(), len(published.voice)
            speech = session.say("...", audio=_frames(voice[start : start + 4 * 48_000]))
            await asyncio.sleep(float(rng.uniform(1.2, 2.2)))
            loud = [at_s for at_s, pcm in published.voice[seen:] if np.abs(pcm).max() > LOUD]
            first_ms += [1000 * (at_s - said_s) for at_s in loud[:1]]
            interrupted_s = time.monotonic()
            speech.interrupt()
            await speech.wait_for_playout()
            await asyncio.sleep(0.8)
            loud = [at_s for at_s, pcm in published.voice[seen:] if np.abs(pcm).max() > LOUD]
            silent_ms.append(1000 * max(0.0, loud[-1] - interrupted_s))
            reported_ms.append(1000 * (finished[-1][0] - interrupted_s))
        for seconds in (0.5, 1.24, 2.0):
            pcm = voice[: round(seconds * 48_000)]
            await session.say("...", audio=_frames(pcm)).wait_for_playout()
            wrong_ms.append(1000 * abs(finished[-1][1].playback_position - seconds))
        at_s = np.array([when_s for when_s, _ in published.pictures[25:]])
    return {
        "first_picture_s": round(first_picture_s, 2),
        "fps": round((at_s.size - 1) / (at_s[-1] - at_s[0]), 2),
        "picture_interval_p95_ms": round(1000 * float(np.percentile(np.diff(at_s), 95)), 1),
        "said_to_heard_ms": _percentiles(first_ms),
        "interrupt_to_silence_ms": _percentiles(silent_ms),
        "interrupt_to_playback_finished_ms": _percentiles(reported_ms),
        "playback_position_error_ms": round(max(wrong_ms), 1),
    }


async def in_process(name: str, voice: NDArray[np.int16]) -> dict[str, Any]:
    """At the published tracks: how much later than its picture a sound leaves."""
    async with AsyncExitStack() as stack:
        livekit = await stack.enter_async_context(tiny_livekit())
        avatar = AvatarSession(name)
        session, room = await _session(stack, livekit, avatar)
        assert avatar.live is not None
        said: dict[bytes, int] = {}
        drawn: dict[bytes, int] = {}
        sounds, pictures = [], []

        async def remember() -> None:
            assert avatar.live is not None
            async for moment in avatar.live.moments():
                if moment.utterance is not None:
                    if not moment.held:
                        drawn[moment.rgb[::8, ::8].tobytes()] = moment.index
                    for part in range(4):
                        piece = moment.pcm[480 * part : 480 * part + 480]
                        if np.abs(piece).max() > LOUD:
                            said[piece.tobytes()] = moment.index * 1920 + 480 * part

        async def hear(track: rtc.Track) -> None:
            async for event in rtc.AudioStream(track, sample_rate=48_000, num_channels=1):
                sounds.append((time.monotonic(), bytes(event.frame.data)))

        async def see(track: rtc.Track) -> None:
            async for event in rtc.VideoStream(track, format=rtc.VideoBufferType.RGB24):
                size = event.frame.width
                rgb = np.frombuffer(event.frame.data, np.uint8).reshape(size, size, 3)
                pictures.append((time.monotonic(), rgb[::8, ::8].astype(np.int16)))

        watching = [asyncio.create_task(remember())]
        for publication in room.local_participant.track_publications.values():
            assert publication.track is not None
            is_voice = publication.kind == rtc.TrackKind.KIND_AUDIO
            watching.append(asyncio.create_task((hear if is_voice else see)(publication.track)))
        await asyncio.sleep(1.0)
        await session.say("...", audio=_frames(voice[: 10 * 48_000])).wait_for_playout()
        await asyncio.sleep(0.5)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)

    voice_lag = {said[pcm]: at_s - said[pcm] / 48_000 for at_s, pcm in sounds if pcm in said}
    shape = next(iter(pictures))[1].shape
    originals = {
        index: np.frombuffer(rgb, np.uint8).reshape(shape).astype(np.int16)
        for rgb, index in drawn.items()
    }
    offsets: list[float] = []
    lag_s = None
    for _ in range(2):  # first to find out how late everything is, then among neighbours only
        found = [_match(at_s, rgb, originals, lag_s) for at_s, rgb in pictures]
        pairs = [(at_s, index) for (at_s, _), index in zip(pictures, found, strict=True)]
        lags_s = [at_s - index / 25 for at_s, index in pairs if index is not None]
        lag_s = float(np.median(lags_s))
    for at_s, index in pairs:
        if index is not None and index * 1920 in voice_lag:
            offsets.append(1000 * (voice_lag[index * 1920] - (at_s - index / 25)))
    return {
        "voice_after_picture_ms": _percentiles(offsets)
        | {"p5": round(np.percentile(offsets, 5), 1)},
        "pairs": len(offsets),
        "voice_frames_found": len(voice_lag),
        "voice_frames_said": len(said),
    }


def _match(
    at_s: float,
    rgb: NDArray[np.int16],
    originals: dict[int, NDArray[np.int16]],
    lag_s: float | None,
) -> int | None:
    """The frame that a published picture shows, None for those of the pauses."""
    distances = {
        index: float(np.abs(original - rgb).mean())
        for index, original in originals.items()
        if lag_s is None or abs(at_s - index / 25 - lag_s) < 0.3
    }
    if not distances:
        return None
    index = min(distances, key=distances.__getitem__)
    return index if distances[index] < 2.0 else None


def _percentiles(values: list[float]) -> dict[str, float]:
    return {
        "p50": round(float(np.percentile(values, 50)), 1),
        "p95": round(float(np.percentile(values, 95)), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of the LiveKit face.")
    parser.add_argument("speech", type=Path, help="12 s of speech or more")
    parser.add_argument("--avatar", default="mira")
    parser.add_argument("--interruptions", type=int, default=20)
    arguments = parser.parse_args()
    voice = read_voice(arguments.speech)
    figures = asyncio.run(from_a_server(arguments.avatar, voice, arguments.interruptions))
    figures |= asyncio.run(in_process(arguments.avatar, voice))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
