"""The three ablation models: equal effort, the right cuts, rows with both losses, bundles."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("safetensors")

from torch import Tensor  # noqa: E402

from daetalker.models.bundle import load_bundle  # noqa: E402
from daetalker.models.speech2latent import Speech2Latent, Speech2LatentConfig  # noqa: E402
from daetalker.models.training import ablations, mouth_probe  # noqa: E402
from daetalker.models.training.ablations import (  # noqa: E402
    fixed_cuts,
    plan_ablations,
    thinned,
    train_ablations,
)
from daetalker.models.training.configs import (  # noqa: E402
    EMBEDDED,
    PAPER,
    Speech2LatentRecipe,
    WindowConfig,
)
from daetalker.models.training.data import DataError, Person  # noqa: E402
from daetalker.models.training.features import WindowSet, clean_windows  # noqa: E402
from daetalker.models.training.front_ends import WholeWhisper  # noqa: E402
from daetalker.models.training.loop import Run  # noqa: E402
from daetalker.models.training.mouth_probe import fit_probe  # noqa: E402
from daetalker.models.training.stages import Stages  # noqa: E402
from daetalker.models.training.train_speech2latent import (  # noqa: E402
    HeldOut,
    Material,
    Speech2LatentTraining,
)
from tests.models.small_person import face  # noqa: E402
from tests.tiny import make_tiny_bundle  # noqa: E402

WHISPER = Path(__file__).resolve().parents[3] / "shared/weights/whisper-tiny.en-encoder"
SECONDS = 10
STEPS = 30
NETWORK = Speech2LatentConfig(
    latent=8, width=8, encoder_blocks=1, decoder_blocks=1, pose_channels=8
)
RECIPE = replace(
    EMBEDDED,
    window=WindowConfig(augmented=0, quiet=0),
    speech2latent=Speech2LatentRecipe(NETWORK, Speech2LatentTraining(batch=4, rate=1e-2)),
)


class LoudestOf:
    """Features relative to the loudest moment of what is heard, as Whisper's log-mel is."""

    width = 1

    def __call__(self, windows: NDArray[np.float32]) -> Tensor:
        level = np.abs(windows).reshape(len(windows), -1, 320).mean(-1, keepdims=True)
        relative = level / np.maximum(level.max(1, keepdims=True), 1e-6)
        features: Tensor = torch.from_numpy(relative.astype(np.float32))
        return features


def speaker() -> Person:
    rng = np.random.default_rng(0)
    count = SECONDS * 25
    opening = 4 + 4 * np.sin(np.arange(count) / 3)
    sound = np.repeat(opening / 8, 640) * rng.uniform(-0.5, 0.5, count * 640)
    return Person(
        np.zeros((count, 8, 8, 3), np.uint8),
        sound.astype(np.float32),
        rng.normal(0, 8, (count, 3)).astype(np.float32),
        np.stack([face(2 * o, size=8) for o in opening]),
    )


def stages_in(run: Path, text: Path | None = None) -> Stages:
    """Stages whose networks before speech2latent are made up."""
    person = speaker()
    windows = clean_windows("clean", person.audio, LoudestOf(), run / "cache", first=7, step=4)
    mix = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    shown = np.concatenate([person.pose_deg / 20, np.ones((len(person.frames), 1))], 1)
    opening = torch.from_numpy(np.sin(np.arange(len(person.frames)) / 3))[:, None]
    latents = (torch.cat([torch.from_numpy(shown), opening], 1).float()) @ mix
    stages = Stages(RECIPE, Run(run), run / "person", text=text)
    held_out = HeldOut("test_a", person, windows, latents)
    stages.__dict__["material"] = Material(person, latents, [windows], [held_out])
    stages.__dict__["front_end"] = stages.__dict__["whole_front_end"] = LoudestOf()
    return stages


def rows(path: Path) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [row for row in lines if "latent" in row]


def test_cuts_lie_at_fixed_stamps_and_are_heard_whole(tmp_path: Path) -> None:
    audio = (np.repeat(np.arange(1, 46), 16_000) / 100).astype(np.float32)
    cuts = fixed_cuts("cuts", audio, LoudestOf(), tmp_path, 500)
    assert cuts.features.shape == (2, 1000, 1) and cuts.ends.tolist() == [500, 1000]
    # Relative to the loudest of its own 20 s, not of 2 s: that is what the live windows lack.
    np.testing.assert_allclose(cuts.features[0, ::50, 0], np.arange(1, 21) / 20, atol=1e-3)
    with pytest.raises(DataError, match="20 s of training speech"):
        fixed_cuts("short", audio[: 19 * 16_000], LoudestOf(), tmp_path, 500)


@pytest.mark.parametrize("batch", [3, 10, 25, 48])
def test_every_model_sees_equal_frames_in_a_step(batch: int) -> None:
    none = np.zeros((1, 1000, 1), np.float16)
    cuts = WindowSet(none, np.array([500]), np.array([500]))
    recipe = Speech2LatentRecipe(NETWORK, Speech2LatentTraining(batch=batch))
    plan = plan_ablations(recipe, 1, (cuts,), cuts, frames=50)
    assert [a.name for a in plan] == ["reference", "fixed_cuts", "no_pose"]
    assert len({a.training.batch * a.frames for a in plan}) == 1
    reference, fixed, silent = plan
    assert fixed.frames == 500 and fixed.training.tail == 500 and fixed.windows == (cuts,)
    assert fixed.network == reference.network
    assert not silent.network.pose_adaptor and silent.training.alpha == 0


def test_without_the_adaptor_the_control_does_nothing() -> None:
    torch.manual_seed(0)
    model = Speech2Latent(replace(NETWORK, features=4, pose_adaptor=False)).eval()
    features = torch.randn(1, 40, 4)
    still, pose = model(features, torch.zeros(1, 20, 4))
    turned, _ = model(features, torch.full((1, 20, 4), 30.0))
    assert torch.equal(still, turned) and not pose.any()
    assert not [name for name, _ in model.named_parameters() if "pose" in name or "adapt" in name]


def test_a_thinned_set_keeps_its_span() -> None:
    windows = WindowSet(np.zeros((100, 2, 1), np.float16), np.arange(100), np.arange(100))
    few = thinned(HeldOut("x", speaker(), windows, torch.zeros(1, 1)), count=10).windows
    assert few.ends.tolist() == list(range(0, 100, 10)) and len(few.features) == 10


def test_three_models_are_trained_with_both_losses_in_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def export(self: Stages, speech: Speech2Latent, folder: Path) -> None:
        assert not speech.training and speech.cfg.features == 1
        made.append(make_tiny_bundle(folder))

    monkeypatch.setattr(Stages, "export", export)
    monkeypatch.setattr(ablations, "HELD_OUT_WINDOWS", 4)
    monkeypatch.setattr(ablations, "CUT_FRAMES", 100)
    monkeypatch.setattr(mouth_probe, "fit_probe", partial(fit_probe, steps=10))
    folders = train_ablations(stages_in(tmp_path, tmp_path / "text.toml"), steps=STEPS)
    assert [f.relative_to(tmp_path).as_posix() for f in folders] == [
        "ablations/reference", "ablations/fixed_cuts", "ablations/no_pose",
    ]  # fmt: skip
    logs = {f.name: rows(f / "speech2latent.jsonl") for f in folders}
    for log in logs.values():
        assert [row["step"] for row in log] == [10, 20, 30]
        assert all({"latent", "test_a_latent", "test_a_lip_corr"} <= row.keys() for row in log)
    assert [load_bundle(path).path.parent.name for path in made] == ["reference", "fixed_cuts"]
    # Most of these latents is pose, which cannot be heard (Figure 6).
    reference, silent = (logs[name][-1]["test_a_latent"] for name in ("reference", "no_pose"))
    assert reference < silent
    before = (folders[0] / "speech2latent.pt").stat().st_mtime_ns
    train_ablations(stages_in(tmp_path), steps=STEPS)  # nothing is left to do
    assert len(rows(folders[0] / "speech2latent.jsonl")) == 3 and len(made) == 2
    assert (folders[0] / "speech2latent.pt").stat().st_mtime_ns >= before


def test_paper_has_no_window_training_to_ablate(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--config embedded"):
        train_ablations(Stages(PAPER, Run(tmp_path), tmp_path))
    with pytest.raises(DataError, match="--steps-ablation"):
        train_ablations(Stages(EMBEDDED, Run(tmp_path), tmp_path), steps=0)


@pytest.mark.skipif(not WHISPER.is_dir(), reason="needs ../shared/weights (Whisper)")
def test_whisper_hears_a_whole_cut_with_as_many_positions() -> None:
    front_end = WholeWhisper(WHISPER)
    speech = 0.1 * np.random.default_rng(0).standard_normal((1, 3 * 16_000)).astype(np.float32)
    assert front_end(speech).shape == (1, 150, 384)
    assert front_end(speech[:, :16_000]).shape == (1, 50, 384)
    with pytest.raises(ValueError, match="30 s"):
        front_end(np.zeros((1, 31 * 16_000), np.float32))
