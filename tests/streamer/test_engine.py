from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from daetalker.models.bundle import AvatarBundle, load_bundle, write_manifest
from daetalker.streamer.async_engine import AsyncEngine
from daetalker.streamer.engine import Engine, EngineError
from tests.tiny import HIDDEN, LATENT, tiny_manifest, tiny_speech


def test_shapes_and_types(tiny_engine: Engine) -> None:
    speech = tiny_engine.speech(tiny_speech(2.0))
    assert speech.hidden.shape == (50, HIDDEN) and speech.pose.shape == (50, 3)
    latents = tiny_engine.latents(speech.hidden, np.zeros((50, 4), np.float32))
    assert latents.shape == (50, LATENT) and latents.dtype == np.float32
    frames = tiny_engine.frames(latents[:3])
    assert frames.shape == (3, 32, 32, 3) and frames.dtype == np.uint8
    assert tiny_engine.provider == "CPUExecutionProvider"


def test_a_frame_does_not_depend_on_its_neighbours(tiny_engine: Engine) -> None:
    latents = np.random.default_rng(0).standard_normal((4, LATENT)).astype(np.float32)
    latents[2] = latents[1]
    together = tiny_engine.frames(latents)
    np.testing.assert_array_equal(together[2], together[1])
    for alone, frame in zip(latents, together, strict=True):
        np.testing.assert_array_equal(tiny_engine.frames(alone[None])[0], frame)


def test_silence_is_that_of_a_silent_window(tiny_engine: Engine) -> None:
    silence = tiny_engine.silence()
    np.testing.assert_array_equal(
        silence.hidden, tiny_engine.speech(np.zeros(32_000, np.float32)).hidden
    )
    assert tiny_engine.silence() is silence


def test_teacher_depends_on_latent_and_steps(tiny_engine: Engine) -> None:
    latents = np.random.default_rng(1).standard_normal((2, LATENT)).astype(np.float32)
    frames = tiny_engine.teacher_frames(latents, steps=3)
    assert frames.shape == (2, 32, 32, 3) and frames.dtype == np.uint8
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames, tiny_engine.teacher_frames(latents, steps=1))
    with pytest.raises(EngineError, match="steps must be between 1 and 1000"):
        tiny_engine.teacher_frames(latents, steps=0)


def test_warm_up_times_every_live_network(tiny_engine: Engine) -> None:
    times = tiny_engine.warm_up(rounds=1)
    assert set(times) == {"acoustic", "speech", "latent", "student"}
    assert all(ms > 0 for ms in times.values())


def test_a_window_of_the_wrong_length_is_refused(tiny_engine: Engine) -> None:
    with pytest.raises(EngineError, match=r"32000.*16000"):
        tiny_engine.speech(np.zeros(16_000, np.float32))


def test_a_network_that_does_not_open_is_named(tiny_bundle: AvatarBundle, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_bundle.path, folder)
    (folder / "student.onnx").write_bytes(b"not a network")
    write_manifest(folder, tiny_manifest())
    with pytest.raises(EngineError, match="network 'student' of avatar 'tiny' cannot be opened"):
        Engine(load_bundle(folder))


def test_a_network_that_fails_is_named(tiny_engine: Engine) -> None:
    with pytest.raises(EngineError, match="network 'student' of avatar 'tiny' failed"):
        tiny_engine.frames(np.zeros((1, 3), np.float32))


async def test_async_engine_works_on_one_thread_and_closes_twice(tiny_engine: Engine) -> None:
    others = set(threading.enumerate())
    engine = AsyncEngine(tiny_engine)
    mine = set(threading.enumerate()) - others
    latents = np.random.default_rng(2).standard_normal((3, LATENT)).astype(np.float32)
    frames = await asyncio.gather(*(engine.frame(latent) for latent in latents))
    np.testing.assert_array_equal(frames, tiny_engine.frames(latents))
    assert [thread.name for thread in mine] == ["engine 0"]
    await engine.close()
    await engine.close()
    assert not any(thread.is_alive() for thread in mine)
    with pytest.raises(EngineError, match="closed"):
        await engine.silence()
