"""The `paper` diffusion autoencoder: noise prediction, L1, DDIM (section 3.1)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from daetalker.models.autoencoder import shared_noise
from daetalker.models.diffusion import (
    Denoiser,
    Schedule,
    add_noise,
    ddim_sample,
    from_epsilon,
    linear_schedule,
)
from daetalker.models.paper_unet import PaperUNet, PaperUNetConfig, SemanticEncoder


class CleanImage(nn.Module):
    """A noise-predicting decoder as ``(x_t, t, c) -> x_0``, clipped to the image range.

    A bundle's teacher predicts x_0 whatever the decoder was trained to predict; sampling from it
    in `ddim_numpy` then gives what :meth:`PaperAutoencoder.decode` gives.
    """

    signal: Tensor
    noise: Tensor

    def __init__(self, decoder: PaperUNet, schedule: Schedule) -> None:
        super().__init__()
        self.decoder = decoder
        self.register_buffer("signal", schedule.alpha_bar.sqrt().float())
        self.register_buffer("noise", (1.0 - schedule.alpha_bar).sqrt().float())

    def forward(self, x_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """``[B, 3, S, S]``, ``[B]``, ``[B, D]`` to ``[B, 3, S, S]`` in [-1, 1]."""
        signal, noise = self.signal[t].view(-1, 1, 1, 1), self.noise[t].view(-1, 1, 1, 1)
        return ((x_t - noise * self.decoder(x_t, t, c)) / signal).clamp(-1.0, 1.0)


class PaperAutoencoder(nn.Module):
    """Semantic encoder and noise-predicting decoder that share one schedule and one x_T.

    Args:
        diffusion_steps: N of the linear schedule.
        noise_seed: seed of the x_T that all frames share (section 3.3).
    """

    x_T: Tensor

    def __init__(
        self, cfg: PaperUNetConfig, diffusion_steps: int = 1000, noise_seed: int = 2304
    ) -> None:
        super().__init__()
        self.cfg = cfg
        self.schedule: Schedule = linear_schedule(diffusion_steps)
        self.encoder = SemanticEncoder(cfg)
        self.decoder = PaperUNet(cfg)
        self.register_buffer("x_T", shared_noise(noise_seed, cfg.size))

    @property
    def size(self) -> int:
        """Side of the image in pixels."""
        return self.cfg.size

    @property
    def latent(self) -> int:
        """Width D of c."""
        return self.cfg.latent

    def clean_image(self) -> nn.Module:
        """The decoder as ``(x_t, t, c) -> x_0``, for export."""
        return CleanImage(self.decoder, self.schedule)

    def loss(self, image: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """L1 distance between ``noise`` and its prediction, a scalar (section 4.1.2).

        Args:
            image: ``[B, 3, S, S]`` in [-1, 1].
            t: ``[B]`` steps from 0 to N - 1.
            noise: ``[B, 3, S, S]`` standard normal.
        """
        x_t = add_noise(self.schedule, image, t, noise)
        return F.l1_loss(self.decoder(x_t, t, self.encoder(image)), noise)

    def denoiser(self, c: Tensor) -> Denoiser:
        """The x_0-predicting denoiser of the latents ``c`` ``[B, D]``."""
        return from_epsilon(self.schedule, lambda x, t: self.decoder(x, t, c))

    def decode(self, c: Tensor, steps: int = 100, x_T: Tensor | None = None) -> Tensor:
        """DDIM from the shared x_T (eq. 4): ``[B, D]`` to ``[B, 3, S, S]`` in [-1, 1]."""
        start = (self.x_T if x_T is None else x_T).expand(c.shape[0], -1, -1, -1)
        return ddim_sample(self.schedule, self.denoiser(c), start, steps)
