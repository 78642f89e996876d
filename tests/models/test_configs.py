"""The recipes say what the paper says, and the networks and stages take them as they are."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("safetensors")

from daetalker.models.autoencoder import DiffusionAutoencoder  # noqa: E402
from daetalker.models.student import Student  # noqa: E402
from daetalker.models.training.configs import (  # noqa: E402
    EMBEDDED,
    PAPER,
    PaperAutoencoderRecipe,
    PaperSpeech2LatentRecipe,
    departures,
    flat,
    sized,
)
from daetalker.models.training.recipes import check  # noqa: E402


def test_paper_is_section_4_1_2() -> None:
    assert PAPER.is_paper and PAPER.size == 256 and PAPER.latent == 512
    stage1, stage2 = PAPER.autoencoder, PAPER.speech2latent
    assert isinstance(stage1, PaperAutoencoderRecipe)
    assert (stage1.diffusion_steps, stage1.sampling_steps, stage1.steps) == (1000, 100, 80_000)
    assert (stage1.training.batch, stage1.training.rate) == (32, 1e-4)
    assert PAPER.front_end.kind == "wav2vec"
    network = stage2.network
    assert (network.encoder_blocks, network.decoder_blocks) == (4, 4)
    assert (network.width, network.heads, network.kernel) == (256, 2, 13)
    assert network.pose_channels == 384 and not network.closure
    assert isinstance(stage2, PaperSpeech2LatentRecipe)
    training = stage2.training
    assert (training.batch, training.rate) == (16, 1e-4)
    assert (training.shortest_s, training.longest_s) == (5.0, 20.0)


def test_embedded_keeps_the_interfaces_of_the_paper() -> None:
    assert not EMBEDDED.is_paper and EMBEDDED.size == 256 and EMBEDDED.latent == PAPER.latent
    ours, theirs = flat(EMBEDDED), flat(PAPER)
    assert ours["autoencoder.network.diffusion_steps"] == theirs["autoencoder.diffusion_steps"]


def test_departures_name_the_key_and_both_values() -> None:
    found = departures(EMBEDDED)
    assert found["front_end.kind"] == ("wav2vec", "whisper")
    assert found["speech2latent.network.encoder_blocks"] == (4, 3)
    assert found["autoencoder.sampling_steps"] == (100, None)
    assert departures(PAPER) == {}


@pytest.mark.parametrize("size", [128, 256])
def test_embedded_at_both_sizes_has_the_same_grids(size: int) -> None:
    recipe = sized(EMBEDDED, size)
    check(recipe)
    assert (recipe.size, recipe.student_network.coarse) == (size, 8)
    network: Any = recipe.autoencoder.network
    small = replace(
        network,
        unet=replace(network.unet, widths=(8, 8, 8, 8), up_blocks=(1, 1, 1, 1), embedding=8),
        encoder_widths=(8, 8, 8, 8),
    )
    auto = DiffusionAutoencoder(small)
    frame = Student.fold(auto)(auto.encoder(torch.zeros(1, 3, size, size)))
    assert frame.shape == (1, 3, size, size)


def test_paper_can_be_shrunk_with_its_student() -> None:
    recipe = sized(PAPER, 128)
    check(recipe)
    assert recipe.size == recipe.student_network.size == 128


def test_no_field_of_a_recipe_is_lost_when_it_is_flattened() -> None:
    keys = flat(PAPER)
    assert {key.split(".")[0] for key in keys} == {item.name for item in fields(PAPER)}
    assert keys["student.network.patch"] == 4 and keys["student.training.steps"] == 100
