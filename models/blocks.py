"""Building blocks of the `embedded` convolutional networks.

No normalisation layers: every convolution can be folded and quantised, and one evaluation on a
CPU stays a chain of dense 3x3 convolutions.  Shapes: B batch, C channels, H, W, E embedding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of integer steps ``[B]`` as ``[B, width]`` (Vaswani et al. 2017)."""
    half = width // 2
    exponents = torch.arange(half, device=t.device, dtype=torch.float32) / half
    angles = t.float()[:, None] * torch.exp(-math.log(10_000.0) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class ResBlock(nn.Module):
    """Two 3x3 convolutions with a feature-wise affine condition in between.

    ``x + conv2(relu(conv1(relu(x)) * (1 + scale) + shift))``; the second convolution starts at
    zero so that a deep stack begins as the identity.
    """

    def __init__(self, channels: int, embedding: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * channels) if embedding else None
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")
        nn.init.zeros_(self.conv1.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        if self.film is not None:
            nn.init.normal_(self.film.weight, std=0.5 / math.sqrt(embedding))
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = self.conv1(F.relu(x))
        if self.film is not None and embedding is not None:
            scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
            h = h * (1.0 + scale) + shift
        return x + self.conv2(F.relu(h))


class Down(nn.Module):
    """Halve the grid and change the width with one strided 3x3 convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(x))


class Up(nn.Module):
    """Change the width with a 1x1 convolution, then double the grid by repetition."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(x), scale_factor=2.0, mode="nearest")
