"""The distilled decoder: the U-Net at the shared x_T and t = T, folded to one evaluation of c.

x_T is the same for every frame, so c -> x_0 (eq. 6) is one deterministic function.  The U-Net's
downward half does not see c; at x_T it is a set of constants, which become parameters here.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from daetalker.models.autoencoder import DiffusionAutoencoder
from daetalker.models.blocks import timestep_embedding
from daetalker.models.unet import UNetConfig, UpHalf


class Student(nn.Module):
    """One evaluation: ``[B, D]`` to ``[B, 3, S, S]`` in about [-1, 1]."""

    def __init__(self, cfg: UNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.up = UpHalf(cfg)
        self.time = nn.Parameter(torch.zeros(1, cfg.embedding))
        side = cfg.size // cfg.patch
        self.skips = nn.ParameterList(
            torch.zeros(1, width, side >> i, side >> i) for i, width in enumerate(cfg.widths)
        )

    @classmethod
    @torch.no_grad()
    def fold(cls, auto: DiffusionAutoencoder) -> Student:
        """A student that computes exactly ``auto.first_step``; trainable even if ``auto`` rests."""
        unet = auto.decoder
        student = cls(unet.cfg).to(auto.x_T.device)
        student.up = copy.deepcopy(unet.up).requires_grad_(True)
        t = torch.full((1,), auto.schedule.steps - 1, dtype=torch.long, device=auto.x_T.device)
        student.time.copy_(unet.time(timestep_embedding(t, 128)))
        for mine, constant in zip(student.skips, unet.down(auto.x_T, t), strict=True):
            mine.copy_(constant)
        return student

    def forward(self, c: Tensor) -> Tensor:
        image: Tensor = self.up(list(self.skips), c, self.time)
        return image


class FrameDecoder(nn.Module):
    """The student with the conversion to displayable frames, for export."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, latent: Tensor) -> Tensor:
        """``[B, D]`` to ``[B, S, S, 3]`` uint8 RGB."""
        image = self.student(latent)
        levels = ((image + 1.0) * 127.5).clamp(0.0, 255.0).round()
        return levels.permute(0, 2, 3, 1).to(torch.uint8)
