"""Offline: the live stages without a clock, and the live session on a simulated one.

Both give the same frames to the bit.  Speech is heard in 20 ms chunks either way, so that a
control of the timeline, muting included, takes effect at the same sample.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.streamer.async_engine import AsyncEngine
from daetalker.streamer.clock import SimulatedClock
from daetalker.streamer.composer import Composer, Cue, FramePlan
from daetalker.streamer.control import Control, Timeline
from daetalker.streamer.engine import Engine, Speech
from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.mark import UNMARKED, Mark
from daetalker.streamer.media import (
    CHUNK_SAMPLES,
    FPS,
    MODEL_RATE,
    SAMPLES_PER_FRAME,
    VOICE_RATE,
    VideoFrame,
    frame_count,
)
from daetalker.streamer.movie import write_mp4
from daetalker.streamer.profile import PROFILES, Profile
from daetalker.streamer.session import Session
from daetalker.streamer.voice_file import read_voice

__all__ = ["read_voice", "stream_synthesise", "synthesise", "synthesise_latents", "write_mp4"]

_CHUNK_S = CHUNK_SAMPLES / VOICE_RATE
_CHUNK_MODEL_SAMPLES = CHUNK_SAMPLES * MODEL_RATE // VOICE_RATE


def synthesise(
    bundle: AvatarBundle,
    engine: Engine,
    samples: NDArray[np.float32],
    *,
    control: Control | Timeline | None = None,
    profile: Profile = PROFILES["default"],
    steps: int | None = None,
    frames: int | None = None,
    mark: Mark = UNMARKED,
) -> Iterator[VideoFrame]:
    """Render speech to frames, one by one.

    Args:
        samples: ``[N]`` float32 at 16 kHz, in [-1, 1].
        control: of the head; a `Timeline` to change it on the way.
        steps: None for the student, which the live session uses; a number for the teacher with so
            many DDIM steps.
        frames: how many to render; by default as many as the speech started.
        mark: drawn on every picture; none for measuring.

    Raises:
        EngineError: if a network fails, or ``steps`` is out of range.
        BundleError: if the bundle has no teacher and ``steps`` is given.
    """

    def student(latent: NDArray[np.float32]) -> NDArray[np.uint8]:
        return engine.frames(latent[None]).squeeze(0)

    def teacher(latent: NDArray[np.float32]) -> NDArray[np.uint8]:
        assert steps is not None
        return engine.teacher_frames(latent[None], steps).squeeze(0)

    decode: Callable[[NDArray[np.float32]], NDArray[np.uint8]]
    decode = student if steps is None else teacher
    last: VideoFrame | None = None
    plans = synthesise_latents(
        bundle, engine, samples, control=control, profile=profile, frames=frames
    )
    for plan in plans:
        same = last is not None and np.array_equal(last.latent, plan.latent)
        rgb = last.rgb if last is not None and same else mark.on(decode(plan.latent))
        last = VideoFrame(plan.index, rgb, plan.pose, plan.speaking, plan.latent)
        yield last


def synthesise_latents(
    bundle: AvatarBundle,
    engine: Engine,
    samples: NDArray[np.float32],
    *,
    control: Control | Timeline | None = None,
    profile: Profile = PROFILES["default"],
    frames: int | None = None,
) -> Iterator[FramePlan]:
    """As `synthesise`, without decoding: what each frame will show."""
    timeline = Timeline.of(control)
    wanted = -(-samples.size // SAMPLES_PER_FRAME) if frames is None else frames
    composer = Composer(bundle.manifest, profile)
    rest = engine.silence()
    heard = 0
    while composer.next_frame < wanted:
        chunk = np.zeros(_CHUNK_MODEL_SAMPLES, np.float32)
        piece = samples[heard : heard + _CHUNK_MODEL_SAMPLES]
        chunk[: piece.size] = piece
        heard += _CHUNK_MODEL_SAMPLES
        now = timeline.at(composer.next_window_frame)
        for cue in composer.hear(chunk, now.muted):
            for plan in _compose(composer, engine, cue, rest, now):
                if plan.index < wanted:
                    yield plan


def _compose(
    composer: Composer, engine: Engine, cue: Cue, rest: Speech, control: Control
) -> list[FramePlan]:
    """The session's flow of the same name, without awaiting."""
    spoken = engine.speech(cue.window.samples) if cue.has_speech else None
    steering = composer.steer(cue, spoken.pose if spoken else None, rest.pose, control)
    talking = engine.latents(spoken.hidden, steering) if spoken else None
    resting = engine.latents(rest.hidden, steering) if cue.has_silence else None
    return composer.blend(cue, talking, resting)


def stream_synthesise(
    bundle: AvatarBundle,
    engine: Engine,
    voice: NDArray[np.int16],
    *,
    control: Control | Timeline | None = None,
    profile: Profile = PROFILES["default"],
    mark: Mark = UNMARKED,
) -> Iterator[VideoFrame]:
    """Pass a voice through the live session on a simulated clock, in chunks of 20 ms.

    Gives the frames of ``synthesise(..., to_model_rate(voice), frames=frame_count(voice))``.
    Not for use inside a running event loop.

    Args:
        voice: ``[N]`` int16, mono at 48 kHz.
        control: of the head; a `Timeline` to change it on the way.
        mark: drawn on every picture; none for measuring.

    Raises:
        EngineError: if a network fails.
    """
    with asyncio.Runner() as runner:
        stream = _stream(bundle, engine, voice, Timeline.of(control), profile, mark)
        try:
            while (frame := runner.run(_next(stream))) is not None:
                yield frame
        finally:
            runner.run(stream.aclose())


async def _stream(
    bundle: AvatarBundle,
    engine: Engine,
    voice: NDArray[np.int16],
    timeline: Timeline,
    profile: Profile,
    mark: Mark,
) -> AsyncGenerator[VideoFrame, None]:
    clock, shared = SimulatedClock(), AsyncEngine(engine)
    session = Session(bundle, shared, clock, profile=profile, session_id="stream", mark=mark)
    running = asyncio.create_task(session.run())
    wanted, given, heard = frame_count(voice), 0, 0
    try:
        with session.outlet(frames=FPS) as outlet:
            while given < wanted:
                await session.settle()
                if running.done():
                    running.result()  # the engine failed
                    raise SessionClosed("the session ended early")
                chunk = np.zeros(CHUNK_SAMPLES, np.int16)
                piece = voice[heard : heard + CHUNK_SAMPLES]
                chunk[: piece.size] = piece
                heard += CHUNK_SAMPLES
                session.set_control(timeline.at(session.next_window_frame))
                session.push_voice(chunk)
                await session.settle()
                await clock.advance(_CHUNK_S)
                for frame in outlet.waiting_video():
                    if given < wanted:
                        given += 1
                        yield frame
    finally:
        await session.close()
        await asyncio.gather(running, return_exceptions=True)
        await shared.close()


async def _next(stream: AsyncIterator[VideoFrame]) -> VideoFrame | None:
    return await anext(stream, None)
