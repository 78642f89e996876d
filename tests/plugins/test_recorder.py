"""Recording a live session: what the client saw and heard, and no harm to the session."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.plugins.recorder import Limits, RecorderError, Recording, record
from daetalker.plugins.recorder import encoder as encoder_module
from daetalker.plugins.recorder.mp4 import FragmentedMp4
from daetalker.streamer.live import LiveSession, open_avatar
from daetalker.streamer.media import CHUNK_SAMPLES, VideoFrame, VoiceChunk
from daetalker.streamer.outlet import Outlet
from tests.plugins.movies import find, noise, read_movie, shift
from tests.tiny import tiny_speech, to_pcm

PATIENCE_S = 60.0
SIZE = 32
ROOT = Path(__file__).resolve().parents[2]
SPEECH = to_pcm(tiny_speech(1.2, rate=48_000))


@contextlib.asynccontextmanager
async def speaking(bundle: Path, sessions: int = 1) -> AsyncIterator[list[LiveSession]]:
    async with contextlib.AsyncExitStack() as stack:
        avatar = await stack.enter_async_context(open_avatar(str(bundle), threads=1))
        yield [await stack.enter_async_context(avatar.session()) for _ in range(sessions)]


async def say(session: LiveSession, pcm: NDArray[np.int16]) -> None:
    await session.speak(pcm, 48_000)
    spoken = await session.end_utterance()
    assert spoken is not None
    await asyncio.wait_for(spoken.done(), PATIENCE_S)


class Staged:
    """Stands for a session that shows just what a test says; the outlet is a real one."""

    def __init__(self) -> None:
        self.size = SIZE
        self.avatar = SimpleNamespace(label="Somebody")
        self.open = asyncio.Event()
        self._outlet: Outlet | None = None

    @contextlib.asynccontextmanager
    async def outlet(self, frames: int) -> AsyncIterator[Outlet]:
        with Outlet(frames) as self._outlet:
            self.open.set()
            yield self._outlet

    def show(self, index: int, level: int | None, voice: NDArray[np.int16]) -> None:
        """Frame ``index`` of a grey level, None if the session skips it, with its 40 ms."""
        assert self._outlet is not None
        if level is not None:
            rgb = np.full((SIZE, SIZE, 3), level, np.uint8)
            frame = VideoFrame(index, rgb, (0.0, 0.0, 0.0), True, np.zeros(1, np.float32))
            self._outlet.offer_video(frame)
        for half in (0, 1):
            place = (2 * index + half) * CHUNK_SAMPLES
            self._outlet.offer_voice(VoiceChunk(place, voice[place : place + CHUNK_SAMPLES]))

    def end(self) -> None:
        assert self._outlet is not None
        self._outlet.close()


@contextlib.asynccontextmanager
async def staged(
    path: Path, limits: Limits | None = None
) -> AsyncIterator[tuple[Staged, Recording]]:
    session = Staged()
    recording = Recording(session, path, limits or Limits())  # type: ignore[arg-type]
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(recording.run())
        await recording.begun()
        await session.open.wait()
        yield session, recording


async def test_every_picture_of_a_session_is_in_the_file_beside_its_sound(
    bundle: Path, tmp_path: Path
) -> None:
    seen: dict[int, NDArray[np.uint8]] = {}
    heard: list[VoiceChunk] = []

    async def watch(outlet: Outlet) -> None:
        while True:
            frame = await outlet.video()
            seen[frame.index] = frame.rgb

    async def listen(outlet: Outlet) -> None:
        while True:
            heard.append(await outlet.voice())

    voice = noise(2.0)
    async with speaking(bundle) as (session,), session.outlet(50) as outlet:
        readers = [asyncio.create_task(read(outlet)) for read in (watch, listen)]
        await session.command({"type": "pose", "yaw": 20, "pitch": 5, "roll": 0})
        async with record(session, tmp_path / "out.mp4", Limits(crf=4)) as recording:
            await say(session, voice)
            summary = await recording.stop()
        for reader in readers:
            reader.cancel()

    assert (summary.reason, summary.failed) == ("stopped", False)
    movie = read_movie(tmp_path / "out.mp4")
    frames = len(movie.times_s)
    assert summary.frames == frames > 40 and summary.seconds == frames / 25
    assert summary.bytes > 0
    assert movie.times_s == pytest.approx(np.arange(frames) / 25, abs=1e-6)

    # Which frame of the session is the recording's first one?  Its sound says so, to the sample.
    late = shift(movie.sound, np.concatenate([chunk.pcm for chunk in heard]), most=24_000)
    begins_at = heard[0].start - late
    assert begins_at % 1920 == 0, "a recording begins on a frame's boundary"
    luma = np.array([0.299, 0.587, 0.114])  # what 4:2:0 keeps of noise
    errors = np.array(
        [
            [
                np.abs((seen[at + near] - picture.astype(float)) @ luma).mean()
                for near in range(-2, 3)
            ]
            for at, picture in enumerate(movie.pictures, begins_at // 1920)
            if all(at + near in seen for near in range(-2, 3))
        ]
    )
    assert len(errors) > 20 and np.median(errors[:, 2]) < 4
    assert errors.mean(axis=0).argmin() == 2, "the pictures are those of their sound"


async def test_what_was_said_last_is_in_the_file(bundle: Path, tmp_path: Path) -> None:
    voice = noise(1.0)
    async with speaking(bundle) as (session,), record(session, tmp_path / "out.mp4"):
        await say(session, voice)
    movie = read_movie(tmp_path / "out.mp4")
    _, likeness = find(voice[-9600:-960], movie.sound[-24_000:])
    assert likeness > 0.9


async def test_held_and_missed_frames_repeat_the_picture_in_step(tmp_path: Path) -> None:
    voice = noise(60 / 25)
    async with staged(tmp_path / "out.mp4") as (session, recording):
        for index in range(60):
            if index in (30, 31, 32):
                continue  # nothing at all came through: this program was busy
            session.show(index, None if 10 <= index < 15 else 20 + 3 * index, voice)
            await asyncio.sleep(0.001)
        session.end()
    summary = recording.summary()
    assert (summary.frames, summary.held, summary.reason) == (60, 8, "the session ended")
    movie = read_movie(tmp_path / "out.mp4")
    levels = movie.pictures.mean(axis=(1, 2, 3))
    shown = [20 + 3 * (9 if 10 <= n < 15 else 29 if 30 <= n < 33 else n) for n in range(60)]
    assert levels == pytest.approx(shown, abs=2.5)
    before, after = slice(0, 30 * 1920), slice(33 * 1920, 60 * 1920)
    assert shift(movie.sound[before], voice[before]) == 0
    assert shift(movie.sound[after], voice[after]) == 0
    gap = movie.sound[30 * 1920 + 1024 : 33 * 1920 - 1024]
    assert np.abs(gap).max() < 0.02


async def test_limits_end_it(tmp_path: Path) -> None:
    async with staged(tmp_path / "out.mp4", Limits(max_minutes=1 / 60)) as (session, recording):
        for index in range(40):
            session.show(index, 100, noise(40 / 25))
            await asyncio.sleep(0)
    assert recording.summary().reason == "the limit of 0.0166667 minutes was reached"
    assert (recording.state, recording.frames) == ("done", 25)

    async with staged(tmp_path / "big.mp4", Limits(max_mb=0.001)) as (session, recording):
        for index in range(400):
            session.show(index, 100, noise(400 / 25))
            await asyncio.sleep(0.002)
            if recording.state != "recording":
                break
    assert recording.reason == "the limit of 0.001 MB was reached" and recording.state == "done"


async def test_a_session_that_shows_nothing_leaves_no_file(tmp_path: Path) -> None:
    async with staged(tmp_path / "out.mp4") as (session, recording):
        session.end()
    assert recording.state == "failed"
    assert recording.reason == "there was no picture to record: the session ended"
    assert list(tmp_path.iterdir()) == []


async def test_a_slow_encoder_ends_the_recording_and_not_the_session(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = FragmentedMp4.add

    def slow(self: FragmentedMp4, *args: Any) -> None:
        time.sleep(0.2)
        fast(self, *args)

    monkeypatch.setattr(FragmentedMp4, "add", slow)
    monkeypatch.setattr(encoder_module, "QUEUE_FRAMES", 10)
    async with speaking(bundle) as (session,):
        with pytest.raises(RecorderError, match="ended early: this computer or its disk is too"):
            async with record(session, tmp_path / "out.mp4"):
                await say(session, SPEECH)
        await say(session, SPEECH[:9600])
        assert session.state().fps > 5
    assert len(read_movie(tmp_path / "out.mp4").times_s) >= 10


async def test_a_full_disk_ends_the_recording_and_not_the_session(bundle: Path) -> None:
    async with speaking(bundle) as (session,):
        async with record(session, "/dev/full") as recording:
            await say(session, noise(1.4))
            summary = await recording.stop()
        assert summary.failed and "the disk is full" in summary.reason
        await say(session, SPEECH[:9600])
    assert Path("/dev/full").exists()


async def test_a_place_that_cannot_be_written_says_so_at_once(bundle: Path) -> None:
    async with speaking(bundle) as (session,):
        with pytest.raises(RecorderError, match="there is no folder /nowhere"):
            async with record(session, "/nowhere/out.mp4"):
                pytest.fail("the block must not run")


async def test_two_recordings_at_once(bundle: Path, tmp_path: Path) -> None:
    voices = [noise(1.2, seed=1), noise(1.2, seed=2)]

    async def one(number: int, session: LiveSession) -> None:
        async with record(session, tmp_path / f"{number}.mp4"):
            await say(session, voices[number])

    async with speaking(bundle, 2) as sessions:
        await asyncio.gather(*(one(n, session) for n, session in enumerate(sessions)))
    for number, voice in enumerate(voices):
        movie = read_movie(tmp_path / f"{number}.mp4")
        assert find(voice[24_000:48_000], movie.sound)[1] > 0.9
        assert find(voices[1 - number][24_000:48_000], movie.sound)[1] < 0.2


RECORD_FOREVER = """
import asyncio, sys
from daetalker.plugins.recorder import record
from daetalker.streamer.live import open_avatar
from tests.plugins.movies import noise

async def main(bundle, path):
    async with open_avatar(bundle, threads=1) as avatar, avatar.session() as session:
        async with record(session, path) as recording:
            speaking = asyncio.create_task(session.speak(noise(60.0), 48_000))
            while True:
                await asyncio.sleep(0.05)
                print(recording.frames, recording.bytes, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def recorder_process(bundle: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / '.dev'}:{ROOT}"}
    command = [sys.executable, "-c", RECORD_FOREVER, str(bundle), str(tmp_path / "out.mp4")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_killed_in_the_middle_it_leaves_a_file_up_to_the_last_second(
    recorder_process: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert recorder_process.stdout is not None
    frames = 0
    for line in recorder_process.stdout:
        frames = int(line.split()[0])
        if frames >= 85:
            break
    recorder_process.send_signal(signal.SIGKILL)
    recorder_process.wait(PATIENCE_S)
    movie = read_movie(tmp_path / "out.mp4")
    assert len(movie.times_s) >= frames - 26
    assert len(movie.times_s) % 25 == 0
    assert movie.times_s == pytest.approx(np.arange(len(movie.times_s)) / 25, abs=1e-6)
    start = movie.sound.size - 48_000
    place, likeness = find(movie.sound[start : start + 24_000], noise(60.0)[: 10 * 48_000])
    assert likeness > 0.9 and (place - start) % 1920 == 0


def test_a_size_that_h264_cannot_have_is_refused(tmp_path: Path) -> None:
    async def refuse() -> None:
        session: Any = SimpleNamespace(size=33)
        with pytest.raises(RecorderError, match="even number"):
            Recording(session, tmp_path / "out.mp4")

    asyncio.run(refuse())
