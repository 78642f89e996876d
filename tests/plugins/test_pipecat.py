"""The avatar in real Pipecat pipelines."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pipecat", reason="pipecat-ai is not installed")
with warnings.catch_warnings():
    # Pipecat's own; Python 3.13 brings it a replacement.
    warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
    from loguru import logger
    from pipecat.frames.frames import (
        BotStartedSpeakingFrame,
        BotStoppedSpeakingFrame,
        DataFrame,
        EndFrame,
        ErrorFrame,
        Frame,
        InterruptionFrame,
        MetricsFrame,
        OutputAudioRawFrame,
        OutputImageRawFrame,
        SpeechOutputAudioRawFrame,
        StartFrame,
        SystemFrame,
        TextFrame,
        TTSAudioRawFrame,
        TTSStartedFrame,
        TTSStoppedFrame,
    )
    from pipecat.metrics.metrics import TTFBMetricsData
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.transports.base_output import BaseOutputTransport
    from pipecat.transports.base_transport import TransportParams
    from pipecat.workers.runner import WorkerRunner

    from daetalker.plugins.pipecat import (
        DaetalkerUpdateSettingsFrame,
        DaetalkerVideoService,
        DaetalkerVideoSettings,
        video_out,
    )
    from daetalker.plugins.pipecat import speaker as speaker_module
from daetalker.streamer.live import open_avatar
from daetalker.streamer.protocol import ProtocolError
from tests.plugins.movies import noise, read_movie

PATIENCE_S = 60.0
RATE = 48_000


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Pipecat tells everything it does on stderr."""
    logger.remove()
    yield
    logger.remove()


class Ping(SystemFrame):  # type: ignore[misc, unused-ignore]
    """Something urgent."""


class Collector(FrameProcessor):  # type: ignore[misc, unused-ignore]
    """Keeps what goes by in one direction, and when."""

    def __init__(self, direction: FrameDirection, image_s: float = 0.0) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.times_s: list[float] = []
        self._direction = direction
        self._image_s = image_s

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction == self._direction:
            self.frames.append(frame)
            self.times_s.append(time.monotonic())
            if isinstance(frame, OutputImageRawFrame) and self._image_s:
                await asyncio.sleep(self._image_s)
        await self.push_frame(frame, direction)

    def of(self, *kinds: type[Frame]) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame, kinds)]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.01)

    def voice(self) -> NDArray[np.int16]:
        """What was said, without the silence after it, or in it where this machine was busy."""
        pieces = [frame.audio for frame in self.of(SpeechOutputAudioRawFrame) if any(frame.audio)]
        return np.frombuffer(b"".join(pieces), np.int16)


class Bot:
    """A pipeline that runs: what the test says goes in where a TTS would be."""

    def __init__(
        self,
        service: DaetalkerVideoService,
        *after: FrameProcessor,
        image_s: float = 0.0,
    ) -> None:
        self.service = service
        self.up = Collector(FrameDirection.UPSTREAM)
        self.down = Collector(FrameDirection.DOWNSTREAM, image_s)
        self.worker = PipelineWorker(
            Pipeline([self.up, service, *after, self.down]),
            cancel_on_idle_timeout=False,
            enable_rtvi=False,
            params=PipelineParams(enable_metrics=True),
        )

    async def say(self, *frames: Frame) -> None:
        for frame in frames:
            await self.worker.queue_frame(frame)


@contextlib.asynccontextmanager
async def running(bot: Bot) -> AsyncIterator[Bot]:
    """Run until the block ends and the pipeline with it, by itself or by an EndFrame."""
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(bot.worker)
    run = asyncio.create_task(runner.run())
    try:
        await bot.down.until(lambda: run.done() or bot.down.of(StartFrame))
        yield bot
        await bot.say(EndFrame())
        await asyncio.wait_for(run, PATIENCE_S)
    finally:
        await bot.worker.cancel()
        await asyncio.wait_for(run, PATIENCE_S)


def service(bundle: Path, **more: Any) -> DaetalkerVideoService:
    return DaetalkerVideoService(avatar=str(bundle), threads=1, **more)


def spoken(pcm: NDArray[np.int16], rate: int = RATE) -> list[Frame]:
    """What a TTS pushes for one answer, in pieces of 100 ms."""
    step = rate // 10
    pieces = [pcm[place : place + step].tobytes() for place in range(0, pcm.size, step)]
    voice = [TTSAudioRawFrame(piece, rate, 1, context_id="one") for piece in pieces]
    return [TTSStartedFrame(context_id="one"), *voice, TTSStoppedFrame(context_id="one")]


class Note(DataFrame):  # type: ignore[misc, unused-ignore]
    """A frame that has its place in the voice."""


async def test_image_and_voice_come_interleaved_and_everything_keeps_its_order(
    bundle: Path,
) -> None:
    pcm = noise(1.0)
    async with running(Bot(service(bundle))) as bot:
        await bot.down.until(lambda: len(bot.down.of(OutputImageRawFrame)) > 10)
        assert not bot.down.of(OutputAudioRawFrame), "the face is there before the voice"
        await bot.say(*spoken(pcm), TextFrame("after"))

    assert not bot.down.of(TTSAudioRawFrame), "the voice would be heard twice"
    kinds = [
        type(frame).__name__
        for frame in bot.down.frames
        if not isinstance(frame, OutputImageRawFrame | MetricsFrame)
        and (not isinstance(frame, SpeechOutputAudioRawFrame) or any(frame.audio))
    ]
    voice = ["SpeechOutputAudioRawFrame"]
    np.testing.assert_array_equal(bot.down.voice(), pcm)
    assert kinds == [
        "StartFrame",
        "TTSStartedFrame",
        *voice * 25,
        "TTSStoppedFrame",
        "TextFrame",
        "EndFrame",
    ]

    media = bot.down.of(OutputImageRawFrame, SpeechOutputAudioRawFrame)
    for before, frame in itertools.pairwise(media):
        if isinstance(frame, SpeechOutputAudioRawFrame):
            assert isinstance(before, OutputImageRawFrame)
            assert (frame.sample_rate, frame.num_channels, len(frame.audio)) == (RATE, 1, 3840)
    image = bot.down.of(OutputImageRawFrame)[0]
    assert (image.size, image.format, len(image.image)) == ((32, 32), "RGB", 32 * 32 * 3)

    shown = [
        at_s
        for at_s, frame in zip(bot.down.times_s, bot.down.frames, strict=True)
        if isinstance(frame, OutputImageRawFrame)
    ]
    assert (len(shown) - 1) / (shown[-1] - shown[0]) == pytest.approx(25, abs=5)
    (ttfb,) = [
        data.value
        for frame in bot.down.of(MetricsFrame)
        for data in frame.data
        if isinstance(data, TTFBMetricsData) and data.value
    ]
    assert 0.2 < ttfb < 5


async def test_any_rate_and_stereo_are_understood_and_the_voice_ends_in_silence(
    bundle: Path,
) -> None:
    mono = noise(0.5)[::2]
    stereo = np.repeat(mono, 2)
    async with running(Bot(service(bundle))) as bot:
        await bot.say(
            TTSStartedFrame(),
            TTSAudioRawFrame(stereo.tobytes(), 24_000, 2),
            TTSStoppedFrame(),
        )
        await bot.down.until(lambda: bot.down.of(TTSStoppedFrame))
        assert bot.down.voice().size / 1920 in (13, 14)
        said = len(bot.down.of(SpeechOutputAudioRawFrame))
        await asyncio.sleep(1.2)
        everything = bot.down.of(SpeechOutputAudioRawFrame)
        tail = everything[said:]
        assert 0 < len(tail) <= 15 and not any(any(frame.audio) for frame in tail)
        images = len(bot.down.of(OutputImageRawFrame))
        await asyncio.sleep(0.5)
        assert len(bot.down.of(SpeechOutputAudioRawFrame)) == len(everything), "idle is silent"
        assert len(bot.down.of(OutputImageRawFrame)) > images


async def test_an_utterance_begins_when_a_little_of_it_is_there(bundle: Path) -> None:
    pcm = noise(0.24)
    start, *_, stop = spoken(pcm)
    first = TTSAudioRawFrame(pcm[:960].tobytes(), RATE, 1)
    rest = TTSAudioRawFrame(pcm[960:].tobytes(), RATE, 1)
    async with running(Bot(service(bundle))) as bot:
        await bot.say(start, first)
        await asyncio.sleep(1.0)
        assert not bot.down.of(SpeechOutputAudioRawFrame)
        await bot.say(rest, stop)
        await bot.down.until(lambda: bot.down.of(TTSStoppedFrame))
        await bot.say(TTSAudioRawFrame(pcm[:1920].tobytes(), RATE, 1))  # the end ends it as well
    np.testing.assert_array_equal(bot.down.voice(), np.concatenate([pcm, pcm[:1920]]))


async def test_an_interruption_gets_through_at_once_and_nothing_old_after_it(
    bundle: Path,
) -> None:
    long, short = noise(20.0, seed=1), noise(0.4, seed=2)
    async with running(Bot(service(bundle))) as bot:
        await bot.say(*spoken(long), Note())
        await bot.down.until(lambda: len(bot.down.of(SpeechOutputAudioRawFrame)) >= 10)
        asked_s = time.monotonic()
        await bot.say(InterruptionFrame())
        await bot.down.until(lambda: bot.down.of(InterruptionFrame))
        assert time.monotonic() - asked_s < 1.0
        await bot.say(*spoken(short))
    place = next(
        index for index, frame in enumerate(bot.down.frames) if isinstance(frame, InterruptionFrame)
    )
    after = bot.down.frames[place:]
    voice = [frame.audio for frame in after if isinstance(frame, SpeechOutputAudioRawFrame)]
    said = np.frombuffer(b"".join(pcm for pcm in voice if any(pcm)), np.int16)
    np.testing.assert_array_equal(said, short)
    assert not bot.down.of(Note), "it came after what was never said"
    assert sum(isinstance(frame, OutputImageRawFrame) for frame in after) >= 15


async def test_frames_leave_when_the_voice_before_them_was_heard(bundle: Path) -> None:
    pcm = noise(1.0)
    async with running(Bot(service(bundle))) as bot:
        await bot.say(
            TTSStartedFrame(),
            TTSAudioRawFrame(pcm[:14_400].tobytes(), RATE, 1),
            TextFrame("0.3"),
            TTSAudioRawFrame(pcm[14_400:38_400].tobytes(), RATE, 1),
            TextFrame("0.8"),
            TTSAudioRawFrame(pcm[38_400:].tobytes(), RATE, 1),
            TTSStoppedFrame(),
        )
    heard = 0
    for frame in bot.down.frames:
        if isinstance(frame, SpeechOutputAudioRawFrame) and any(frame.audio):
            heard += len(frame.audio) // 2
        elif isinstance(frame, TextFrame):
            assert heard / RATE == pytest.approx(float(frame.text), abs=0.09)
    assert heard == pcm.size


async def test_what_may_not_be_interrupted_is_said_and_passed_on(bundle: Path) -> None:
    pcm = noise(0.6)
    voice = TTSAudioRawFrame(pcm.tobytes(), RATE, 1)
    note, lost = Note(), TextFrame("lost")
    voice.interruptible = note.interruptible = False
    async with running(Bot(service(bundle))) as bot:
        await bot.say(TTSStartedFrame(), voice, lost, note)
        await bot.down.until(lambda: len(bot.down.of(SpeechOutputAudioRawFrame)) >= 3)
        await bot.say(InterruptionFrame(), TTSStoppedFrame())
    np.testing.assert_array_equal(bot.down.voice()[: pcm.size], pcm)
    assert bot.down.of(Note) == [note]

    async with running(Bot(service(bundle))) as bot:
        note = Note()
        note.interruptible = False
        await bot.say(*spoken(noise(5.0)), note)
        await bot.down.until(lambda: bot.down.of(SpeechOutputAudioRawFrame))
        await bot.say(InterruptionFrame())
        await bot.down.until(lambda: bot.down.of(Note))
    assert len(bot.down.of(SpeechOutputAudioRawFrame)) < 60


async def test_a_tts_faster_than_real_time_waits_and_urgent_frames_do_not(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speaker_module, "MAX_WAITING_S", 0.5)
    async with running(Bot(service(bundle))) as bot:
        await bot.say(*spoken(noise(6.0)))
        await bot.down.until(lambda: bot.down.of(SpeechOutputAudioRawFrame))
        assert bot.service.has_queued_frame(TTSAudioRawFrame), "the rest waits in the pipeline"
        asked_s = time.monotonic()
        await bot.say(Ping())
        await bot.down.until(lambda: bot.down.of(Ping))
        assert time.monotonic() - asked_s < 1.0
        await bot.say(InterruptionFrame())
        await bot.down.until(lambda: bot.down.of(InterruptionFrame))
        assert not bot.service.has_queued_frame(TTSAudioRawFrame)


async def test_a_slow_processor_downstream_gets_fewer_images_and_all_of_the_voice(
    bundle: Path,
) -> None:
    pcm = noise(2.0)
    pushed = 0
    most = 0
    bot = Bot(service(bundle), image_s=0.12)

    @bot.service.event_handler("on_after_push_frame")  # type: ignore[untyped-decorator, unused-ignore]
    async def count(_: FrameProcessor, frame: Frame) -> None:
        nonlocal pushed, most
        if isinstance(frame, OutputImageRawFrame):
            pushed += 1
            most = max(most, pushed - len(bot.down.of(OutputImageRawFrame)))

    async with running(bot):
        await bot.say(*spoken(pcm))
    np.testing.assert_array_equal(bot.down.voice(), pcm)
    assert 5 < most <= 15


async def test_the_head_turns_at_the_start_at_once_and_in_its_place(bundle: Path) -> None:
    first = DaetalkerVideoSettings(preset="left")
    async with running(Bot(service(bundle, settings=first))) as bot:
        session = bot.service.session
        assert session is not None and session.state().preset == "left"
        await bot.service.set_preset("up")
        assert session.state().preset == "up"
        with pytest.raises(ProtocolError, match="no"):
            await bot.service.set_preset("nowhere")

        turn = DaetalkerUpdateSettingsFrame(
            delta=DaetalkerVideoSettings(pose=(10.0, 0.0, 0.0), ease_s=0.1, natural=0.0)
        )
        *voice, stopped = spoken(noise(0.6))
        await bot.say(*voice, turn, stopped)
        await bot.down.until(lambda: len(bot.down.of(SpeechOutputAudioRawFrame)) >= 5)
        assert session.state().preset == "up", "not before it was said"
        await bot.down.until(lambda: abs(session.state().pose.yaw - 10) < 0.1)
        settings = bot.service.settings
        assert isinstance(settings, DaetalkerVideoSettings) and settings.preset is None

        wrong = DaetalkerUpdateSettingsFrame(delta=DaetalkerVideoSettings(preset="nowhere"))
        elsewhere = DaetalkerUpdateSettingsFrame(
            delta=DaetalkerVideoSettings(preset="up"), service=bot.up
        )
        await bot.say(wrong, elsewhere)
        await bot.down.until(lambda: bot.down.of(DaetalkerUpdateSettingsFrame))
        assert bot.down.of(DaetalkerUpdateSettingsFrame) == [elsewhere]
        (error,) = bot.up.of(ErrorFrame)
        assert "The head stays where it is" in error.error
        assert bot.service.is_usable


async def test_without_an_avatar_the_voice_goes_on_without_a_face(tmp_path: Path) -> None:
    pcm = noise(0.3)
    async with running(Bot(service(tmp_path / "nobody"))) as bot:
        await bot.say(*spoken(pcm))
    assert "no avatar" in bot.up.of(ErrorFrame)[0].error
    assert not bot.service.is_usable
    assert b"".join(f.audio for f in bot.down.of(TTSAudioRawFrame)) == pcm.tobytes()
    assert not bot.down.of(OutputImageRawFrame)


async def test_a_voice_that_is_none_is_left_out(bundle: Path) -> None:
    pcm = noise(0.2)
    async with running(Bot(service(bundle))) as bot:
        await bot.say(TTSAudioRawFrame(bytes(400), 100, 1), *spoken(pcm))
    assert "cannot say this voice" in bot.up.of(ErrorFrame)[0].error
    np.testing.assert_array_equal(bot.down.voice(), pcm)


async def test_a_session_that_ends_early_does_not_silence_the_bot(bundle: Path) -> None:
    async with open_avatar(str(bundle), threads=1) as avatar, avatar.session() as session:
        async with running(Bot(DaetalkerVideoService(session=session))) as bot:
            await bot.say(*spoken(noise(8.0)), Note())
            await bot.down.until(lambda: len(bot.down.of(SpeechOutputAudioRawFrame)) >= 5)
            await session.close()
            await bot.down.until(lambda: bot.down.of(Note))
            rest = b"".join(frame.audio for frame in bot.down.of(TTSAudioRawFrame))
            assert len(rest) > RATE * 2 * 4 and len(rest) % 9600 == 0
            assert rest == noise(8.0).tobytes()[-len(rest) :]
        assert any("has ended" in error.error for error in bot.up.of(ErrorFrame))


async def test_a_given_session_is_used_and_left_open(bundle: Path) -> None:
    async with open_avatar(str(bundle), threads=1) as avatar, avatar.session() as session:
        for _ in range(2):
            async with running(Bot(DaetalkerVideoService(session=session))) as bot:
                await bot.say(*spoken(noise(0.2)))
            np.testing.assert_array_equal(bot.down.voice(), noise(0.2))


async def test_cancelled_it_ends_at_once(bundle: Path) -> None:
    bot = Bot(service(bundle))
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(bot.worker)
    run = asyncio.create_task(runner.run())
    await bot.down.until(lambda: bot.down.of(OutputImageRawFrame))
    await bot.say(*spoken(noise(30.0)))
    await bot.down.until(lambda: bot.down.of(SpeechOutputAudioRawFrame))
    await bot.worker.cancel()
    await asyncio.wait_for(run, 20.0)


class Speakers(BaseOutputTransport):  # type: ignore[misc, unused-ignore]
    """Pipecat's own output transport on a device that plays in real time."""

    def __init__(self, ready_after_s: float, **video: Any) -> None:
        super().__init__(
            TransportParams(
                audio_out_enabled=True,
                audio_out_sample_rate=24_000,
                audio_out_end_silence_secs=0,
                **video,
            )
        )
        self.heard: list[tuple[float, bytes]] = []
        self.seen: list[tuple[int, int]] = []
        self._ready_after_s = ready_after_s
        self._free_s = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        self.create_task(self._become_ready(frame))

    async def _become_ready(self, frame: StartFrame) -> None:
        await asyncio.sleep(self._ready_after_s)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        now_s = time.monotonic()
        self.heard.append((now_s, frame.audio))
        self._free_s = max(self._free_s, now_s) + len(frame.audio) / 48_000
        await asyncio.sleep(max(0.0, self._free_s - now_s - 0.04))
        return True

    async def write_video_frame(self, frame: OutputImageRawFrame) -> bool:
        self.seen.append(frame.size)
        return True


async def test_an_output_transport_knows_when_the_bot_speaks(bundle: Path) -> None:
    speakers = Speakers(0.5, **video_out(str(bundle)))
    bot = Bot(service(bundle), speakers)
    async with running(bot):
        await bot.say(*spoken(noise(1.0)))  # before anybody is there to hear it
        await bot.down.until(lambda: bot.down.of(BotStoppedSpeakingFrame))
        assert len(bot.up.of(BotStartedSpeakingFrame)) == 1
        stopped_s = bot.down.times_s[bot.down.frames.index(bot.down.of(BotStoppedSpeakingFrame)[0])]
        loud = [
            (at_s, len(pcm))
            for at_s, pcm in speakers.heard
            if np.abs(np.frombuffer(pcm, np.int16)).max() > 100  # else the resampler's ringing
        ]
        assert sum(size for _, size in loud) >= 46_000
        assert 0.3 < stopped_s - loud[-1][0] < 2.0, (
            "not after the 3 s of a transport without a clue"
        )
        await bot.down.until(lambda: len(speakers.seen) > 20)
        assert set(speakers.seen) == {(32, 32)}
        assert bot.down.of(TTSStoppedFrame)


def test_the_example_runs_as_it_is(bundle: Path, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    film = tmp_path / "bot.mp4"
    done = subprocess.run(
        [sys.executable, "examples/pipecat_bot.py", "--avatar", str(bundle), "--output", str(film)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / ".dev")},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=True,
    )
    told = [line.split()[-1] for line in done.stdout.splitlines()]
    assert told.index("InterruptionFrame") < told.index("TTSStoppedFrame") < len(told)
    assert len(read_movie(film).times_s) > 100


def test_without_pipecat_the_message_says_what_to_install() -> None:
    script = """
import sys
sys.modules["pipecat"] = None
import daetalker.plugins.pipecat as face
try:
    face.DaetalkerVideoService
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2] / ".dev")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert 'pip install "daetalker[pipecat]"' in done.stdout and "MissingExtra" in done.stdout
