"""The recipes say what the paper says, and what the training code really does."""

from __future__ import annotations

from daetalker.models.configs import EMBEDDED, PAPER, departures
from daetalker.models.training.train_autoencoder import AutoencoderTraining
from daetalker.models.training.train_speech2latent import Speech2LatentTraining


def test_paper_is_section_4_1_2() -> None:
    assert PAPER.fps == 25
    stage1, stage2 = PAPER.autoencoder, PAPER.speech2latent
    assert PAPER.latent == stage1.network.latent == stage2.network.latent == 512
    assert (stage1.network.size, stage1.diffusion_steps, stage1.sampling_steps) == (256, 1000, 100)
    assert (stage1.batch, stage1.rate, stage1.prediction) == (32, 1e-4, "epsilon")
    network = stage2.network
    assert (network.encoder_blocks, network.decoder_blocks) == (4, 4)
    assert (network.width, network.heads, network.kernel) == (256, 2, 13)
    assert network.pose_channels == 384
    assert (stage2.batch, stage2.rate, stage2.sentence_s) == (16, 1e-4, (5.0, 20.0))


def test_embedded_keeps_the_interfaces_of_the_paper() -> None:
    assert EMBEDDED.fps == PAPER.fps
    assert EMBEDDED.autoencoder.network.latent == EMBEDDED.speech2latent.network.latent == 512
    assert EMBEDDED.autoencoder.diffusion_steps == PAPER.autoencoder.diffusion_steps


def test_embedded_is_what_the_training_code_does() -> None:
    first, second = AutoencoderTraining(), Speech2LatentTraining()
    stage1, stage2 = EMBEDDED.autoencoder, EMBEDDED.speech2latent
    assert (stage1.batch, stage1.rate) == (first.batch, first.rate)
    assert (stage2.batch, stage2.rate, stage2.alpha) == (second.batch, second.rate, second.alpha)


def test_departures_name_stage_field_and_both_values() -> None:
    found = departures(EMBEDDED)
    assert found["autoencoder.prediction"] == ("epsilon", "x0")
    assert found["speech2latent.window_s"] == (0.0, 2.0)
    assert departures(PAPER) == {}
