"""Every stage of `paper`, from a TOML file that shrinks it to a bundle that the engine runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
transformers = pytest.importorskip("transformers")
pytest.importorskip("safetensors")

from torch import Tensor  # noqa: E402

from daetalker.models.bundle import load_bundle  # noqa: E402
from daetalker.models.paper_unet import PaperUNetConfig  # noqa: E402
from daetalker.models.speech2latent import Speech2LatentConfig  # noqa: E402
from daetalker.models.training import cli  # noqa: E402
from daetalker.models.training.configs import (  # noqa: E402
    PaperAutoencoderRecipe,
    PaperAutoencoderTraining,
    PaperSpeech2LatentRecipe,
    PaperSpeech2LatentTraining,
)
from daetalker.models.training.data import Person  # noqa: E402
from daetalker.models.training.loop import Run  # noqa: E402
from daetalker.models.training.train_paper import train_paper_autoencoder  # noqa: E402
from daetalker.models.training.train_sentences import (  # noqa: E402
    draw_sentences,
    hear,
    train_sentences,
)
from daetalker.models.training.train_speech2latent import HeldOut, Material  # noqa: E402
from daetalker.streamer.engine import Engine  # noqa: E402
from tests.models.small_person import (  # noqa: E402
    DESCRIPTION,
    MeanLevel,
    face,
    write_lpips,
    write_person,
)
from tests.models.test_wav2vec import tiny_wav2vec  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TINY = PaperUNetConfig(
    size=32, base=32, multipliers=(1, 2), encoder_multipliers=(1, 2), attention=(16,), blocks=1,
    latent=8, embedding=16, dropout=0.0,
)  # fmt: skip


class Blind:
    """Stands in for LPIPS where it is not called."""

    def to(self, device: object) -> Blind:
        return self

    def parameters(self) -> list[Tensor]:
        return []


def person(frames: int, size: int = 32) -> Person:
    rng = np.random.default_rng(0)
    return Person(
        rng.integers(0, 255, (frames, size, size, 3), dtype=np.uint8),
        rng.uniform(-0.3, 0.3, frames * 640).astype(np.float32),
        rng.normal(0, 5, (frames, 3)).astype(np.float32),
        np.stack([face(size=size)] * frames),
    )


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def weights_of(run: Path, name: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(run / f"{name}.pt", weights_only=True)["modules"]
    return state


def test_parts_of_a_batch_learn_what_the_whole_batch_learns(tmp_path: Path) -> None:
    made = []
    for part in (0, 2):
        recipe = PaperAutoencoderRecipe(TINY, PaperAutoencoderTraining(batch=4, part=part))
        run = Run(tmp_path / str(part))
        lpips: Any = Blind()
        train_paper_autoencoder(person(6), None, run, 1, recipe, lpips)
        made.append(weights_of(run.folder, "autoencoder"))
        assert rows(run.folder / "autoencoder.jsonl")[-1]["rate"] == 1e-4
    for key, whole in made[0].items():
        torch.testing.assert_close(made[1][key], whole, atol=2.5e-4, rtol=0)


def test_pseudo_sentences_start_anywhere_and_last_5_to_20_seconds() -> None:
    training = PaperSpeech2LatentTraining()
    drawn = draw_sentences(np.random.default_rng(0), 2000, 4000, training)
    length = drawn[:, 1] - drawn[:, 0]
    assert length.min() == 125 and length.max() == 500
    assert drawn.min() == 0 and drawn.max() == 2000
    assert len(np.unique(drawn[:, 0])) > 1000
    short = draw_sentences(np.random.default_rng(0), 60, 10, training)
    assert (short == [0, 60]).all()


def test_a_sentence_is_heard_alone() -> None:
    audio = np.arange(640 * 10, dtype=np.float32)
    features = hear(MeanLevel(), audio, 4, 7)
    assert features.shape == (1, 6, 1)
    torch.testing.assert_close(features, MeanLevel()(audio[None])[:, 8:14])
    assert hear(MeanLevel(), audio, 8, 12).shape == (1, 8, 1)  # a recording that ends early


def test_the_pose_loss_reaches_the_pose_predictor(tmp_path: Path) -> None:
    speaker = person(80)
    latents = torch.randn(80, 8)
    held_out = HeldOut("other", speaker, None, latents)  # type: ignore[arg-type]
    network = Speech2LatentConfig(
        latent=8, width=8, encoder_blocks=1, decoder_blocks=1, pose_channels=8, closure=False
    )
    made = []
    for alpha in (0.0, 1.0):
        training = PaperSpeech2LatentTraining(batch=2, alpha=alpha, shortest_s=1, longest_s=2)
        recipe = PaperSpeech2LatentRecipe(network, training)
        run = Run(tmp_path / str(alpha))
        train_sentences(Material(speaker, latents, (), [held_out]), MeanLevel(), run, 2, recipe)
        made.append(weights_of(run.folder, "speech2latent")["pose_predictor.out.weight"])
        last = rows(run.folder / "speech2latent.jsonl")[-1]
        assert {"latent", "pose", "other_latent"} <= last.keys()
    assert not torch.equal(*made)


@pytest.mark.slow
def test_all_stages_of_paper_make_a_bundle_that_hears_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "SHORTEST_S", 1.0)
    checkpoint = tmp_path / "wav2vec"
    tiny_wav2vec().save_pretrained(checkpoint)
    example = (ROOT / "docs/examples/paper-small.toml").read_text()
    config, text = tmp_path / "small.toml", tmp_path / "text.toml"
    config.write_text(example.replace("/path/to/a/wav2vec2/folder", str(checkpoint)))
    text.write_text(DESCRIPTION)
    data, run = tmp_path / "data", tmp_path / "run"
    write_person(data / "train", seconds=4, size=64)
    write_person(data / "test_a", seconds=3, size=64)
    argv = [
        str(data), "-o", str(run), "--config", str(config), "--text", str(text),
        "--weights", str(write_lpips(tmp_path / "weights")),
    ]  # fmt: skip
    assert cli.main(argv) == 0
    assert {"loss", "ddim_psnr"} <= rows(run / "autoencoder.jsonl")[-1].keys()
    assert {"latent", "pose", "test_a_latent"} <= rows(run / "speech2latent.jsonl")[-1].keys()
    assert {"loss", "psnr"} <= rows(run / "student.jsonl")[-1].keys()

    bundle = load_bundle(run / "bundle")
    assert (bundle.manifest.size, bundle.manifest.diffusion_steps) == (64, 50)
    engine = Engine(bundle, threads=1)
    speech = engine.speech(np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32))
    control = np.zeros((50, 4), np.float32)
    latents = engine.latents(speech.hidden, control)
    control[:, 3] = 1.0  # shut eyes: the paper conditions on the pose alone
    np.testing.assert_array_equal(engine.latents(speech.hidden, control), latents)
    assert engine.frames(latents[:1]).shape == (1, 64, 64, 3)
    assert engine.teacher_frames(latents[:1], 4).shape == (1, 64, 64, 3)
