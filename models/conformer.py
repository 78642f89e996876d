"""Conformer blocks (Gulati et al. 2020) with rotary positions.

Shapes: B batch, T frames, C width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def rotary(x: Tensor) -> Tensor:
    """Rotate pairs of channels by their position (Su et al. 2021): ``[B, H, T, C]``."""
    half = x.shape[-1] // 2
    rates = 10_000.0 ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)[:, None] * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class FeedForward(nn.Module):
    """Pre-norm feed-forward with SiLU; added at half weight (macaron)."""

    def __init__(self, width: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, expansion * width)
        self.outer = nn.Linear(expansion * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(F.silu(self.inner(self.norm(x))))
        out: Tensor = self.dropout(self.outer(h))
        return out


class Attention(nn.Module):
    """Multi-head self-attention over all frames of the window."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width {width} must be a multiple of twice the {heads} heads")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        batch, frames, width = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, frames, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        h = F.scaled_dot_product_attention(rotary(q), rotary(k), v)
        out: Tensor = self.dropout(self.out(h.transpose(1, 2).reshape(batch, frames, width)))
        return out


class Convolution(nn.Module):
    """Gated pointwise, depthwise over time, norm, SiLU, pointwise.

    Layer norm stands where the original has batch norm: windows of a live stream come one by one.
    """

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.inner_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        h = F.glu(self.gate(self.norm(x)), dim=-1)
        h = self.depthwise(h.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.dropout(self.out(F.silu(self.inner_norm(h))))
        return out


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(
        self, width: int, heads: int, kernel: int, expansion: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.first = FeedForward(width, expansion, dropout)
        self.attention = Attention(width, heads, dropout)
        self.convolution = Convolution(width, kernel, dropout)
        self.second = FeedForward(width, expansion, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.first(x)
        x = x + self.attention(x)
        x = x + self.convolution(x)
        x = x + 0.5 * self.second(x)
        out: Tensor = self.norm(x)
        return out
