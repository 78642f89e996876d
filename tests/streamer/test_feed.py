"""Voice as data: whole frames, exact ends, any rate."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from daetalker.streamer.feed import Feed, VoiceConverter
from daetalker.streamer.media import VOICE_PER_FRAME
from tests.streamer.serving import buzz


def drain(feed: Feed) -> list[tuple[np.ndarray, int, bool]]:
    taken = []
    while (frame := feed.take()) is not None:
        taken.append(frame)
    return taken


async def test_an_utterance_is_whole_frames_and_its_last_one_is_marked() -> None:
    feed, voice = Feed(), buzz(0.1)
    utterance = feed.current
    utterance.write(voice[:1000])
    assert feed.take() is None, "less than a frame, and more may come"
    utterance.write(voice[1000:])
    assert feed.end() is utterance
    frames = drain(feed)
    assert [(number, last) for _, number, last in frames] == [(1, False), (1, False), (1, True)]
    heard = np.concatenate([pcm for pcm, _, _ in frames])
    assert np.array_equal(heard[: voice.size], voice) and not heard[voice.size :].any()
    assert feed.end() is None and not feed.active


async def test_an_end_that_comes_late_still_has_a_last_frame() -> None:
    feed = Feed()
    feed.current.write(buzz(0.04))
    first = feed.take()
    assert first is not None and first[2] is False
    feed.end()
    last = feed.take()
    assert last is not None and last[2] and not last[0].any()


async def test_done_tells_how_much_was_given_out() -> None:
    feed = Feed()
    feed.current.write(buzz(0.1))
    spoken = feed.end()
    assert spoken is not None
    drain(feed)
    for place in range(3):
        feed.given_out(1, VOICE_PER_FRAME, last=place == 2)
    playback = await spoken.done()
    assert playback.position_s == pytest.approx(0.1) and not playback.interrupted
    feed.current.write(buzz(1.0))
    cut = feed.current
    feed.take()
    feed.given_out(2, VOICE_PER_FRAME, last=False)
    feed.clear()
    playback = await cut.done()
    assert playback.position_s == pytest.approx(0.04) and playback.interrupted
    assert not feed.active and feed.take() is None


async def test_room_is_told_when_a_frame_is_taken_and_when_all_is_cleared() -> None:
    feed = Feed()
    feed.current.write(buzz(0.08))
    for act in (feed.take, feed.clear):
        waiting = asyncio.create_task(feed.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        act()
        await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_becomes_mono_at_48_khz(rate: int, channels: int) -> None:
    t = np.arange(rate) / rate
    tone = np.rint(8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)
    converter, out = VoiceConverter(rate, channels), []
    pcm = np.repeat(tone, channels)
    for start in range(0, pcm.size, 700 * channels):
        out.append(converter.push(pcm[start : start + 700 * channels]))
    out.append(converter.flush())
    heard = np.concatenate(out).astype(float)
    assert abs(heard.size - 48_000) <= 64
    spectrum = np.abs(np.fft.rfft(heard[4800:43_200]))
    assert np.argmax(spectrum) * 48_000 / 38_400 == pytest.approx(440, abs=1.5)
    assert np.abs(heard[4800:43_200]).max() == pytest.approx(8000, rel=0.05)


@pytest.mark.parametrize(
    ("rate", "channels", "words"),
    [(7999, 1, "rate must be"), (192_001, 1, "rate must be"), (16_000, 3, "channels must be")],
)
def test_a_wrong_format_is_refused(rate: int, channels: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        VoiceConverter(rate, channels)


def test_a_wrong_array_is_refused() -> None:
    wrong: list[Any] = [np.zeros(3, np.float32), np.zeros((2, 2), np.int16), np.zeros(3, np.int16)]
    for pcm in wrong:
        with pytest.raises(ValueError, match="voice must be"):
            VoiceConverter(16_000, 2).push(pcm)
