"""Image metrics against arithmetic, a direct reference and plain expectations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from daetalker.models.training.metrics import Lpips, psnr_db, ssim

WEIGHTS = Path(__file__).parents[3] / "shared/weights/lpips/lpips_alex_v0.1.safetensors"


def _image(seed: int, side: int = 20) -> Tensor:
    return torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def _soft(image: Tensor, side: int) -> Tensor:
    """The image after a box blur of odd width ``side``."""
    pad = side // 2
    return F.avg_pool2d(F.pad(image, (pad, pad, pad, pad), mode="reflect"), side, 1)


def _ssim_by_definition(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Wang et al. 2004, eq. 13, window by window on ``[3, H, W]``."""
    x = np.arange(11) - 5
    window = np.exp(-(x[:, None] ** 2 + x[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 2.0) ** 2, (0.03 * 2.0) ** 2
    scores = []
    for channel in range(a.shape[0]):
        for top in range(a.shape[1] - 10):
            for left in range(a.shape[2] - 10):
                p = a[channel, top : top + 11, left : left + 11]
                q = b[channel, top : top + 11, left : left + 11]
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
                cov = (window * (p - mp) * (q - mq)).sum()
                scores.append(
                    (2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
                )
    return float(np.mean(scores))


@pytest.mark.parametrize(("error", "expected"), [(0.02, 40.0), (0.2, 20.0), (2.0, 0.0)])
def test_psnr_is_the_arithmetic_of_a_peak_to_peak_of_two(error: float, expected: float) -> None:
    black = torch.full((2, 3, 4, 4), -1.0)
    assert psnr_db(black, black + error).tolist() == pytest.approx([expected] * 2, abs=1e-3)


def test_psnr_of_8_bit_levels_matches_the_usual_formula() -> None:
    levels = torch.arange(48).view(1, 3, 4, 4).float()
    moved = levels + 3
    expected = 20 * np.log10(255 / 3)
    unit = [x / 127.5 - 1 for x in (levels, moved)]
    assert float(psnr_db(*unit)) == pytest.approx(expected, abs=1e-3)


def test_ssim_is_the_definition() -> None:
    a = _image(0)
    b = 0.7 * a + 0.3 * _image(1) + 0.1
    expected = _ssim_by_definition(a[0].double().numpy(), b[0].double().numpy())
    assert float(ssim(a, b)) == pytest.approx(expected, abs=1e-5)
    assert float(ssim(a, a)) == pytest.approx(1.0, abs=1e-6)


def test_each_image_of_a_batch_is_scored_by_itself() -> None:
    a, b = torch.cat([_image(0), _image(1)]), torch.cat([_image(2), _image(1)])
    assert float(ssim(a, b)[0]) == pytest.approx(float(ssim(_image(0), _image(2))), abs=1e-6)
    assert float(ssim(a, b)[1]) == pytest.approx(1.0, abs=1e-6)
    assert psnr_db(a, b)[0] < 20 < psnr_db(a, b)[1]


def _check_lpips(lpips: Lpips) -> None:
    smooth = F.interpolate(_image(3, 12), size=64, mode="bilinear")
    image = (smooth + 0.3 * _image(4, 64)).clamp(-1, 1)
    assert float(lpips(image, image)) == 0.0
    blurred = [float(lpips(_soft(image, side), image)) for side in (3, 5, 9)]
    assert 0 < blurred[0] < blurred[1] < blurred[2]
    both = lpips(torch.cat([image, _soft(image, 3)]), torch.cat([image, image]))
    assert both.tolist() == pytest.approx([0.0, blurred[0]], abs=1e-6)


def test_lpips_with_the_published_weights_grows_with_blur() -> None:
    if not WEIGHTS.is_file():
        pytest.skip(f"no LPIPS weights at {WEIGHTS}")
    _check_lpips(Lpips(WEIGHTS))


def test_lpips_runs_on_any_weights_of_its_shape(tmp_path: Path) -> None:
    shapes = {
        0: (64, 3, 11),
        3: (192, 64, 5),
        6: (384, 192, 3),
        8: (256, 384, 3),
        10: (256, 256, 3),
    }
    generator = torch.Generator().manual_seed(0)
    state = {}
    for head, (layer, (out, into, side)) in enumerate(shapes.items()):
        scale = (2 / (into * side * side)) ** 0.5
        weight = torch.randn((out, into, side, side), generator=generator) * scale
        state[f"features.{layer}.weight"] = weight
        state[f"features.{layer}.bias"] = torch.zeros(out)
        state[f"lin{head}.model.1.weight"] = torch.full((1, out, 1, 1), 0.1)
    path = tmp_path / "lpips.safetensors"
    save_file(state, path)
    lpips = Lpips(path)
    image = _image(5, 64)
    assert float(lpips(image, image)) == 0.0
    assert float(lpips(_soft(image, 3), image)) > 0


def test_missing_lpips_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        Lpips(tmp_path / "nowhere.safetensors")
