"""Image metrics: PSNR, SSIM and LPIPS.  Images are ``[B, 3, H, W]`` in [-1, 1]."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F


def psnr_db(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image, ``[B]`` in dB, peak to peak 2."""
    error = ((a - b) ** 2).flatten(1).mean(1).clamp_min(1e-12)
    return 10.0 * torch.log10(4.0 / error)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) of each image, ``[B]``: 11x11 Gaussian, sigma 1.5.

    Computed on each colour channel and averaged; valid windows only.
    """
    x = torch.arange(11, dtype=a.dtype, device=a.device) - 5
    g = torch.exp(-(x**2) / (2 * 1.5**2))
    g = g / g.sum()
    channels = a.shape[1]
    row = g.view(1, 1, 1, 11).expand(channels, 1, 1, 11)
    col = g.view(1, 1, 11, 1).expand(channels, 1, 11, 1)

    def blur(image: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(image, row, groups=channels), col, groups=channels)

    mu_a, mu_b = blur(a), blur(b)
    var_a = blur(a * a) - mu_a**2
    var_b = blur(b * b) - mu_b**2
    cov = blur(a * b) - mu_a * mu_b
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    score = ((2 * mu_a * mu_b + c1) * (2 * cov + c2)) / (
        (mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2)
    )
    return score.flatten(1).mean(1)


class Lpips(nn.Module):
    """LPIPS v0.1 on AlexNet (Zhang et al. 2018); lower is closer.

    Args:
        weights: safetensors with torchvision's AlexNet ``features.*`` and the heads ``lin0..4``.

    Raises:
        FileNotFoundError: if the weights are not there.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, weights: Path) -> None:
        super().__init__()
        if not weights.is_file():
            raise FileNotFoundError(f"LPIPS weights not found at {weights}")
        state = load_file(str(weights))
        specs = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1)]
        specs += [(384, 256, 3, 1, 1), (256, 256, 3, 1, 1)]
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, k, stride=s, padding=p) for i, o, k, s, p in specs
        )
        names = sorted({k.rsplit(".", 1)[0] for k in state if not k.startswith("lin")}, key=_number)
        for conv, name in zip(self.convs, names, strict=True):
            conv.load_state_dict(
                {"weight": state[f"{name}.weight"].float(), "bias": state[f"{name}.bias"].float()}
            )
        heads = sorted((k for k in state if k.startswith("lin")), key=_number)
        self.heads = [state[k].float().view(1, -1, 1, 1) for k in heads]
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Unit-length activations of the five stages."""
        h = (image - self.shift) / self.scale
        out = []
        for i, conv in enumerate(self.convs):
            if i in (1, 2):
                h = F.max_pool2d(h, 3, 2)
            h = F.relu(conv(h))
            wide = h.float()
            out.append(wide / (wide.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
        return out

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance of each pair, ``[B]``."""
        with torch.no_grad():
            target = self.features(b)
        total = torch.zeros(a.shape[0], device=a.device)
        for fa, fb, head in zip(self.features(a), target, self.heads, strict=True):
            total = total + ((fa - fb) ** 2 * head.to(fa)).sum(1).mean((1, 2))
        return total


def _number(name: str) -> int:
    return int("".join(ch for ch in name if ch.isdigit()) or 0)
