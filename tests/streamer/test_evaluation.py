"""`daetalker evaluate`: what its options ask the measuring code for, and the files it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daetalker.streamer.cli import main
from tests.tiny import make_tiny_bundle, tiny_speech

pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("mediapipe", reason="needs the training extra")
pytest.importorskip("matplotlib", reason="needs the training extra")
pytest.importorskip("jinja2", reason="needs the training extra")

from daetalker.models.training import evaluate as measuring


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("avatars") / "tiny")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for name in ("train", "test", "test_b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for file in ("video.mp4", "audio.wav", "truth.npz"):
            (tmp_path / "data" / name / file).touch()
    return tmp_path / "data"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for name in ("mediapipe/face_landmarker.task", "lpips/lpips_alex_v0.1.safetensors"):
        (tmp_path / "weights" / name).parent.mkdir(parents=True)
        (tmp_path / "weights" / name).touch()
    return tmp_path / "weights"


class Measuring:
    """Stands for the measuring code: notes what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def __call__(self, bundle: Any, data: Any, synthesise: Any, live: Any, **others: Any) -> Any:
        self.asked = {"bundle": bundle, "data": data, "synthesise": synthesise, "live": live}
        self.asked |= others
        return {"avatar": "tiny", "data": "test", "size": 32, "psnr_db": 12.5}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measuring:
    stand_in = Measuring()
    monkeypatch.setattr(measuring, "evaluate_avatar", stand_in)
    return stand_in


def test_a_dataset_means_its_held_out_sets(
    avatar: Path, dataset: Path, weights: Path, measured: Measuring,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = ["evaluate", str(avatar), "--data", str(dataset), "--weights", str(weights)]
    assert main([*arguments, "--table", "3,4", "--json", "--quick"]) == 0
    assert json.loads(capsys.readouterr().out)["psnr_db"] == 12.5
    assert [folder.name for folder in measured.asked["data"]] == ["test", "test_b"]
    wanted = measured.asked["wanted"]
    assert wanted.tables == {3, 4}
    assert wanted.references is None, "the folder train beside the first set"
    assert measured.asked["limits"] == measuring.QUICK
    assert measured.asked["sync"].light_asd is None, "tables 3 and 4 need no ear"


def test_sets_and_lengths_can_be_named(
    avatar: Path, dataset: Path, weights: Path, measured: Measuring
) -> None:
    sets = [str(dataset / name) for name in ("test_b", "test")]
    arguments = ["evaluate", str(avatar), "--data", *sets, "--weights", str(weights)]
    arguments += ["--table", "4", "--seconds", "20", "--decoder-seconds", "3"]
    assert main([*arguments, "--references", str(dataset)]) == 0
    assert [folder.name for folder in measured.asked["data"]] == ["test_b", "test"]
    assert measured.asked["wanted"].references == dataset / "train"
    extent = measured.asked["limits"].tables
    assert (extent.speech_s, extent.decoder_s) == (20.0, 3.0)


def test_the_report_is_written_and_nothing_is_measured_if_it_cannot_be(
    avatar: Path, dataset: Path, weights: Path, measured: Measuring,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = ["evaluate", str(avatar), "--data", str(dataset), "--weights", str(weights)]
    page, text = dataset / "report.html", dataset / "report.md"
    assert main([*arguments, "--table", "4", "--html", str(page), "--markdown", str(text)]) == 0
    assert "12.5" in page.read_text() and "12.5" in text.read_text()
    assert "PSNR" in capsys.readouterr().out
    measured.asked = {}
    assert main([*arguments, "--html", str(dataset / "nowhere" / "report.html")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not measured.asked


def test_the_synthesis_it_passes_on_is_the_live_one(
    avatar: Path, dataset: Path, weights: Path, measured: Measuring
) -> None:
    arguments = ["evaluate", str(avatar), "--data", str(dataset), "--weights", str(weights)]
    assert main(arguments) == 0
    samples = tiny_speech(0.5)
    for pose in (None, (5.0, 0.0, 0.0)):
        offline = list(measured.asked["synthesise"](samples, pose=pose))
        live = list(measured.asked["live"](samples, pose=pose))
        assert len(offline) == len(live) == 13
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(offline, live, strict=True))
    other = list(measured.asked["other"](avatar)(samples))
    again = list(measured.asked["synthesise"](samples))
    assert np.array_equal(other[-1].rgb, again[-1].rgb)
