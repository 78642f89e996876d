"""The session as LiveKit's VideoGenerator, with LiveKit's own frame classes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("livekit.agents", reason="needs the extra livekit")

from livekit import rtc
from livekit.agents.voice.avatar import AudioSegmentEnd, AvatarRunner

from daetalker.plugins.livekit import DaetalkerGenerator
from daetalker.plugins.livekit import runner as runner_module
from daetalker.plugins.livekit.errors import LiveKitError
from daetalker.plugins.livekit.plugin import LiveKitPlugin, LiveKitSettings
from daetalker.streamer.live import open_avatar
from daetalker.streamer.pairing import Moment
from daetalker.streamer.plugin import MissingExtra
from tests.plugins.serving import PATIENCE_S
from tests.tiny import tiny_speech, to_pcm

pytestmark = pytest.mark.asyncio

Item = rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd


def audio_frame(pcm: NDArray[np.int16], rate: int, channels: int = 1) -> rtc.AudioFrame:
    return rtc.AudioFrame(pcm.tobytes(), rate, channels, pcm.size // channels)


class Consumer:
    """Reads a generator as LiveKit's runner does."""

    def __init__(self, generator: DaetalkerGenerator) -> None:
        self.items: list[Item] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.stop_at = ""
        self._generator = generator
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for item in self._generator:
            self.items.append(item)
            if self.kinds[-1] == self.stop_at:
                self.may_read.clear()
            await self.may_read.wait()

    @property
    def kinds(self) -> str:
        """One letter an item: V, A, E."""
        letters = {rtc.VideoFrame: "V", rtc.AudioFrame: "A", AudioSegmentEnd: "E"}
        return "".join(letters[type(item)] for item in self.items)

    def voice(self) -> NDArray[np.int16]:
        frames = [item for item in self.items if isinstance(item, rtc.AudioFrame)]
        return np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames])

    async def wait(self, letter: str, count: int) -> None:
        while self.kinds.count(letter) < count:
            await asyncio.sleep(0.01)

    async def more(self, count: int) -> None:
        await self.wait("V", self.kinds.count("V") + count)


@contextlib.asynccontextmanager
async def _generating(bundle: Path) -> AsyncIterator[tuple[DaetalkerGenerator, Consumer]]:
    async with (
        asyncio.timeout(2 * PATIENCE_S),
        open_avatar(str(bundle), threads=1) as avatar,
        avatar.session() as session,
    ):
        generator = DaetalkerGenerator(session)
        yield generator, Consumer(generator)


async def _say(generator: DaetalkerGenerator, pcm: NDArray[np.int16], rate: int = 48_000) -> None:
    for start in range(0, pcm.size, rate // 10):
        await generator.push_audio(audio_frame(pcm[start : start + rate // 10], rate))


async def test_what_the_runner_is_told(bundle: Path) -> None:
    async with _generating(bundle) as (generator, _):
        options = generator.options
        assert (options.video_width, options.video_height, options.video_fps) == (32, 32, 25)
        assert (options.audio_sample_rate, options.audio_channels) == (48_000, 1)


async def test_each_picture_has_exactly_its_voice_and_idle_has_none(bundle: Path) -> None:
    pcm = to_pcm(tiny_speech(0.5, rate=48_000))
    async with _generating(bundle) as (generator, consumer):
        await consumer.wait("V", 5)
        assert "A" not in consumer.kinds, "silence would count as speech"
        await generator.push_audio(audio_frame(pcm, 48_000))
        await generator.push_audio(AudioSegmentEnd())
        await consumer.wait("E", 1)
        await consumer.more(5)
        kinds = consumer.kinds
        spoken = kinds.strip("V")
        assert spoken == "AAA" + "VA" * 10 + "VVE", "three at once, as a reserve"
        frames = [item for item in consumer.items if isinstance(item, rtc.AudioFrame)]
        assert {frame.samples_per_channel for frame in frames} == {1920}
        np.testing.assert_array_equal(consumer.voice()[: pcm.size], pcm)
        picture = consumer.items[0]
        assert isinstance(picture, rtc.VideoFrame)
        assert (picture.width, picture.height) == (32, 32)
        assert len(picture.data) == 32 * 32 * 3


async def test_any_rate_and_stereo(bundle: Path) -> None:
    async with _generating(bundle) as (generator, consumer):
        await consumer.wait("V", 3)
        for rate, channels in ((16_000, 1), (24_000, 2)):
            pcm = np.repeat(to_pcm(tiny_speech(0.2, rate=rate)), channels)
            await generator.push_audio(audio_frame(pcm, rate, channels))
            await generator.push_audio(AudioSegmentEnd())
        await consumer.wait("E", 2)
        assert consumer.kinds.count("A") == 10


async def test_cleared_voice_neither_goes_on_nor_ends(bundle: Path) -> None:
    pcm = to_pcm(tiny_speech(1.0, rate=48_000))
    async with _generating(bundle) as (generator, consumer):
        await consumer.wait("V", 3)
        saying = asyncio.create_task(_say(generator, np.tile(pcm, 10)))
        await consumer.wait("A", 8)
        assert not saying.done(), "two seconds are enough ahead"
        await generator.clear_buffer()
        heard = consumer.kinds.count("A")
        saying.cancel()
        await generator.push_audio(AudioSegmentEnd())  # as the agent does after an interruption
        await consumer.more(15)
        assert consumer.kinds.count("A") == heard and "E" not in consumer.kinds

        await generator.push_audio(audio_frame(pcm[:9600], 48_000))
        await generator.push_audio(AudioSegmentEnd())
        await consumer.wait("E", 1)
        assert consumer.kinds.count("A") == heard + 5
        np.testing.assert_array_equal(consumer.voice()[-9600:], pcm[:9600])


class _Scripted:
    """Stands in for a session that shows what it is told."""

    size = 4

    def __init__(self, utterances: list[int | None]) -> None:
        self._utterances = utterances

    async def moments(self) -> AsyncIterator[Moment]:
        rgb, pcm = np.zeros((4, 4, 3), np.uint8), np.ones(1920, np.int16)
        for index, number in enumerate(self._utterances):
            following = [*self._utterances, None][index + 1]
            last = number is not None and following != number
            yield Moment(index, rgb, (0.0, 0.0, 0.0), False, pcm, number, last, False)

    async def interrupt(self) -> None:
        pass


async def test_voice_whose_picture_was_just_shown_is_cleared_too() -> None:
    scripted: Any = _Scripted([None, 1, 1, 1, None, None, 2, 2, None, None])
    generator = DaetalkerGenerator(scripted)
    kinds = ""
    async for item in generator:
        kinds += {rtc.VideoFrame: "V", rtc.AudioFrame: "A", AudioSegmentEnd: "E"}[type(item)]
        if kinds == "VV":  # the second is the first picture of the first utterance
            await generator.clear_buffer()
    assert kinds.count("A") == 2 and kinds.count("E") == 1, kinds
    assert kinds.index("A") > 4, "what was heard is the second utterance"


async def test_clearing_waits_for_the_frame_that_is_on_its_way(bundle: Path) -> None:
    """The runner counts a frame after forwarding it: what is reported must contain it."""
    async with _generating(bundle) as (generator, consumer):
        await consumer.wait("V", 3)
        await _say(generator, to_pcm(tiny_speech(1.0, rate=48_000)))
        await consumer.wait("A", 3)
        consumer.stop_at = "A"
        while consumer.may_read.is_set():
            await asyncio.sleep(0.01)
        clearing = asyncio.create_task(generator.clear_buffer())
        await asyncio.sleep(0.1)
        assert not clearing.done()
        consumer.may_read.set()
        await clearing


async def test_a_reader_that_stalls_still_learns_of_the_end(bundle: Path) -> None:
    async with _generating(bundle) as (generator, consumer):
        await consumer.wait("V", 3)
        consumer.may_read.clear()
        await _say(generator, to_pcm(tiny_speech(0.2, rate=48_000)))
        await generator.push_audio(AudioSegmentEnd())
        await asyncio.sleep(3.2)  # longer than a session keeps voice for a reader
        consumer.may_read.set()
        await consumer.wait("E", 1)
        await consumer.more(60)
        assert consumer.kinds.count("E") == 1


async def test_an_utterance_of_nothing_ends_too(bundle: Path) -> None:
    async with _generating(bundle) as (generator, consumer):
        await consumer.wait("V", 3)
        await generator.push_audio(audio_frame(np.zeros(0, np.int16), 48_000))
        await generator.push_audio(AudioSegmentEnd())
        await consumer.wait("E", 1)
        await generator.push_audio(AudioSegmentEnd())  # of nothing at all
        await consumer.more(5)
        assert consumer.kinds.count("E") == 1


async def test_held_voice_waits_while_the_picture_goes_on(bundle: Path) -> None:
    pcm = to_pcm(tiny_speech(0.2, rate=48_000))
    async with _generating(bundle) as (generator, consumer):
        generator.hold()
        saying = asyncio.create_task(_say(generator, pcm))
        await consumer.more(10)
        assert "A" not in consumer.kinds
        await generator.clear_buffer()
        await asyncio.wait_for(saying, PATIENCE_S)  # let go, unsaid; the later frames wait again
        generator.release()
        await _say(generator, pcm)
        await generator.push_audio(AudioSegmentEnd())
        await consumer.wait("E", 1)


async def test_a_changed_runner_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    runner_module.check()
    monkeypatch.delattr(AvatarRunner, "_publish_track")
    with pytest.raises(LiveKitError, match=r"no _publish_track any more: pip install"):
        runner_module.check()
    (finding,) = LiveKitPlugin.examine(LiveKitSettings())
    assert finding.status == "error" and "_publish_track" in finding.message
    assert "daetalker[livekit]" in finding.fix


async def test_doctor_is_content() -> None:
    (finding,) = LiveKitPlugin.examine(LiveKitSettings())
    assert finding.status == "ok" and "livekit-agents" in finding.message


async def test_a_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import daetalker.plugins.livekit as plugin

    monkeypatch.setitem(__import__("sys").modules, "livekit.agents", None)
    for name in plugin.__all__:
        if name != "LiveKitPlugin":
            with pytest.raises(MissingExtra, match=r'pip install "daetalker\[livekit\]"'):
                getattr(plugin, name)
    unused: Any = None
    with pytest.raises(MissingExtra):
        await LiveKitPlugin(unused, LiveKitSettings()).start()
