"""Speech2latent, the Conformer and the acoustic front-ends."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from torch import Tensor  # noqa: E402

from daetalker.models.acoustic import LogMel, Whisper, WhisperEncoder, round_to_int8  # noqa: E402
from daetalker.models.conformer import Attention, ConformerBlock, rotary  # noqa: E402
from daetalker.models.speech2latent import Speech2Latent, Speech2LatentConfig  # noqa: E402

TINY = Speech2LatentConfig(
    features=12, latent=10, width=16, encoder_blocks=1, decoder_blocks=1, pose_channels=8
)


@pytest.fixture
def model() -> Speech2Latent:
    torch.manual_seed(0)
    return Speech2Latent(TINY).eval()


def test_shapes_and_the_split_into_two_networks(model: Speech2Latent) -> None:
    features, control = torch.randn(2, 40, 12), torch.randn(2, 20, 4)
    latents, pose = model(features, control)
    assert latents.shape == (2, 20, 10) and pose.shape == (2, 20, 3)
    hidden, heard_pose = model.listen(features)
    assert torch.equal(heard_pose, pose)
    assert torch.allclose(model.speak(hidden, control), latents)


def test_control_moves_the_latents_and_not_the_pose(model: Speech2Latent) -> None:
    features = torch.randn(1, 40, 12)
    straight = torch.zeros(1, 20, 4)
    turned = straight.clone()
    turned[..., 0] = 25.0
    a, pose_a = model(features, straight)
    b, pose_b = model(features, turned)
    assert (a - b).abs().mean() > 1e-3
    assert torch.equal(pose_a, pose_b)


def test_the_latent_scale_is_applied_last(model: Speech2Latent) -> None:
    features, control = torch.randn(1, 40, 12), torch.zeros(1, 20, 4)
    before = model(features, control)[0]
    model.latent_mean.fill_(3.0)
    model.latent_scale.fill_(2.0)
    assert torch.allclose(model(features, control)[0], before * 2 + 3, atol=1e-5)


def test_one_training_step_lowers_the_loss(model: Speech2Latent) -> None:
    features, control = torch.randn(4, 40, 12), torch.randn(4, 20, 4)
    truth = torch.randn(4, 20, 10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for _ in range(12):
        loss = ((model(features, control)[0] - truth) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_paper_configuration() -> None:
    """Section 4.1.2: 4 + 4 Conformer blocks, 256 wide, 2 heads, kernel 13, pose predictor 384."""
    cfg = Speech2LatentConfig.paper()
    assert (cfg.width, cfg.heads, cfg.kernel, cfg.pose_channels) == (256, 2, 13, 384)
    with torch.device("meta"):
        model = Speech2Latent(cfg)
    assert len(model.encoder) == len(model.decoder) == 4
    assert model.encoder[0].get_submodule("convolution.depthwise").kernel_size == (13,)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in
             model.named_children()}  # fmt: skip
    assert (sizes["encoder"], sizes["decoder"]) == (6_073_344, 6_073_344)
    assert (sizes["pose_predictor"], sizes["adaptor"]) == (740_739, 66_816)
    assert sum(sizes.values()) == 14_398_851


def test_without_closure_only_the_pose_conditions() -> None:
    torch.manual_seed(0)
    model = Speech2Latent(replace(TINY, closure=False)).eval()
    features, control = torch.randn(1, 40, 12), torch.zeros(1, 20, 4)
    shut, turned = control.clone(), control.clone()
    shut[..., 3], turned[..., 0] = 1.0, 20.0
    plain = model(features, control)[0]
    assert torch.equal(model(features, shut)[0], plain)
    assert not torch.allclose(model(features, turned)[0], plain)


def test_rotary_attention_knows_order_but_not_place() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(i: int, j: int, length: int = 12) -> Tensor:
        a, b = torch.zeros(1, 1, length, 8), torch.zeros(1, 1, length, 8)
        a[:, :, i], b[:, :, j] = q[:, :, 0], k[:, :, 0]
        return (rotary(a)[0, 0, i] * rotary(b)[0, 0, j]).sum()

    assert torch.allclose(score(2, 5), score(6, 9), atol=1e-5)
    assert not torch.allclose(score(2, 5), score(5, 2), atol=1e-3)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="multiple of twice"):
        Attention(20, 3, 0.0)


def test_a_block_keeps_its_shape() -> None:
    block = ConformerBlock(16, 2, 13).eval()
    assert block(torch.randn(2, 9, 16)).shape == (2, 9, 16)


def test_whisper_keeps_only_the_positions_of_a_window() -> None:
    torch.manual_seed(0)
    encoder = WhisperEncoder(feature_frames=100, width=24, heads=2, layers=1).eval()
    features = Whisper(encoder)(np.zeros((2, 32_000), np.float32))
    assert features.shape == (2, 100, 24)


def test_log_mel_pairs_spectrogram_frames() -> None:
    assert LogMel()(np.zeros((2, 32_000), np.float32)).shape == (2, 100, 160)


def test_rounding_leaves_127_levels_a_row() -> None:
    layer = torch.nn.Linear(64, 3)
    before = layer.weight.detach().clone()
    round_to_int8(layer)
    step = before.abs().amax(1, keepdim=True) / 127
    assert torch.allclose(layer.weight / step, (layer.weight / step).round(), atol=1e-3)
    assert ((layer.weight - before).abs() <= step / 2 + 1e-6).all()


def test_missing_whisper_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Whisper encoder weights"):
        WhisperEncoder.load(tmp_path)
