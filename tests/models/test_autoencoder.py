"""The embedded autoencoder, its student and their export."""

import copy
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
ort = pytest.importorskip("onnxruntime")

from torch import Tensor  # noqa: E402

from daetalker.models.autoencoder import (  # noqa: E402
    AutoencoderConfig,
    DiffusionAutoencoder,
    shared_noise,
)
from daetalker.models.ddim_numpy import ddim_sample as ddim_numpy  # noqa: E402
from daetalker.models.diffusion import ddim_sample, linear_schedule  # noqa: E402
from daetalker.models.encoder import ImageEncoder  # noqa: E402
from daetalker.models.student import FrameDecoder, Student  # noqa: E402
from daetalker.models.training.export import Storage, export_onnx  # noqa: E402
from daetalker.models.unet import UNetConfig  # noqa: E402

SMALL = AutoencoderConfig(
    UNetConfig(size=128, patch=4, widths=(8, 16, 16), up_blocks=(1, 1, 1), latent=32, embedding=16),
    encoder_widths=(8, 8, 16, 16),
)


@pytest.fixture
def auto() -> DiffusionAutoencoder:
    torch.manual_seed(0)
    model = DiffusionAutoencoder(SMALL).eval()
    for parameter in model.parameters():  # zero-started layers would hide mistakes
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_shapes_and_the_scale_of_the_latent(auto: DiffusionAutoencoder) -> None:
    image = torch.rand(3, 3, 128, 128) * 2 - 1
    c = auto.encoder(image)
    assert c.shape == (3, 32)
    assert torch.allclose(c.mean(1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(c.var(1, unbiased=False), torch.ones(3), atol=0.02)
    assert auto.decode(c, steps=3).shape == image.shape


def test_shared_noise_is_fixed_by_its_seed() -> None:
    assert torch.equal(shared_noise(1, 8), shared_noise(1, 8))
    assert not torch.equal(shared_noise(1, 8), shared_noise(2, 8))


def test_every_frame_starts_from_the_same_noise(auto: DiffusionAutoencoder) -> None:
    """Equal latents give equal frames, a small change of c a small change of the frame (eq. 7)."""
    c = torch.randn(1, 32)
    a, b = auto.decode(c, 4), auto.decode(c, 4)
    near = auto.decode(c + 1e-3 * torch.randn_like(c), 4)
    far = auto.decode(c + torch.randn_like(c), 4)
    assert torch.equal(a, b)
    assert 0 < (near - a).abs().mean() < 0.05 * (far - a).abs().mean()


def test_x_T_may_be_given_once_for_a_batch(auto: DiffusionAutoencoder) -> None:
    c = torch.randn(4, 32)
    t = torch.full((4,), 999)
    whole = auto.decoder(auto.x_T.expand(4, -1, -1, -1), t, c)
    assert torch.allclose(auto.first_step(c), whole, atol=1e-5)


def test_the_folded_student_is_the_first_step(auto: DiffusionAutoencoder) -> None:
    c = torch.randn(2, 32)
    assert torch.allclose(Student.fold(auto)(c), auto.first_step(c), atol=1e-6)


def test_a_student_of_a_resting_teacher_learns(auto: DiffusionAutoencoder) -> None:
    resting = copy.deepcopy(auto).requires_grad_(False)
    student = Student.fold(resting)
    student(torch.randn(2, 32)).square().mean().backward()
    idle = [n for n, p in student.named_parameters() if p.grad is None]
    assert not idle
    assert all(p.grad is None for p in resting.parameters())


def test_the_encoder_needs_whole_cells() -> None:
    with pytest.raises(ValueError, match="multiple of 128"):
        ImageEncoder(size=200)


@pytest.mark.parametrize(("storage", "levels"), [("float32", 1), ("float16", 2), ("int8", 40)])
def test_exported_frames_match(
    auto: DiffusionAutoencoder, tmp_path: Path, storage: Storage, levels: int
) -> None:
    frames = FrameDecoder(Student.fold(auto)).eval()
    c = torch.randn(2, 32)
    path = tmp_path / "student.onnx"
    export_onnx(frames, {"latent": c[:1]}, ["frame"], path, storage, batch=True)
    (out,) = ort.InferenceSession(str(path)).run(None, {"latent": c.numpy()})
    assert out.dtype == np.uint8 and out.shape == (2, 128, 128, 3)
    assert np.abs(out.astype(int) - frames(c).numpy().astype(int)).max() <= levels


def test_int8_storage_is_a_quarter_of_the_size(tmp_path: Path) -> None:
    image = {"image": torch.zeros(1, 3, 128, 128)}
    for storage in ("float32", "int8"):
        export_onnx(ImageEncoder(128), image, ["latent"], tmp_path / f"{storage}.onnx", storage)
    sizes = [(tmp_path / f"{s}.onnx").stat().st_size for s in ("int8", "float32")]
    assert sizes[0] < 0.26 * sizes[1]


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_ddim_on_arrays_equals_ddim_on_tensors(steps: int) -> None:
    weight = torch.randn(3, 3) * 0.3
    x_T = torch.randn(1, 3, 8, 8)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        mixed = torch.einsum("ij,bjhw->bihw", weight, x)
        image: Tensor = (mixed + t.view(-1, 1, 1, 1) / 1000).clamp(-1, 1)
        return image

    expected = ddim_sample(linear_schedule(), denoise, x_T, steps)
    out = ddim_numpy(
        lambda x, t: denoise(torch.from_numpy(x), torch.from_numpy(t)).numpy(), x_T.numpy(), steps
    )
    np.testing.assert_allclose(out, expected.numpy(), atol=2e-4)


def test_ddim_refuses_a_bad_number_of_steps() -> None:
    with pytest.raises(ValueError, match="between 1 and 1000"):
        ddim_numpy(lambda x, t: x, np.zeros((1, 3, 4, 4), np.float32), 0)
