"""Training: windows, losses' weights, users' mistakes, and all stages on a tiny person."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("safetensors")


from daetalker.models.bundle import load_bundle  # noqa: E402
from daetalker.models.speech2latent import Speech2LatentConfig  # noqa: E402
from daetalker.models.training import cli, stages  # noqa: E402
from daetalker.models.training.data import (  # noqa: E402
    DataError,
    eye_closure,
    lip_opening,
    load_person,
    read_audio,
    sets_of,
    train_set_of,
)
from daetalker.models.training.distill import turned_odds  # noqa: E402
from daetalker.models.training.ema import Ema  # noqa: E402
from daetalker.models.training.features import (  # noqa: E402
    WindowSet,
    augmented_windows,
    clean_windows,
    cut_window,
    pink_noise,
)
from daetalker.models.training.loop import Run  # noqa: E402
from daetalker.models.training.train_autoencoder import crop_starts, region_weights  # noqa: E402
from daetalker.models.training.train_speech2latent import (  # noqa: E402
    Material,
    Speech2LatentTraining,
    gather,
    train_speech2latent,
)
from tests.models.small_person import (  # noqa: E402
    DESCRIPTION,
    TINY,
    MeanLevel,
    face,
    write_dataset,
    write_lpips,
    write_person,
    write_recipe,
)

WEIGHTS = Path(__file__).resolve().parents[3] / "shared/weights"


def test_eye_closure_and_lip_opening() -> None:
    points = np.stack([face(lids_px=5)] * 9 + [face(lids_px=0.0), face(lids_px=2.5)])
    np.testing.assert_allclose(eye_closure(points)[[0, 9, 10]], [0, 1, 0.5], atol=1e-5)
    openings = lip_opening(np.stack([face(0), face(4), face(8)]))
    np.testing.assert_allclose(openings, [0, 0.1, 0.2], atol=1e-6)
    doubled = lip_opening(np.stack([face(4)]) * 2)
    np.testing.assert_allclose(doubled, [0.1], atol=1e-6)


def test_regions_weigh_more_and_crops_stay_inside() -> None:
    points = np.stack([face()])
    weights = region_weights(points, 256, mouth=8.0, eyes=5.0)
    assert weights.shape == (1, 1, 64, 64)
    assert weights[0, 0, 40, 32] > 8 and weights[0, 0, 25, 26] > 5
    assert weights[0, 0, 2, 2] == pytest.approx(1.0, abs=1e-3)
    starts = crop_starts(np.repeat(points, 200, 0), 256, 128, 0.5, np.random.default_rng(0))
    assert starts.min() >= 0 and starts.max() <= 128


def test_windows_are_cut_as_the_stream_cuts_them() -> None:
    audio = np.arange(640 * 30, dtype=np.float32)
    window = cut_window(audio, end=10, frames=25)
    assert window.shape == (25 * 640,)
    assert not window[: 15 * 640].any()
    np.testing.assert_array_equal(window[15 * 640 :], audio[: 10 * 640])


def test_augmented_windows_start_in_silence_where_their_history_ends(tmp_path: Path) -> None:
    audio = np.random.default_rng(0).standard_normal(640 * 400).astype(np.float32) * 0.1
    made = augmented_windows("x", audio, MeanLevel(), tmp_path, count=40)
    short = np.flatnonzero(made.history < 50)
    assert len(short)
    for i in short:
        spoken = 2 * made.history[i]
        silent = made.features[i, : 100 - spoken, 0].astype(float)
        assert silent.mean() < 0.4 * made.features[i, 100 - spoken :, 0].astype(float).mean()


def test_gather_masks_what_lies_before_the_recording(tmp_path: Path) -> None:
    audio = np.ones(640 * 80, np.float32)
    clean = clean_windows("c", audio, MeanLevel(), tmp_path, step=1)
    held = WindowSet(clean.features[:1], clean.ends[:1], clean.history[:1], hold=np.array([33]))
    features, index, valid = gather([clean, held], np.array([0, len(clean.ends)]), 50)
    assert features.shape == (2, 100, 1)
    assert valid[0].sum() == clean.ends[0] and index[0, -1] == clean.ends[0] - 1
    assert valid[1].all() and (index[1] == 33).all()


def test_pink_noise_falls_with_frequency() -> None:
    power = np.abs(np.fft.rfft(pink_noise(16_000, np.random.default_rng(0)))) ** 2
    assert 5 < power[100:200].mean() / power[1000:2000].mean() < 20


def test_ema_follows_and_warms_up() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(0.0)
    ema = Ema(layer, decay=0.9)
    layer.weight.data.fill_(1.0)
    ema.update(layer)
    assert 0.5 < ema.shadow["weight"].item() < 1.0
    for _ in range(100):
        ema.update(layer)
    assert ema.shadow["weight"].item() == pytest.approx(1.0, abs=1e-3)


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"video\.mp4 is missing"):
        load_person(tmp_path, 128, tmp_path / "cache")
    (tmp_path / "noise.wav").write_bytes(b"this is not audio at all")
    with pytest.raises(DataError, match="cannot read audio"):
        read_audio(tmp_path / "noise.wav")


def options(folder: Path, *more: str) -> list[str]:
    """Arguments of a training of the tiny dataset in ``folder``, whose weights judge nothing."""
    return [
        str(folder / "data"), "-o", str(folder / "run"), "--config", str(folder / "tiny.toml"),
        "--weights", str(folder / "weights"), *more,
    ]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tiny dataset, recipe and weights."""
    monkeypatch.setattr(cli, "SHORTEST_S", 1.0)
    write_dataset(tmp_path / "data")
    write_recipe(tmp_path / "tiny.toml")
    write_lpips(tmp_path / "weights")
    return tmp_path


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence with which ``argv`` is refused."""
    assert cli.main(argv) == 2
    shown = capsys.readouterr().err
    message: str = shown.splitlines()[-1]
    assert message.startswith("daetalker train: ") and "Traceback" not in shown
    return message


def test_datasets_and_sets_are_told_apart(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 2, 2)
    write_person(data / "test_b", 2)
    assert [folder.name for folder in sets_of(data)] == ["test_a", "test_b"]
    assert train_set_of(data) == data / "train"
    assert sets_of(data / "test_a") == [data / "test_a"]
    assert train_set_of(data / "test_a") == data / "test_a"


def test_mistakes_are_one_sentence_before_anything_is_trained(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = options(place, "--no-export")
    assert "says what it is called and who agreed" in refused(options(place), capsys)
    assert "holds no training set" in refused([str(place), *plain[1:]], capsys)
    missing = [*plain, "--weights", str(place / "nowhere")]
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    assert "cannot be fetched" in refused(missing, capsys)
    assert "no recipe 'paperr'" in refused([*plain, "--config", "paperr"], capsys)
    assert "'student.training.reel'" in refused(
        [*plain, "--config", str(write_recipe(place / "odd.toml", TINY + ODD))], capsys
    )
    assert "a budget must be above 0" in refused([*plain, "--steps-student", "0"], capsys)
    assert cli.main([*plain, "--stage", "latents"]) == 2
    assert "is missing: run the stage 'autoencoder' first" in capsys.readouterr().err
    monkeypatch.setattr(cli, "SHORTEST_S", 30.0)
    assert "holds 4 s of video" in refused(plain, capsys)
    monkeypatch.setattr(cli, "SHORTEST_S", 1.0)
    monkeypatch.setattr(stages, "SHUT", -1.0)
    assert "the mouth is never shut" in refused(plain, capsys)


ODD = """
[student.training.reel]
x = 1
"""


def no_network(*_: object, **__: object) -> None:
    raise OSError("no network here")


def test_a_full_disk_is_one_sentence(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert "is full: make room" in refused(options(place, "--no-export"), capsys)


def test_velocity_does_not_see_joins(tmp_path: Path) -> None:
    """A jump of the latents where two pieces meet is no error of speech2latent."""
    write_person(tmp_path / "one", 3)
    whole = load_person(tmp_path / "one", 128, tmp_path / "cache")
    assert whole.segment_starts.tolist() == [0]
    with np.load(tmp_path / "one/truth.npz") as truth:
        values = dict(truth)
    np.savez(tmp_path / "one/truth.npz", **values, segment_start_frame=np.array([0, 40]))
    cut = load_person(tmp_path / "one", 128, tmp_path / "cache")
    assert cut.segment_starts.tolist() == [0, 40]
    assert cut.first(30).segment_starts.tolist() == [0]
    latents = torch.zeros(75, 4)
    latents[40:] += 100.0
    clean = clean_windows("c", cut.audio, MeanLevel(), tmp_path, first=60)
    latents += torch.randn(75, 4, generator=torch.Generator().manual_seed(0)) * 0.01
    losses = []
    for name, person in (("seen", whole), ("cut", cut)):
        cfg = Speech2LatentConfig(features=1, latent=4, width=8, encoder_blocks=1,
                                  decoder_blocks=1, pose_channels=4)  # fmt: skip
        material = Material(person, latents, [clean])
        train_speech2latent(material, Run(tmp_path / name), 10, cfg, Speech2LatentTraining(batch=2))
        row = json.loads((tmp_path / name / "speech2latent.jsonl").read_text().splitlines()[0])
        losses.append(row["velocity"])
    assert losses[1] < 0.7 * losses[0]


def test_turned_heads_are_drawn_more_often() -> None:
    odds = turned_odds(np.array([[0, 0, 0], [5, -5, 0], [20, 0, 10]], np.float32))
    np.testing.assert_allclose(odds, np.array([1, 2, 4]) / 7)


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="needs ../shared/weights (Whisper, LPIPS)")
def test_all_stages_make_a_bundle_that_loads(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe(place / "tiny.toml", TINY.replace("logmel", "whisper"))
    text = place / "text.toml"
    text.write_text(DESCRIPTION)
    few = ["--steps-autoencoder", "12", "--steps-speech2latent", "12", "--steps-student", "12"]
    argv = options(place, *few, "--text", str(text))
    argv[argv.index("--weights") + 1] = str(WEIGHTS)
    assert cli.main(argv) == 0
    shown = capsys.readouterr().err
    for number, name in enumerate(("autoencoder", "latents", "speech2latent", "student", "export")):
        assert f"{number + 1}/5 {name}" in shown
    run = place / "run"
    bundle = load_bundle(run / "bundle")
    assert bundle.manifest.name == "box" and bundle.manifest.size == 128
    log = (run / "speech2latent.jsonl").read_text().splitlines()
    assert any("test_a_lip_corr" in json.loads(line) for line in log)
    before = (run / "student.pt").stat().st_mtime_ns
    assert cli.main([*argv, "--stage", "student"]) == 0, "a finished stage is not run again"
    after = json.loads((run / "student.jsonl").read_text().splitlines()[-1])
    assert after["step"] == 12 and (run / "student.pt").stat().st_mtime_ns >= before
