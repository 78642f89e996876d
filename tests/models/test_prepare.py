"""`daetalker prepare` from film to dataset, with a stand-in that finds red rectangles as faces."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.training.data import (
    DataError,
    load_person,
    read_audio,
    sets_of,
    train_set_of,
)
from daetalker.models.training.prepare import cli, measure, pipeline, write
from daetalker.models.training.prepare.pipeline import Plan, prepare
from daetalker.models.training.prepare.progress import Progress
from daetalker.models.training.prepare.report import summary
from daetalker.streamer.cli import main as daetalker
from tests.models.filming import RedFinder, film, scene, tone

SECONDS = 6
TIMES = np.arange(SECONDS * 25) / 25


def _opening(t: float) -> float:
    return float(0.5 + 0.5 * np.sin(8 * np.pi * t))


def _talking(t: float) -> NDArray[np.uint8]:
    return scene(t, opening=_opening(t))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Films of some seconds do: what is needed is a fifth of what people need."""
    monkeypatch.setattr(pipeline, "LEAST_S", 4.0)
    monkeypatch.setattr(measure, "SAVE_EVERY", 50)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("film") / "clean.mkv", _talking, TIMES, tone(SECONDS))


def _prepare(
    output: Path, *videos: Path, finder: RedFinder | None = None, **options: Any
) -> dict[str, Any]:
    plan = Plan(videos, output, **{"size": 128, "offset_ms": 0.0, **options})
    return prepare(plan, lambda: finder or RedFinder(), Progress())


def test_a_film_becomes_a_dataset(clean: Path, tmp_path: Path) -> None:
    report = _prepare(tmp_path / "data", clean)
    assert report["kept_minutes"] == report["minutes"] == SECONDS / 60
    assert report["dropped_minutes"] == {}
    train, test = train_set_of(tmp_path / "data"), sets_of(tmp_path / "data")
    assert [folder.name for folder in test] == ["test"]
    people = [load_person(folder, 128, tmp_path / "cache") for folder in (train, *test)]
    assert [len(person.frames) for person in people] == [128, 22]
    for person in people:
        assert len(person.audio) == 640 * len(person.frames)
        assert person.landmarks.shape == (len(person.frames), 68, 2)
        assert np.abs(person.pose_deg).max() < 1e-3
    # Time runs through: the test set begins where the training set ends.
    heard = np.concatenate([person.audio for person in people])
    assert np.abs(heard - tone(SECONDS)).max() < 2e-3
    shown = _talking(128 / 25)
    assert np.abs(people[1].frames[0].astype(int) - shown).mean() < 8
    with np.load(train / "truth.npz") as truth:
        assert truth["segment_start_frame"].tolist() == [0]
        assert (int(truth["fps"]), int(truth["sample_rate"])) == (25, 16_000)
    with av.open(str(train / "video.mp4")) as container:
        assert container.streams.video[0].average_rate == 25
    assert json.loads((tmp_path / "data/prepare.json").read_text()) == json.loads(
        json.dumps(report)
    )
    assert (tmp_path / "data/sheet.png").stat().st_size > 1000


def test_bad_stretches_are_cut_out_and_counted(tmp_path: Path) -> None:
    two = ((0.05, 0.3, 0.35, 0.7), (0.55, 0.3, 0.85, 0.7))

    def draw(t: float) -> NDArray[np.uint8]:
        if 2 <= t < 3:
            return scene(t, ())
        if 5 <= t < 7:
            return scene(t, two)
        return _talking(t)

    long = np.arange(10 * 25) / 25
    report = _prepare(tmp_path / "data", film(tmp_path / "a.mkv", draw, long, tone(10)))
    dropped = {reason: 60 * minutes for reason, minutes in report["dropped_minutes"].items()}
    assert dropped["no face"] == pytest.approx(1, abs=0.15)
    assert dropped["two faces"] == pytest.approx(2, abs=0.5)
    assert report["kept_minutes"] * 60 == pytest.approx(7, abs=0.7)
    starts = []
    for name in ("train", "test"):
        with np.load(tmp_path / "data" / name / "truth.npz") as truth:
            starts.append(truth["segment_start_frame"])
            assert not np.isnan(truth["landmarks"]).any()
    assert sum(map(len, starts)) in (3, 4)
    text = summary(report, tmp_path / "data")
    assert "no face" in text
    assert "two faces" in text


def test_a_known_offset_is_taken_out(clean: Path, tmp_path: Path) -> None:
    voice = np.concatenate([np.zeros(3200, np.float32), tone(SECONDS)])[: SECONDS * 16_000]
    late = film(tmp_path / "late.mkv", _talking, TIMES, voice)
    _prepare(tmp_path / "a", clean)
    _prepare(tmp_path / "b", late, offset_ms=200.0)
    first, second = (read_audio(tmp_path / name / "train/audio.wav") for name in "ab")
    assert np.abs(first - second).max() < 1e-3


def test_named_clips_are_held_out(clean: Path, tmp_path: Path) -> None:
    other = film(tmp_path / "other.mkv", _talking, TIMES[:50], tone(2))
    report = _prepare(tmp_path / "data", clean, test=(other,))
    assert report["sets"]["train"]["frames"] == SECONDS * 25
    assert report["sets"]["test"]["frames"] == 50


def test_of_many_clips_whole_ones_are_held_out() -> None:
    def part(*of_clip: tuple[int, int]) -> write.Part:
        nothing: Any = None
        return write.Part(nothing, nothing, nothing, np.zeros(0, np.float32), list(of_clip))

    def frames(parts: list[write.Part]) -> list[list[tuple[int, int]]]:
        return [one.pieces for one in parts]

    train, test = write.split([part((0, 75)) for _ in range(20)], 0.15)
    assert (len(train), len(test)) == (17, 3)
    train, test = write.split([part((0, 500), (510, 880), (900, 1000))], 0.15)
    assert (frames(train), frames(test)) == ([[(0, 500), (510, 880)]], [[(900, 1000)]])
    train, test = write.split([part((0, 1000))], 0.2)
    assert (frames(train), frames(test)) == ([[(0, 800)]], [[(800, 1000)]])


class _Interrupted(RedFinder):
    """Stops the run after so many pictures, as a kill would."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def measure_all(self, rgb: NDArray[np.uint8]) -> Any:
        if self.calls == self.after:
            raise KeyboardInterrupt
        return super().measure_all(rgb)


def test_an_interrupted_run_goes_on(clean: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _prepare(tmp_path / "data", clean, finder=_Interrupted(120))
    assert not (tmp_path / "data/train").exists()
    again = RedFinder()
    report = _prepare(tmp_path / "data", clean, finder=again)
    assert again.calls == 50  # the survey of 13 pictures and the first 100 frames were done
    unbroken = _prepare(tmp_path / "other", clean)
    assert report == unbroken
    for name in ("truth.npz", "audio.wav"):
        left, right = (tmp_path / folder / "train" / name for folder in ("data", "other"))
        assert left.read_bytes() == right.read_bytes() or name == "truth.npz"
    with np.load(left.parent / "truth.npz") as one, np.load(right.parent / "truth.npz") as other:
        assert (one["landmarks"] == other["landmarks"]).all()
    third = RedFinder()
    _prepare(tmp_path / "data", clean, finder=third)
    assert third.calls == 0


def test_a_changed_source_is_measured_anew(clean: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(clean.read_bytes())
    _prepare(tmp_path / "data", path)
    film(path, _talking, TIMES[:125], tone(5))
    again = RedFinder()
    report = _prepare(tmp_path / "data", path, finder=again)
    assert again.calls > 125
    assert report["minutes"] == pytest.approx(5 / 60, abs=1e-3)


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "sound", "seconds", "says"),
    [
        (lambda t: scene(t, ()), tone(5), 5, "no face found"),
        (_talking, np.zeros(5 * 16_000, np.float32), 5, "silent"),
        (_talking, tone(3), 3, "only 3 s long"),
        (
            lambda t: scene(t, ((0.05, 0.3, 0.35, 0.7), (0.55, 0.3, 0.85, 0.7))),
            tone(5),
            5,
            "two people",
        ),
        (lambda t: scene(t, ()) if t > 2 else _talking(t), tone(5), 5, "only 2 s of 5 s"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(
    draw: Callable[[float], NDArray[np.uint8]],
    sound: NDArray[np.float32],
    seconds: int,
    says: str,
    tmp_path: Path,
) -> None:
    path = film(tmp_path / "a.mkv", draw, np.arange(seconds * 25) / 25, sound)
    with pytest.raises(DataError, match=says) as caught:
        _prepare(tmp_path / "data", path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data/train").exists()


def test_a_folder_of_something_else_is_left_alone(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        _prepare(tmp_path, clean)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_full_disk_is_told_and_leaves_nothing_half_done(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: Any) -> None:
        path.write_bytes(b"begun")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write, "_write_video", full)
    with pytest.raises(DataError, match="No space left on device"):
        _prepare(tmp_path / "data", clean)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".work"]


def test_the_command_says_one_sentence_and_ends_with_2(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert daetalker(["prepare", str(tmp_path / "none.mp4"), "-o", str(tmp_path / "data")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("daetalker prepare: ")
    assert said.count("\n") == 1
    monkeypatch.setattr(cli, "weight", lambda name, folder: tmp_path / name)
    monkeypatch.setattr(cli, "FaceMeter", lambda path, faces: RedFinder())
    options = ["-o", str(tmp_path / "data"), "--size", "128", "--offset-ms", "0"]
    assert cli.main([str(clean), *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept_minutes"] == SECONDS / 60
    assert cli.main([str(clean), *options]) == 0
    assert "look at" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main([str(clean), *options, "--test-share", "3"])


def test_progress_is_quiet_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    for done in range(100):
        progress("measuring", done, 100)
    assert capsys.readouterr().err == "measuring\n"
