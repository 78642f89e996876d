"""The image encoder of the `embedded` autoencoder: one frame to the 512-d latent c."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from daetalker.models.blocks import Down, ResBlock


class ImageEncoder(nn.Module):
    """Patchified convolutional encoder (section 3.1).

    The image is averaged down to 128x128 first, because c describes pose, lips and eyes and the
    decoder knows the person.  The latent leaves through a layer norm without parameters, so its
    scale cannot drift while the decoder trains on noisy and predicted latents.

    Args:
        size: side of the square input in pixels, a multiple of 128.
        latent: width D of c.
        widths: channels on the 32, 16, 8 and 4 cell grids.
    """

    def __init__(
        self, size: int = 256, latent: int = 512, widths: tuple[int, ...] = (96, 128, 192, 192)
    ) -> None:
        super().__init__()
        if size % 128:
            raise ValueError(f"the embedded encoder needs a multiple of 128 pixels, got {size}")
        self.shrink = size // 128
        w0, w1, w2, w3 = widths
        self.stem = nn.Conv2d(48, w0, 3, padding=1)
        self.stages = nn.Sequential(
            ResBlock(w0), Down(w0, w1), ResBlock(w1), Down(w1, w2), ResBlock(w2), Down(w2, w3)
        )
        self.out = nn.Linear(w3 * 16, latent)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, 3, S, S]`` in [-1, 1] to ``[B, D]`` with zero mean and unit variance over D."""
        if self.shrink > 1:
            image = F.avg_pool2d(image, self.shrink)
        h = self.stages(self.stem(F.pixel_unshuffle(image, 4)))
        c = self.out(torch.flatten(F.relu(h), 1))
        return F.layer_norm(c.float(), (self.out.out_features,))
