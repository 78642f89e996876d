"""The whole way: moments in, camera and virtual microphone out, compared at their consumers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.plugins.agent import AgentPlugin
from daetalker.plugins.camera import CameraPlugin, CameraSettings, pulse
from daetalker.plugins.camera.attach import media_url, watch
from daetalker.plugins.camera.errors import AttachError
from daetalker.plugins.camera.measure import measure_offset
from daetalker.plugins.camera.pipeline import Pipeline
from daetalker.plugins.camera.pulse import SOURCE
from daetalker.plugins.camera.pulse_daemon import PulseDaemon
from daetalker.plugins.camera.settings import open_pipeline
from daetalker.plugins.camera.voice_out import PulseVoice
from daetalker.streamer.live import LiveSession, Moment, open_avatar
from daetalker.streamer.plugin import PluginError
from tests.plugins.camera_bench import (
    BACKEND,
    PATIENCE_S,
    RATE,
    SURE,
    FakeCamera,
    Recorder,
    eventually,
    heard,
    moment,
    place_of,
    recording,
    rumble,
)
from tests.plugins.serving import served
from tests.tiny import tiny_speech, to_pcm

pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="the extra 'camera' is missing")
needs_pulse = pytest.mark.skipif(
    shutil.which("pulseaudio") is None or shutil.which("parec") is None,
    reason="pulseaudio or pulseaudio-utils is not installed",
)
SPEECH = to_pcm(tiny_speech(3.0, seed=3, rate=RATE))


@pytest.fixture(autouse=True)
def camera() -> None:
    FakeCamera.reset()
    pyvirtualcam.register_backend(BACKEND, FakeCamera)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with PulseDaemon() as address:
        monkeypatch.setenv("PULSE_SERVER", address)
        yield address


def settings(**values: Any) -> CameraSettings:
    small = {"width": 160, "height": 120, "backend": BACKEND}
    return CameraSettings.model_validate(small | values)


class Talking:
    """Puts moments into a pipeline, 25 a second, each picture of another grey."""

    def __init__(self, pipeline: Pipeline, voice: NDArray[np.int16]) -> None:
        self.voice = voice
        self.enough = threading.Event()
        self._pipeline = pipeline

    def run(self) -> None:
        start_s = time.monotonic()
        for index in range(self.voice.size // 1920):
            if self.enough.is_set():
                break
            time.sleep(max(0.0, start_s + index * 0.04 - time.monotonic()))
            said = moment(index, self.voice[1920 * index :][:1920], level=index % 250)
            self._pipeline.put(said, "test")
        self._pipeline.leave()


def first_seen(width: int = 160) -> dict[int, float]:
    """When each grey reached the camera first."""
    seen: dict[int, float] = {}
    for time_s, frame in list(FakeCamera.frames):
        seen.setdefault(int(frame[60, width // 2, 0]), time_s)
    return seen


@needs_pulse
@pytest.mark.parametrize("fps", [25, 30])
def test_picture_and_voice_leave_together(server: str, fps: int) -> None:
    voice = rumble(3.0)
    messages: list[str] = []
    with open_pipeline(settings(fps=fps), messages.append) as pipeline:
        with recording(server, SOURCE) as recorder:
            Talking(pipeline, voice).run()
            time.sleep(0.3)
        pipeline.check()
    differences = []
    seen = first_seen()
    for index in range(8, 70):
        if index not in seen:
            continue
        at, likeness = place_of(voice[1920 * index :][:1920], recorder.sound)
        if likeness > SURE:
            differences.append(seen[index] - recorder.came_s(at))
    assert len(differences) > 40
    # 30 a second cannot show 25 at their own times, so single ones differ, but not the middle.
    # The limit leaves room for a machine that does other things.
    assert abs(np.median(differences)) < 0.02
    assert not messages
    assert FakeCamera.opened == FakeCamera.closed == 1
    assert SOURCE not in [source.name for source in pulse.sources(server)]


@needs_pulse
def test_between_sources_the_last_picture_stays_and_all_is_quiet(server: str) -> None:
    with open_pipeline(settings(), print) as pipeline:
        eventually(lambda: len(FakeCamera.frames) > 5, "the ground, before anybody is there")
        assert (FakeCamera.frames[-1][1] == 0x20).all()
        Talking(pipeline, np.full(1920 * 20, 900, np.int16)).run()
        eventually(lambda: 19 in first_seen(), "the last picture")
        count = len(FakeCamera.frames)
        with recording(server, SOURCE) as recorder:
            eventually(lambda: recorder.sound.size > 2 * RATE, "two seconds of sound")
        assert pipeline.figures.starved <= 1  # only while somebody was there
        assert not recorder.sound[RATE:].any()
        later = [int(frame[60, 80, 0]) for _, frame in FakeCamera.frames[count:]]
        assert len(later) > 30 and set(later) == {19}


@needs_pulse
def test_a_lost_sound_server_leaves_the_picture_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("daetalker.plugins.camera.pipeline._RETRY_S", 0.1)
    messages: list[str] = []
    with contextlib.ExitStack() as stack:
        monkeypatch.setenv("PULSE_SERVER", stack.enter_context(PulseDaemon()))
        with open_pipeline(settings(), messages.append) as pipeline:
            talking = Talking(pipeline, np.tile(SPEECH, 20))
            thread = threading.Thread(target=talking.run)
            thread.start()
            eventually(lambda: 10 in first_seen(), "pictures")
            stack.close()
            eventually(lambda: messages, "a message")
            assert "goes on without voice" in messages[0]
            count = len(FakeCamera.frames)
            eventually(lambda: len(FakeCamera.frames) > count + 20, "pictures without voice")
            monkeypatch.setenv("PULSE_SERVER", stack.enter_context(PulseDaemon()))
            eventually(lambda: len(messages) == 2, "the voice is back")
            assert messages[1] == "the voice output is back"
            pipeline.check()
            talking.enough.set()
            thread.join()


def test_a_lost_camera_leaves_the_voice_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daetalker.plugins.camera.pipeline._RETRY_S", 0.1)
    messages: list[str] = []
    with open_pipeline(settings(voice_out="none"), messages.append) as pipeline:
        talking = Talking(pipeline, np.tile(SPEECH, 20))
        thread = threading.Thread(target=talking.run)
        thread.start()
        eventually(lambda: 5 in first_seen(), "pictures")
        FakeCamera.gone = True
        eventually(lambda: messages, "a message")
        assert "takes no more pictures" in messages[0]
        time.sleep(0.3)
        assert len(messages) == 1
        FakeCamera.gone = False
        eventually(lambda: len(messages) == 2, "the camera is back")
        count = len(FakeCamera.frames)
        eventually(lambda: len(FakeCamera.frames) > count + 5, "pictures again")
        talking.enough.set()
        thread.join()


def test_nothing_stays_open_when_the_second_device_is_missing() -> None:
    closed = []

    class Voice:
        name = "v"

        def close(self) -> None:
            closed.append(self)

    def no_camera() -> Any:
        raise AttachError("no camera")

    pipeline = Pipeline(no_camera, Voice, None, fps=25, say=print)  # type: ignore[arg-type]
    with pytest.raises(AttachError):
        pipeline.__enter__()
    assert len(closed) == 1


# --- with sessions ------------------------------------------------------------------------------


@needs_pulse
async def test_the_measure_finds_the_offset_and_sees_one_that_we_put_in(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = settings()
    figures = await measure_offset(str(bundle), 3, SPEECH, threads=1, settings=small)
    assert figures["camera_microphone_offset_ms"] <= 20
    assert figures["matched"] > 30
    honest = PulseVoice.delay_s

    def wrong(self: PulseVoice) -> float | None:
        delay_s = honest(self)
        return None if delay_s is None else delay_s - 0.06

    monkeypatch.setattr(PulseVoice, "delay_s", wrong)
    spoilt = await measure_offset(str(bundle), 3, SPEECH, threads=1, settings=small)
    added = spoilt["camera_microphone_bias_ms"] - figures["camera_microphone_bias_ms"]
    assert added == pytest.approx(-60, abs=15)


async def comes_out(
    session: LiveSession, voice: NDArray[np.int16], recorder: Recorder, tries: int = 5
) -> bool:
    """Speak, and look for the voice in what was recorded; a busy machine may have cut it."""
    for _ in range(tries):
        begin = recorder.sound.size
        await session.speak(voice, RATE)
        spoken = await session.end_utterance()
        assert spoken is not None
        await asyncio.wait_for(spoken.done(), PATIENCE_S)
        await asyncio.sleep(0.6)
        # In a thread: the sessions live in this loop.
        if await asyncio.to_thread(heard, voice, recorder.sound[begin:]):
            return True
    return False


async def until(condition: Any, what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None


@needs_pulse
async def test_the_plugin_shows_the_newest_session_and_stays_when_all_have_ended(
    bundle: Path, server: str
) -> None:
    own = {"camera": {"width": 160, "height": 120, "backend": BACKEND}}
    async with served(bundle, [CameraPlugin], own) as running:
        await until(lambda: FakeCamera.frames, "the ground")
        first = await running.hub.open_session()
        await first.command({"type": "preset", "name": "left"})
        with recording(server, SOURCE) as recorder:
            assert await comes_out(first, rumble(1.0, seed=1), recorder)
            second = await running.hub.open_session()
            assert await comes_out(second, rumble(1.0, seed=2), recorder)
            assert not await comes_out(first, rumble(1.0, seed=3), recorder, tries=1)
        await second.close()
        await first.close()
        await running.empty()
        last = FakeCamera.frames[-1][1]
        count = len(FakeCamera.frames)
        await until(lambda: len(FakeCamera.frames) > count + 10, "a camera without session")
        assert not (FakeCamera.frames[-1][1] == 0x20).all()
        assert last.shape == (120, 160, 3)
    assert FakeCamera.closed == 1


async def test_the_plugin_refuses_to_start_without_a_camera(bundle: Path) -> None:
    FakeCamera.gone = True
    own = {"camera": {"device": "/dev/video98765", "voice_out": "none"}}
    with pytest.raises(PluginError, match=r"plugin 'camera': .*/dev/video98765.*(modprobe|OBS)"):
        async with served(bundle, [CameraPlugin], own):
            pass


async def test_attaching_shows_a_session_of_a_running_server(bundle: Path) -> None:
    messages: list[str] = []
    shown: list[Moment | None] = []

    async def follow(url: str) -> None:
        async with contextlib.aclosing(watch(url, messages.append)) as moments:
            async for each in moments:
                shown.append(each)

    async with served(bundle, [AgentPlugin]) as running:
        url = media_url(running.url, "latest", None)
        following = asyncio.create_task(follow(url))
        try:
            await until(lambda: messages, "a message that there is no session yet")
            assert "I keep trying" in messages[0]
            session = await running.hub.open_session()
            await until(lambda: sum(each is not None for each in shown) > 10, "moments")
            seen = [each for each in shown if each is not None]
            assert [each.index for each in seen] == list(
                range(seen[0].index, seen[0].index + len(seen))
            )
            assert messages[1] == "the session is there"
            shown.clear()
            await session.speak(SPEECH, RATE)
            await session.end_utterance()
            await until(lambda: len(shown) > 4 * 25, "the voice")
            sound = np.concatenate([each.pcm for each in shown if each is not None])
            assert place_of(SPEECH[4800:48_000], sound)[1] > 0.999
            assert seen[0].rgb.shape == (32, 32, 3)
            await session.close()
            await until(lambda: None in shown, "the end of the session")
            again = await running.hub.open_session()
            shown.clear()
            await until(lambda: sum(each is not None for each in shown) > 5, "the next session")
            await again.close()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def test_a_server_that_is_not_there_is_tried_again_and_told_once() -> None:
    messages: list[str] = []

    async def follow() -> None:
        async for _ in watch("ws://127.0.0.1:9/plugins/agent/media", messages.append):
            pass

    following = asyncio.create_task(follow())
    await until(lambda: messages, "a message")
    await asyncio.sleep(1.2)
    assert messages == [
        "no server answers at 127.0.0.1:9; the last picture stays, and I keep trying"
    ]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_server_without_raw_media_is_told_with_what_to_do(bundle: Path) -> None:
    async with served(bundle, []) as running:
        with pytest.raises(AttachError, match="daetalker serve --plugins agent"):
            async for _ in watch(media_url(running.url, "latest", None), print):
                pass


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://h:8080", "ws://h:8080/plugins/agent/media?session=latest"),
        ("https://h/", "wss://h/plugins/agent/media?session=latest"),
        ("h:80/talk", "ws://h:80/talk/plugins/agent/media?session=latest"),
    ],
)
def test_addresses_of_servers(given: str, url: str) -> None:
    assert media_url(given, "latest", None) == url
    assert media_url(given, "latest", "a b").endswith("&token=a+b")


@pytest.mark.parametrize("given", ["ftp://h", "http://", ""])
def test_what_is_no_address_is_told(given: str) -> None:
    with pytest.raises(AttachError, match="is no address"):
        media_url(given, "latest", None)


@needs_pulse
async def test_a_session_in_our_own_process_needs_no_server(bundle: Path, server: str) -> None:
    async with open_avatar(str(bundle), threads=1) as avatar, avatar.session() as session:
        with open_pipeline(settings(), print) as pipeline:
            async with contextlib.aclosing(session.moments()) as moments:
                async for each in moments:
                    pipeline.put(each, session.id)
                    if len(FakeCamera.frames) > 30:
                        break
    assert pipeline.figures.lost == 0
