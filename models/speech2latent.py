"""Speech2latent: acoustic features and head control to latents (section 3.2).

Shapes: B batch, F feature frames, T = F / ratio video frames, D latent width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from daetalker.models.conformer import ConformerBlock
from daetalker.models.pose import PoseAdaptor, PosePredictor


@dataclass(frozen=True)
class Speech2LatentConfig:
    """Shape of the model; the defaults are the `embedded` configuration.

    Attributes:
        features: width of the acoustic features.
        ratio: feature frames a video frame, the stride of the first convolution.
        width, heads, kernel, expansion: of every Conformer block.
        encoder_blocks, decoder_blocks: Conformer blocks before and after the pose adaptor.
        pose_channels: channels of the pose predictor.
        closure: whether eye closure conditions the latents, too; the paper has the pose alone.
        pose_adaptor: False for the ablation of Figure 6: latents from speech alone.
    """

    features: int = 384
    ratio: int = 2
    latent: int = 512
    width: int = 192
    heads: int = 2
    kernel: int = 13
    expansion: int = 2
    encoder_blocks: int = 3
    decoder_blocks: int = 3
    pose_channels: int = 192
    dropout: float = 0.1
    closure: bool = True
    pose_adaptor: bool = True

    @classmethod
    def paper(cls, features: int = 1024) -> Speech2LatentConfig:
        """Section 4.1.2: 4 + 4 blocks, width 256, 2 heads, kernel 13, pose predictor 384."""
        return cls(
            features=features, width=256, expansion=4, encoder_blocks=4, decoder_blocks=4,
            pose_channels=384, closure=False,
        )  # fmt: skip


class Speech2Latent(nn.Module):
    """Convolution, speech encoder, pose predictor and adaptor, latent decoder, projection."""

    latent_mean: Tensor
    latent_scale: Tensor

    def __init__(self, cfg: Speech2LatentConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.norm = nn.LayerNorm(cfg.features)
        self.down = nn.Conv1d(cfg.features, cfg.width, 2 * cfg.ratio + 1, cfg.ratio, cfg.ratio)

        def blocks(count: int) -> nn.Sequential:
            return nn.Sequential(
                *(
                    ConformerBlock(cfg.width, cfg.heads, cfg.kernel, cfg.expansion, cfg.dropout)
                    for _ in range(count)
                )
            )

        self.encoder = blocks(cfg.encoder_blocks)
        self.pose_predictor: PosePredictor | None = None
        self.adaptor: PoseAdaptor | None = None
        if cfg.pose_adaptor:
            self.pose_predictor = PosePredictor(cfg.width, cfg.pose_channels, dropout=cfg.dropout)
            self.adaptor = PoseAdaptor(cfg.width, cfg.closure)
        self.decoder = blocks(cfg.decoder_blocks)
        self.out = nn.Linear(cfg.width, cfg.latent)
        self.register_buffer("latent_mean", torch.zeros(cfg.latent))
        self.register_buffer("latent_scale", torch.ones(cfg.latent))

    def listen(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, F, C]`` to the hidden speech ``[B, T, W]`` and predicted pose ``[B, T, 3]``.

        The pose is zero without a pose adaptor.
        """
        h = self.down(self.norm(features).transpose(1, 2)).transpose(1, 2)
        h = self.encoder(h)
        return h, h.new_zeros(*h.shape[:2], 3) if self.pose_predictor is None else (
            self.pose_predictor(h)
        )

    def speak(self, hidden: Tensor, control: Tensor) -> Tensor:
        """Hidden speech and control ``[B, T, 4]`` to latents ``[B, T, D]`` in c's own scale."""
        if self.adaptor is not None:
            hidden = self.adaptor(hidden, control)
        h = self.out(self.decoder(hidden))
        latents: Tensor = h * self.latent_scale + self.latent_mean
        return latents

    def forward(self, features: Tensor, control: Tensor) -> tuple[Tensor, Tensor]:
        """Latents and predicted pose; ``control`` is the true one in training (section 3.2.3)."""
        hidden, pose = self.listen(features)
        return self.speak(hidden, control), pose
