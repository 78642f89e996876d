"""The `paper` autoencoder at tiny widths, and its full size without memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor

from daetalker.models.ddim_numpy import ddim_sample
from daetalker.models.paper_autoencoder import CleanImage, PaperAutoencoder
from daetalker.models.paper_unet import PaperUNet, PaperUNetConfig, SemanticEncoder
from daetalker.models.training.export import export_onnx

TINY = PaperUNetConfig(
    size=32,
    base=32,
    multipliers=(1, 2),
    encoder_multipliers=(1, 2, 2),
    attention=(16,),
    blocks=1,
    latent=24,
    embedding=40,
    dropout=0.0,
)


def _batch(seed: int, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((count, 3, TINY.size, TINY.size), generator=generator) * 2.0 - 1.0


def _autoencoder() -> PaperAutoencoder:
    torch.manual_seed(0)
    return PaperAutoencoder(TINY, diffusion_steps=50)


def test_forward_shapes() -> None:
    auto = _autoencoder().eval()
    image = _batch(1)
    with torch.no_grad():
        c = auto.encoder(image)
        epsilon = auto.decoder(image, torch.tensor([0, 49]), c)
        decoded = auto.decode(c, steps=2)
    assert c.shape == (2, TINY.latent)
    assert epsilon.shape == image.shape
    assert decoded.shape == image.shape
    assert float(decoded.abs().max()) <= 1.0


def test_decoding_starts_from_the_shared_noise_and_is_deterministic() -> None:
    auto = _autoencoder().eval()
    c = torch.zeros(2, TINY.latent)
    once, again = auto.decode(c, steps=3), auto.decode(c, steps=3)
    assert torch.equal(once, again)
    assert torch.equal(once[0], once[1])
    other = auto.decode(c, steps=3, x_T=torch.ones_like(auto.x_T))
    assert not torch.equal(once, other)


def test_training_on_a_fixed_batch_lowers_the_l1_loss() -> None:
    auto = _autoencoder()
    image, noise = _batch(1), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    t = torch.tensor([5, 30])
    optimizer = torch.optim.Adam(auto.parameters(), lr=1e-3)
    losses: list[float] = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = auto.loss(image, t, noise)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    assert losses[1] < losses[0]
    assert losses[-1] < 0.98 * losses[0]


def test_both_the_step_and_the_latent_reach_the_output() -> None:
    auto = _autoencoder().eval()
    for parameter in auto.decoder.parameters():  # zero-initialised layers hide their inputs
        torch.nn.init.normal_(parameter, std=0.05)
    x, c = _batch(3, 1), torch.zeros(1, TINY.latent)
    with torch.no_grad():
        base = auto.decoder(x, torch.tensor([10]), c)
        assert not torch.allclose(base, auto.decoder(x, torch.tensor([40]), c))
        assert not torch.allclose(base, auto.decoder(x, torch.tensor([10]), c + 1.0))


def test_every_parameter_learns_from_the_loss() -> None:
    auto = _autoencoder()
    for parameter in auto.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    auto.loss(_batch(1), torch.tensor([5, 30]), _batch(2)).backward()
    idle = [name for name, p in auto.named_parameters() if p.grad is None]
    assert idle == []


def test_size_of_the_full_configuration() -> None:
    with torch.device("meta"):
        decoder = PaperUNet(PaperUNetConfig())
        encoder = SemanticEncoder(PaperUNetConfig())
    sizes = [sum(p.numel() for p in net.parameters()) for net in (decoder, encoder)]
    assert sizes == [138_341_891, 58_189_312]
    with torch.device("meta"):
        epsilon = decoder(
            torch.empty(1, 3, 256, 256), torch.empty(1, dtype=torch.long), torch.empty(1, 512)
        )
        c = encoder(torch.empty(1, 3, 256, 256))
    assert epsilon.shape == (1, 3, 256, 256)
    assert c.shape == (1, 512)


def test_the_exported_teacher_predicts_the_image_and_samples_as_torch_does(tmp_path: Path) -> None:
    auto = _autoencoder().eval()
    for parameter in auto.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    c, x, t = torch.randn(1, TINY.latent), _batch(3, 1), torch.tensor([49])
    with torch.no_grad():
        clean = auto.clean_image()(x, t, c)
        assert isinstance(auto.clean_image(), CleanImage)
        assert torch.allclose(clean, auto.denoiser(c)(x, t), atol=1e-4)
        truth = auto.decode(c, steps=5)
    assert float(clean.abs().max()) == 1.0 and float(clean.abs().min()) < 0.9
    path = tmp_path / "teacher.onnx"
    export_onnx(auto.clean_image(), {"x_t": x, "t": t, "latent": c}, ["x0"], path, "float32",
                batch=True)  # fmt: skip
    session = ort.InferenceSession(str(path))
    latent = c.numpy()
    sampled = ddim_sample(
        lambda x_t, step: session.run(None, {"x_t": x_t, "t": step, "latent": latent})[0],
        auto.x_T.numpy(), 5, 50,
    )  # fmt: skip
    np.testing.assert_allclose(sampled, truth.numpy(), atol=5e-3)


@pytest.mark.slow
def test_one_training_step_of_the_full_size() -> None:
    """One picture of 256x256 through 197 million parameters: 4.2 GB, 18 s of one core."""
    torch.manual_seed(0)
    auto = PaperAutoencoder(PaperUNetConfig())
    before = auto.decoder.head.weight.detach().clone()
    optimizer = torch.optim.Adam(auto.parameters(), lr=1e-4)
    image, noise = torch.rand(1, 3, 256, 256) * 2 - 1, torch.randn(1, 3, 256, 256)
    with torch.autocast("cpu", torch.bfloat16):
        loss = auto.loss(image, torch.tensor([500]), noise)
    loss.backward()
    optimizer.step()
    # The last layer starts at zero: the first loss is the mean of |noise|, sqrt(2 / pi).
    assert loss.item() == pytest.approx(0.798, abs=0.01)
    moved = (auto.decoder.head.weight - before).abs().max().item()
    assert moved == pytest.approx(1e-4, rel=0.05)


@pytest.mark.parametrize(
    ("options", "word"),
    [({"base": 48}, "base"), ({"size": 200}, "size")],
)
def test_impossible_shapes_are_refused(options: dict[str, int], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        PaperUNetConfig(**options)  # type: ignore[arg-type]
