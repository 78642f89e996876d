"""Clips are found, opened and read upright, at 25 frames a second, with their sound in step."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.training.data import SAMPLE_RATE, DataError
from daetalker.models.training.prepare.sound import read_sound, shifted
from daetalker.models.training.prepare.source import (
    find_clips,
    frames_before,
    picture_at,
    pictures,
    probe,
)
from tests.models.filming import film, scene, tone


def _grey(t: float) -> NDArray[np.uint8]:
    """A picture whose brightness tells its time: 50 grey levels a second."""
    return np.full((64, 64, 3), 20 + round(50 * t), np.uint8)


def _times_shown(path: Path) -> NDArray[np.float64]:
    """The source time that each frame shows."""
    shown = [(p.rgb.astype(np.float64).mean() - 20) / 50 for p in pictures(probe(path))]
    return np.array(shown)


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60])
def test_any_rate_becomes_25_by_the_pictures_own_times(tmp_path: Path, fps: int) -> None:
    times = np.arange(round(2.4 * fps)) / fps
    shown = _times_shown(film(tmp_path / "a.mkv", _grey, times, tone(2.4), crf=1))
    assert len(shown) == 60
    middles = (np.arange(60) + 0.5) / 25
    # The picture on screen at the middle of the frame: began at most 1 / fps before.
    age = middles - shown
    assert age.min() > -0.02
    assert age.max() < 1 / fps + 0.03


def test_a_variable_rate_keeps_time_and_tells_how_old_a_picture_is(tmp_path: Path) -> None:
    times = np.concatenate([np.arange(0, 1, 0.04), [1.0, 1.5], np.arange(1.54, 2.5, 0.04)])
    path = film(tmp_path / "a.mkv", _grey, times, tone(2.5), crf=1)
    frames = list(pictures(probe(path)))
    assert [frame.number for frame in frames] == list(range(len(frames)))
    ages = np.array([frame.age_s for frame in frames])
    assert ages[36] == pytest.approx(36.5 / 25 - 1.0, abs=2e-3)  # the picture of 1.0 s, still on
    assert ages[:20].max() < 0.041


def test_rough_times_at_25_take_every_picture_once() -> None:
    rough = np.arange(1, 100) / 25 + np.random.default_rng(0).uniform(-0.015, 0.015, 99)
    assert [frames_before(time) for time in rough] == list(range(1, 100))


def test_frames_not_wanted_are_left_out(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", _grey, np.arange(50) / 25, tone(2))
    assert [p.number for p in pictures(probe(path), {3, 40}.__contains__)] == [3, 40]


def test_one_picture_is_found_without_reading_all(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", _grey, np.arange(50) / 25, tone(2), crf=1)
    rgb = picture_at(probe(path), 30)
    assert rgb is not None
    assert (rgb.mean() - 20) / 50 == pytest.approx(30 / 25, abs=0.03)


def test_a_phone_held_upright_is_turned(tmp_path: Path) -> None:
    def draw(t: float) -> NDArray[np.uint8]:
        rgb = np.zeros((64, 96, 3), np.uint8)
        rgb[:, :20] = 255  # the stored left edge is the top, once turned clockwise
        return rgb

    flat = film(tmp_path / "flat.mkv", draw, np.arange(10) / 25, tone(0.4))
    path = tmp_path / "phone.mp4"
    with av.open(str(flat)) as source, av.open(str(path), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams.video}
        sound = target.add_stream("aac", rate=SAMPLE_RATE)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate, silence.pts = SAMPLE_RATE, 0
        target.mux(sound.encode(silence))
        target.mux(sound.encode(None))
    data = bytearray(path.read_bytes())
    # The header of the video track ends with its matrix, width and height: ask for a quarter turn.
    at = data.index(b"tkhd") + 4 + 40
    turn = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0, 1 << 30], ">i4")
    data[at : at + 36] = turn.tobytes()
    path.write_bytes(data)
    clip = probe(path)
    assert (clip.width, clip.height) == (64, 96)
    rgb = next(iter(pictures(clip))).rgb
    assert rgb[:12].mean() > 200
    assert rgb[40:].mean() < 50


def test_folders_give_their_videos_in_order(tmp_path: Path) -> None:
    for name in ("b.MP4", "a.mkv", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in find_clips([tmp_path, tmp_path / "a.mkv"])] == ["a.mkv", "b.MP4"]


def test_what_cannot_be_found_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.mp4 does not exist"):
        find_clips([tmp_path / "nowhere.mp4"])
    with pytest.raises(DataError, match="no video files"):
        find_clips([tmp_path])


def test_what_is_no_video_is_refused_in_a_sentence(tmp_path: Path) -> None:
    text = tmp_path / "a.mp4"
    text.write_text("not a video at all" * 50)
    with pytest.raises(DataError, match="not a video or is damaged"):
        probe(text)
    mute = film(tmp_path / "mute.mkv", _grey, np.arange(5) / 25, None)
    with pytest.raises(DataError, match="no sound"):
        probe(mute)


def test_a_file_cut_off_is_refused(tmp_path: Path) -> None:
    def noise(t: float) -> NDArray[np.uint8]:
        return np.random.default_rng(round(1000 * t)).integers(0, 256, (64, 64, 3), np.uint8)

    path = film(tmp_path / "a.mkv", noise, np.arange(250) / 25, tone(10))
    short = tmp_path / "short.mkv"
    short.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="cut off"):
        list(pictures(probe(short)))


def test_sound_is_16_khz_mono_on_the_pictures_clock(tmp_path: Path) -> None:
    """48 kHz stereo that starts a fifth of a second late comes out a fifth of a second late."""
    stereo = np.zeros((2, 48_000), np.float32)
    stereo[0, 4_800:4_848] = 0.9  # a click on one side, 0.1 s into the sound
    path = film(
        tmp_path / "a.mkv", _grey, np.arange(50) / 25, stereo, rate=48_000, sound_from_s=0.2
    )
    sound = read_sound(probe(path), 50)
    assert sound.samples.shape == (50 * 640,)
    assert np.abs(sound.samples).argmax() == pytest.approx(0.3005 * SAMPLE_RATE, abs=16)
    assert sound.covered[:4] == pytest.approx(0)
    assert sound.covered[6:29] == pytest.approx(1)
    assert sound.covered[31:] == pytest.approx(0)


def test_clipped_sound_is_counted_where_it_is(tmp_path: Path) -> None:
    loud = tone(2)
    loud[16_000:24_000] = np.clip(8 * loud[16_000:24_000], -1, 1)
    path = film(tmp_path / "a.mkv", _grey, np.arange(50) / 25, loud)
    clipped = read_sound(probe(path), 50).clipped
    assert clipped[:24].max() == 0
    assert clipped[26:36].mean() > 0.2


def test_shifting_moves_late_sound_forward() -> None:
    samples = np.zeros(1000, np.float32)
    samples[500] = 1
    assert shifted(samples, 10).argmax() == 340
    assert shifted(samples, -10).argmax() == 660
    assert shifted(samples, 1e4).max() == 0


def test_the_level_is_that_of_speech_not_of_pauses(tmp_path: Path) -> None:
    samples = np.concatenate([tone(0.5), np.zeros(24_000, np.float32)])
    path = film(tmp_path / "a.mkv", scene, np.arange(50) / 25, samples)
    assert -20 < read_sound(probe(path), 50).level_db < -5
