"""Export: what a bundle holds when it leaves training, and without what it does not leave."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("safetensors")
pytest.importorskip("onnx")

from daetalker.models.acoustic import WhisperEncoder  # noqa: E402
from daetalker.models.autoencoder import AutoencoderConfig, DiffusionAutoencoder  # noqa: E402
from daetalker.models.bundle import load_bundle  # noqa: E402
from daetalker.models.consent import Consent  # noqa: E402
from daetalker.models.speech2latent import Speech2Latent, Speech2LatentConfig  # noqa: E402
from daetalker.models.student import Student  # noqa: E402
from daetalker.models.training.build import (  # noqa: E402
    BundleText,
    Trained,
    export_bundle,
    natural_step,
    pose_range,
    presets_within,
)
from daetalker.models.training.data import DataError  # noqa: E402
from daetalker.models.unet import UNetConfig  # noqa: E402
from daetalker.models.verify import check_networks  # noqa: E402

TEXT = BundleText("box", "Box", "none", Consent(statement="a drawing"), True, ("nobody",))


@pytest.fixture(scope="module")
def trained() -> Trained:
    torch.manual_seed(0)
    shape = UNetConfig(size=128, patch=8, widths=(8, 16), up_blocks=(1, 1), embedding=16)
    auto = DiffusionAutoencoder(AutoencoderConfig(shape, encoder_widths=(8, 8, 8, 8)))
    speech = Speech2Latent(
        Speech2LatentConfig(
            features=48, width=16, encoder_blocks=1, decoder_blocks=1, pose_channels=8
        )
    )
    rng = np.random.default_rng(0)
    return Trained(
        auto.eval(),
        Student.fold(auto).eval(),
        speech.eval(),
        WhisperEncoder(width=48, heads=2, layers=1).eval(),
        rng.normal(0, 8, (200, 3)).astype(np.float32),
        rng.standard_normal((8, 512)).astype(np.float32),
    )


def test_an_exported_bundle_is_whole_shows_itself_and_names_what_it_contains(
    trained: Trained, tmp_path: Path
) -> None:
    (tmp_path / "TERMS.txt").write_text("terms")
    text = replace(TEXT, licence_files=(tmp_path / "TERMS.txt",))
    folder = export_bundle(trained, tmp_path / "bundle", text, {"training": {"step": 1.0}})
    bundle = load_bundle(folder)
    assert len(check_networks(bundle)) == 6
    assert bundle.preview is not None and bundle.preview.read_bytes().startswith(b"\x89PNG")
    assert bundle.manifest.consent == text.consent
    assert bundle.manifest.figures == {"training": {"step": 1.0}}
    assert any("Whisper" in line for line in bundle.manifest.attributions)
    assert {"TERMS.txt", "Whisper-LICENSE.txt"} <= bundle.manifest.files.keys()
    bundle.require_consent()
    assert '"natural_step_deg"' in (folder / "manifest.json").read_text()
    step = natural_step(trained.pose_deg, np.zeros(1, np.int64))
    assert bundle.manifest.natural_step_deg == step


@pytest.mark.parametrize(
    ("consent", "synthetic"),
    [(Consent(), True), (Consent(statement="<fill in>"), True), (TEXT.consent, False)],
)
def test_nothing_is_exported_without_consent(
    trained: Trained, tmp_path: Path, consent: Consent, synthetic: bool
) -> None:
    text = replace(TEXT, consent=consent, synthetic=synthetic)
    with pytest.raises(DataError, match="does not say consent"):
        export_bundle(trained, tmp_path / "bundle", text, {})
    assert not (tmp_path / "bundle").exists()


def test_a_head_that_never_moves_has_a_range_all_the_same() -> None:
    limits = pose_range(np.full((50, 3), 3.1, np.float32))
    assert limits["yaw"] == [3.0, 3.5]
    assert {preset["yaw"] for preset in presets_within(limits)} == {3.0, 3.5}
    wide = pose_range(np.linspace(-30, 30, 601)[:, None].repeat(3, 1))
    assert wide["pitch"] == [-29.5, 29.5]


def test_the_natural_step_is_the_99th_percentile_of_all_three_axes_without_the_cuts() -> None:
    rng = np.random.default_rng(1)
    steps = rng.uniform(0.0, 1.0, 4000)
    direction = np.array([2.0, -1.0, 2.0]) / 3.0
    pose = np.cumsum(steps * rng.choice([-1.0, 1.0], 4000))[:, None] * direction
    starts = np.arange(0, 4000, 50)
    pose += (np.arange(4000) // 50 * 40.0)[:, None]  # a jump at every cut
    assert natural_step(pose, starts) == pytest.approx(0.99, abs=0.01)
    assert natural_step(pose, starts[:1]) == 10.0, "as far as a manifest may go"
    assert natural_step(pose[:1], starts[:1]) == 1.5
    assert natural_step(np.zeros((9, 3)), starts[:1]) == 0.1
