"""The diffusion autoencoder: image encoder and DDIM decoder as one trainable module."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from daetalker.models.diffusion import Schedule, ddim_sample, linear_schedule
from daetalker.models.encoder import ImageEncoder
from daetalker.models.unet import UNet, UNetConfig


def shared_noise(seed: int, size: int) -> Tensor:
    """The shared x_T of section 3.3, fixed by seed: ``[1, 3, size, size]`` standard normal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, 3, size, size), generator=generator)


@dataclass(frozen=True)
class AutoencoderConfig:
    """Configuration of the `embedded` diffusion autoencoder."""

    unet: UNetConfig = field(default_factory=UNetConfig)
    encoder_widths: tuple[int, ...] = (96, 128, 192, 192)
    diffusion_steps: int = 1000
    noise_seed: int = 2304


class DiffusionAutoencoder(nn.Module):
    """Encoder to c and x_0-predicting decoder (section 3.1)."""

    x_T: Tensor

    def __init__(self, cfg: AutoencoderConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.schedule: Schedule = linear_schedule(cfg.diffusion_steps)
        self.encoder = ImageEncoder(cfg.unet.size, cfg.unet.latent, cfg.encoder_widths)
        self.decoder = UNet(cfg.unet)
        self.register_buffer("x_T", shared_noise(cfg.noise_seed, cfg.unet.size))

    @property
    def size(self) -> int:
        """Side of the image in pixels."""
        return self.cfg.unet.size

    @property
    def latent(self) -> int:
        """Width D of c."""
        return self.cfg.unet.latent

    def clean_image(self) -> nn.Module:
        """The decoder as ``(x_t, t, c) -> x_0``, for export."""
        return self.decoder

    def first_step(self, c: Tensor) -> Tensor:
        """x_0 as the decoder sees it from x_T at t = T: what the student starts from."""
        t = torch.full((1,), self.schedule.steps - 1, dtype=torch.long, device=c.device)
        image: Tensor = self.decoder(self.x_T, t, c)
        return image

    def decode(self, c: Tensor, steps: int = 100, x_T: Tensor | None = None) -> Tensor:
        """DDIM from the shared x_T (eq. 4): ``[B, D]`` to ``[B, 3, S, S]`` in [-1, 1]."""
        start = (self.x_T if x_T is None else x_T).expand(c.shape[0], -1, -1, -1)
        image = ddim_sample(
            self.schedule, lambda x, t: self.decoder(x, t, c).clamp(-1.0, 1.0), start, steps
        )
        return image.clamp(-1.0, 1.0)
