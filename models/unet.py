"""The `embedded` DDIM decoder: a patchified U-Net that predicts the clean image.

Its downward half sees (x_t, t) only; c enters in the upward half.  With x_T and t = T fixed, the
downward half is a constant, so the distilled decoder (`student.py`) is exactly this network's
upward half on learned constants: all of its work is spent on c.

Shapes: B batch, S image side, p patch, D latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from daetalker.models.blocks import Down, ResBlock, Up, timestep_embedding


@dataclass(frozen=True)
class UNetConfig:
    """Shape of the decoder.

    Attributes:
        size: image side in pixels.
        patch: pixels folded into one cell; the finest grid has ``size / patch`` cells a side.
        widths: channels from the finest grid to the coarsest, each grid half the one before.
        up_blocks: residual blocks on each grid of the upward half, same order.
        latent: width D of c.
        embedding: width of the joint embedding of t and c.
        seed_channels: channels that c paints directly onto the coarsest grid.
    """

    size: int = 256
    patch: int = 4
    widths: tuple[int, ...] = (48, 96, 192, 192)
    up_blocks: tuple[int, ...] = (2, 2, 2, 2)
    latent: int = 512
    embedding: int = 384
    seed_channels: int = 16

    @property
    def coarse(self) -> int:
        """Cells a side of the coarsest grid."""
        return self.size // self.patch // 2 ** (len(self.widths) - 1)


class DownHalf(nn.Module):
    """(x_t, t) to one skip tensor a grid, finest first."""

    def __init__(self, cfg: UNetConfig) -> None:
        super().__init__()
        self.patch = cfg.patch
        self.time = nn.Sequential(nn.Linear(128, cfg.embedding), nn.SiLU())
        self.stem = nn.Conv2d(3 * cfg.patch**2, cfg.widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(ResBlock(w, cfg.embedding) for w in cfg.widths)
        self.downs = nn.ModuleList(
            Down(a, b) for a, b in zip(cfg.widths, cfg.widths[1:], strict=False)
        )

    def forward(self, x_t: Tensor, t: Tensor) -> list[Tensor]:
        e = self.time(timestep_embedding(t, 128))
        h = self.stem(F.pixel_unshuffle(x_t, self.patch))
        skips = []
        for i, block in enumerate(self.blocks):
            h = block(h, e)
            skips.append(h)
            if i < len(self.downs):
                h = self.downs[i](h)
        return skips


class UpHalf(nn.Module):
    """Skips and the condition to the image; additive skips, pixel-shuffle last."""

    def __init__(self, cfg: UNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.condition = nn.Linear(cfg.latent, cfg.embedding)
        self.seed = nn.Linear(cfg.latent, cfg.seed_channels * cfg.coarse**2)
        self.spread = nn.Conv2d(cfg.seed_channels, cfg.widths[-1], 1)
        levels = list(range(len(cfg.widths)))[::-1]
        self.blocks = nn.ModuleList(
            nn.ModuleList(ResBlock(cfg.widths[i], cfg.embedding) for _ in range(cfg.up_blocks[i]))
            for i in levels
        )
        self.ups = nn.ModuleList(Up(cfg.widths[i], cfg.widths[i - 1]) for i in levels[:-1])
        self.head = nn.Conv2d(cfg.widths[0], 3 * cfg.patch**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.mean_image = nn.Parameter(torch.zeros(1, 3, cfg.size, cfg.size))

    def forward(self, skips: list[Tensor], c: Tensor, time: Tensor | None = None) -> Tensor:
        e = self.condition(c)
        e = F.silu(e if time is None else e + time)
        grid = self.cfg.coarse
        h = self.spread(self.seed(c).view(-1, self.cfg.seed_channels, grid, grid)) + skips[-1]
        h = h.contiguous(memory_format=torch.channels_last)
        for i, blocks in enumerate(self.blocks):
            if i:
                h = self.ups[i - 1](h) + skips[-1 - i]
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, e)
        return F.pixel_shuffle(self.head(F.relu(h)), self.cfg.patch) + self.mean_image


class UNet(nn.Module):
    """x_0-predicting decoder ``(x_t, t, c) -> x_0``; section 3.1 with the departures above."""

    def __init__(self, cfg: UNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.down = DownHalf(cfg)
        self.up = UpHalf(cfg)
        self.time = nn.Sequential(
            nn.Linear(128, cfg.embedding), nn.SiLU(), nn.Linear(cfg.embedding, cfg.embedding)
        )

    def forward(self, x_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """``[B, 3, S, S]``, ``[B]``, ``[B, D]`` to ``[B, 3, S, S]`` in about [-1, 1].

        ``x_t`` and ``t`` may have batch 1: the downward half then runs once for all of ``c``.
        """
        skips = self.down(x_t, t)
        return self.up(skips, c, self.time(timestep_embedding(t, 128)))
