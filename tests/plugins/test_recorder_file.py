"""The recorder's file: picture and sound in their exact places, whatever becomes of the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.plugins.recorder.mp4 import (
    FragmentedMp4,
    RecorderError,
    missing_codecs,
    to_plain_mp4,
)
from tests.plugins.movies import noise, read_movie, shift

SIZE = 32
FRAMES = 88
VOICE = noise(FRAMES / 25)


def picture(index: int) -> NDArray[np.uint8]:
    return np.full((SIZE, SIZE, 3), 20 + 2 * index, np.uint8)


def sound(index: int) -> NDArray[np.int16]:
    return VOICE[1920 * index : 1920 * (index + 1)]


def write(path: Path, frames: int = FRAMES) -> list[int]:
    """The file's size after each frame."""
    sizes = []
    with FragmentedMp4(path, SIZE, crf=18) as movie:
        for index in range(frames):
            movie.add(picture(index), sound(index))
            sizes.append(path.stat().st_size)
            assert movie.bytes == sizes[-1]
    return sizes


@pytest.mark.parametrize("plain", [False, True], ids=["fragmented", "plain"])
def test_pictures_and_sound_are_where_they_belong(tmp_path: Path, plain: bool) -> None:
    path = tmp_path / "out.mp4"
    write(path)
    if plain:
        to_plain_mp4(path)
        assert b"moof" not in path.read_bytes()
    movie = read_movie(path)
    assert movie.times_s == pytest.approx([index / 25 for index in range(FRAMES)], abs=1e-6)
    levels = movie.pictures.mean(axis=(1, 2, 3))
    assert levels == pytest.approx([20 + 2 * index for index in range(FRAMES)], abs=1.5)
    assert shift(movie.sound, VOICE) == 0
    assert VOICE.size <= movie.sound.size < VOICE.size + 1024
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


def test_a_flash_and_its_beep_come_in_the_same_frame(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    beep = np.asarray(20_000 * np.sin(np.arange(1920) * 2 * np.pi * 1000 / 48_000), np.int16)
    with FragmentedMp4(path, SIZE, crf=18) as movie:
        for index in range(60):
            on = index in (10, 40)
            movie.add(
                np.full((SIZE, SIZE, 3), 235 if on else 20, np.uint8),
                beep if on else np.zeros(1920, np.int16),
            )
    read = read_movie(path)
    flashes = np.flatnonzero(read.pictures.mean(axis=(1, 2, 3)) > 128)
    assert flashes.tolist() == [10, 40]
    loud = np.flatnonzero(np.abs(read.sound) > 0.3)
    assert read.times_s[10] == pytest.approx(loud[0] / 48_000, abs=0.0015)
    assert read.times_s[40] == pytest.approx(loud[loud > 60_000][0] / 48_000, abs=0.0015)


def test_every_second_is_on_the_disk_before_the_next_is_over(tmp_path: Path) -> None:
    sizes = write(tmp_path / "out.mp4")
    grown = [index for index in range(1, FRAMES) if sizes[index] > sizes[index - 1]]
    assert sizes[0] == 0 and len(grown) == 3
    assert grown == pytest.approx([25, 50, 75], abs=2)


def test_what_a_killed_process_leaves_plays_up_to_the_last_whole_second(tmp_path: Path) -> None:
    path, cut = tmp_path / "out.mp4", tmp_path / "cut.mp4"
    sizes = write(path)
    whole = path.read_bytes()
    for index in (30, 60, 80):
        cut.write_bytes(whole[: sizes[index]])
        movie = read_movie(cut)
        assert len(movie.times_s) == 25 * (index // 25)
        assert shift(movie.sound, VOICE) == 0


def test_a_full_disk_and_bad_places_say_so() -> None:
    full = FragmentedMp4(Path("/dev/full"), SIZE, crf=18)
    with pytest.raises(RecorderError, match="disk is full"):
        for index in range(60):
            full.add(picture(index), sound(index))
    full.close()
    with pytest.raises(RecorderError, match="there is no folder /nowhere"):
        FragmentedMp4(Path("/nowhere/out.mp4"), SIZE, crf=18)


def test_a_disk_that_fills_up_keeps_what_came_before(tmp_path: Path) -> None:
    """In a process whose files may not grow beyond 40 kB, the nearest thing to a small disk."""
    script = f"""
import resource, signal
from pathlib import Path
from daetalker.plugins.recorder.mp4 import RecorderError
from tests.plugins.test_recorder_file import SIZE, FragmentedMp4, sound, picture
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
with FragmentedMp4(Path("{tmp_path}/out.mp4"), SIZE, crf=18) as movie:
    try:
        for index in range(88):
            movie.add(picture(index), sound(index))
    except RecorderError as error:
        print(error)
"""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / '.dev'}:{root}"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "cannot be written: File too large" in done.stdout
    assert len(read_movie(tmp_path / "out.mp4").times_s) in (25, 50)


def test_no_room_for_the_ordinary_file_keeps_the_fragmented_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.mp4"
    write(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(RecorderError, match="disk is full"):
        to_plain_mp4(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_this_ffmpeg_has_the_encoders() -> None:
    assert missing_codecs() == []
