from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from daetalker.streamer.media import VideoFrame
from daetalker.streamer.movie import MovieError, write_mp4
from tests.tiny import tiny_speech, to_pcm


def frames(count: int) -> Iterator[VideoFrame]:
    for index in range(count):
        rgb = np.full((64, 64, 3), 8 * index + 20, np.uint8)
        yield VideoFrame(index, rgb, (0.0, 0.0, 0.0), False, np.zeros(1, np.float32))


def test_frames_and_voice_come_back(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    voice = to_pcm(tiny_speech(0.39, rate=48_000))
    assert write_mp4(path, frames(10), voice) == 10
    with av.open(str(path)) as movie:
        video, audio = movie.streams.video[0], movie.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert video.average_rate == 25 and video.codec_context.pix_fmt == "yuv420p"
        assert (audio.sample_rate, audio.layout.name) == (48_000, "mono")
        pictures = [f.to_ndarray(format="rgb24") for f in movie.decode(video=0)]
    assert len(pictures) == 10
    assert [round(float(p.mean())) for p in pictures] == pytest.approx(
        [8 * n + 20 for n in range(10)], abs=3
    )
    with av.open(str(path)) as movie:
        samples = sum(f.samples for f in movie.decode(audio=0))
    assert abs(samples - voice.size) < 2 * 1024


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(MovieError, match="cannot be written"):
        write_mp4(tmp_path / "missing" / "out.mp4", frames(2), np.zeros(0, np.int16))


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def breaking() -> Iterator[VideoFrame]:
        yield from frames(2)
        raise RuntimeError("the engine failed")

    with pytest.raises(RuntimeError, match="engine"):
        write_mp4(tmp_path / "out.mp4", breaking(), np.zeros(4800, np.int16))
    with pytest.raises(MovieError, match="no frames"):
        write_mp4(tmp_path / "out.mp4", frames(0), np.zeros(4800, np.int16))
    assert list(tmp_path.iterdir()) == []
