"""Pose modelling (section 3.2.3): a predictor from speech and an adaptor into the latent decoder.

The *control* of a frame is yaw, pitch, roll in degrees and eye closure (0 open, 1 shut).  Closure
is ours: blinks, like pose, cannot be heard, so they condition the latent instead of blurring it.
Shapes: B batch, T frames, C width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

POSE_SCALE_DEG = 20.0
CONTROLS = 4


class PosePredictor(nn.Module):
    """Two Conv1d + ReLU + layer norm + dropout, then a projection (section 4.1.2)."""

    def __init__(self, width: int, channels: int = 384, kernel: int = 3, dropout: float = 0.1):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(a, channels, kernel, padding=kernel // 2) for a in (width, channels)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(channels, 3)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[B, T, C]`` to ``[B, T, 3]`` in degrees."""
        h = hidden
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = self.dropout(norm(F.relu(conv(h.transpose(1, 2)).transpose(1, 2))))
        degrees: Tensor = self.out(h) * POSE_SCALE_DEG
        return degrees


class PoseAdaptor(nn.Module):
    """Project the control and add it to the speech encoder's output.

    Args:
        closure: whether eye closure is used; the paper conditions on the pose alone.
    """

    scale: Tensor

    def __init__(self, width: int, closure: bool = True) -> None:
        super().__init__()
        scale = torch.tensor([POSE_SCALE_DEG] * 3 + [1.0])[: CONTROLS if closure else CONTROLS - 1]
        inner = nn.Linear(len(scale), width)
        self.project = nn.Sequential(inner, nn.SiLU(), nn.Linear(width, width))
        self.register_buffer("scale", scale)

    def forward(self, hidden: Tensor, control: Tensor) -> Tensor:
        """``[B, T, C]`` and ``[B, T, 4]`` to ``[B, T, C]``."""
        used = control[..., : self.scale.shape[0]]
        out: Tensor = hidden + self.project(used / self.scale)
        return out
