"""The networks of the `paper` autoencoder: DiffAE's U-Net and semantic encoder (section 4.1.2).

Residual blocks with group norm, attention on the 16x16 grid, and the adaptive group norm
``AdaGN(h, t, c) = c_s (t_s GroupNorm(h) + t_b)`` that both the step and the latent modulate
(Preechakul et al. 2022, eq. 7; scales are learned as ``1 + s``).  The decoder predicts the noise.

Shapes: B batch, C channels, H height, W width, S image side, D latent, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from daetalker.models.blocks import timestep_embedding

GROUPS = 32


@dataclass(frozen=True)
class PaperUNetConfig:
    """Shape of the `paper` autoencoder; the defaults are DiffAE's for 256x256.

    Attributes:
        size: image side in pixels.
        base: channels at multiplier 1; a multiple of 32, for group norm.
        multipliers: channels of the U-Net's grids over ``base``, each grid half the one before.
        encoder_multipliers: the same for the semantic encoder, which goes one grid further down.
        attention: grids, in cells a side, whose blocks are followed by self-attention.
        blocks: residual blocks on each grid of the downward half; one more on the way up.
        latent: width D of c.
        embedding: width E of the embedding of t.
        dropout: probability inside every residual block.
    """

    size: int = 256
    base: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4, 4)
    encoder_multipliers: tuple[int, ...] = (1, 1, 2, 2, 4, 4, 4)
    attention: tuple[int, ...] = (16,)
    blocks: int = 2
    latent: int = 512
    embedding: int = 512
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.base % GROUPS:
            raise ValueError(f"base must be a multiple of {GROUPS}, got {self.base}")
        depth = max(len(self.multipliers), len(self.encoder_multipliers)) - 1
        if self.size % 2**depth:
            raise ValueError(f"size must be a multiple of {2**depth}, got {self.size}")


class AdaptiveBlock(nn.Module):
    """Residual block; AdaGN where it is given embeddings, plain group norm where not.

    Args:
        out: channels after the block.
        step: width of the embedding of t, or 0 for the semantic encoder's blocks.
        latent: width of c, or 0.
        resample: -1 halves the grid, 1 doubles it, 0 keeps it.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        dropout: float,
        step: int = 0,
        latent: int = 0,
        resample: int = 0,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm1 = nn.GroupNorm(GROUPS, channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, out)
        self.by_step = nn.Linear(step, 2 * out) if step else None
        self.by_latent = nn.Linear(latent, out) if latent else None
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        self.skip = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample < 0:
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.resample else x

    def forward(self, x: Tensor, e: Tensor | None = None, c: Tensor | None = None) -> Tensor:
        """``[B, C, H, W]`` (with e ``[B, E]``, c ``[B, D]``) to ``[B, out, H', W']``."""
        h = self.conv1(self._resampled(F.silu(self.norm1(x))))
        h = self.norm2(h)
        if self.by_step is not None and e is not None:
            scale, shift = self.by_step(F.silu(e))[:, :, None, None].chunk(2, dim=1)
            h = h * (1.0 + scale) + shift
        if self.by_latent is not None and c is not None:
            h = h * (1.0 + self.by_latent(F.silu(c))[:, :, None, None])
        skip: Tensor = self.skip(self._resampled(x))
        return skip + self.conv2(self.dropout(F.silu(h)))


class Attention(nn.Module):
    """Self-attention with one head over the cells of a grid, residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        return x + self.out(h)


class Stage(nn.Module):
    """One step of a U-Net half: a residual block, then attention where the grid asks for it."""

    def __init__(self, block: AdaptiveBlock, attention: Attention | None = None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, e: Tensor | None = None, c: Tensor | None = None) -> Tensor:
        h: Tensor = self.block(x, e, c)
        return h if self.attention is None else self.attention(h)


def _stage(
    cfg: PaperUNetConfig, channels: int, out: int, grid: int, step: int, latent: int
) -> Stage:
    block = AdaptiveBlock(channels, out, cfg.dropout, step, latent)
    return Stage(block, Attention(out) if grid in cfg.attention else None)


class Middle(nn.Module):
    """Residual block, attention and residual block on the coarsest grid."""

    def __init__(self, channels: int, dropout: float, step: int = 0, latent: int = 0) -> None:
        super().__init__()
        self.before = AdaptiveBlock(channels, channels, dropout, step, latent)
        self.attention = Attention(channels)
        self.after = AdaptiveBlock(channels, channels, dropout, step, latent)

    def forward(self, x: Tensor, e: Tensor | None = None, c: Tensor | None = None) -> Tensor:
        h: Tensor = self.after(self.attention(self.before(x, e, c)), e, c)
        return h


class SemanticEncoder(nn.Module):
    """Half a U-Net without the step, pooled to the latent: ``[B, 3, S, S]`` to c ``[B, D]``."""

    def __init__(self, cfg: PaperUNetConfig) -> None:
        super().__init__()
        widths = [cfg.base * m for m in cfg.encoder_multipliers]
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        channels, grid = widths[0], cfg.size
        for level, width in enumerate(widths):
            for _ in range(cfg.blocks):
                layers.append(_stage(cfg, channels, width, grid, 0, 0))
                channels = width
            if level + 1 < len(widths):
                layers.append(Stage(AdaptiveBlock(channels, channels, cfg.dropout, resample=-1)))
                grid //= 2
        self.layers = nn.Sequential(*layers)
        self.middle = Middle(channels, cfg.dropout)
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.out = nn.Linear(channels, cfg.latent)

    def forward(self, image: Tensor) -> Tensor:
        h = F.silu(self.norm(self.middle(self.layers(self.stem(image)))))
        c: Tensor = self.out(h.mean(dim=(2, 3)))
        return c


class PaperUNet(nn.Module):
    """Noise-predicting decoder ``(x_t, t, c) -> epsilon`` with concatenated skips."""

    def __init__(self, cfg: PaperUNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        e, d = cfg.embedding, cfg.latent
        widths = [cfg.base * m for m in cfg.multipliers]
        self.time = nn.Sequential(nn.Linear(cfg.base, e), nn.SiLU(), nn.Linear(e, e))
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        channels, grid, skips = widths[0], cfg.size, [widths[0]]
        for level, width in enumerate(widths):
            for _ in range(cfg.blocks):
                self.down.append(_stage(cfg, channels, width, grid, e, d))
                channels = width
                skips.append(channels)
            if level + 1 < len(widths):
                halve = AdaptiveBlock(channels, channels, cfg.dropout, e, d, resample=-1)
                self.down.append(Stage(halve))
                skips.append(channels)
                grid //= 2
        self.middle = Middle(channels, cfg.dropout, e, d)
        self.up = nn.ModuleList()
        self.grow = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(cfg.blocks + 1):
                self.up.append(_stage(cfg, channels + skips.pop(), width, grid, e, d))
                channels = width
            if level:
                self.grow.append(AdaptiveBlock(channels, channels, cfg.dropout, e, d, resample=1))
                grid *= 2
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.head = nn.Conv2d(channels, 3, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """``[B, 3, S, S]``, ``[B]`` integer steps, ``[B, D]`` to the noise ``[B, 3, S, S]``."""
        e = self.time(timestep_embedding(t, self.cfg.base))
        h = self.stem(x_t)
        skips = [h]
        for stage in self.down:
            h = stage(h, e, c)
            skips.append(h)
        h = self.middle(h, e, c)
        per_grid = self.cfg.blocks + 1
        for i, stage in enumerate(self.up):
            h = stage(torch.cat([h, skips.pop()], dim=1), e, c)
            if i % per_grid == per_grid - 1 and i + 1 < len(self.up):
                h = self.grow[i // per_grid](h, e, c)
        epsilon: Tensor = self.head(F.silu(self.norm(h)))
        return epsilon
