"""Noise schedule and deterministic DDIM sampling as pure functions.

Shapes: B batch, C image channels, H height, W width.  Images are in [-1, 1].
A *denoiser* is any callable ``denoiser(x_t, t) -> x_0`` that maps ``[B, C, H, W]`` and integer
timesteps ``[B]`` to an estimate of the clean image; :func:`from_epsilon` adapts a network that
predicts the noise instead.  Randomness always arrives as an argument.

Source: Ho et al. 2020 (DDPM), Song et al. 2020 (DDIM); DAE-Talker eq. 1-4 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Schedule:
    """Cumulative signal levels of a diffusion process.

    Attributes:
        alpha_bar: ``[N]`` float64, the product of (1 - beta) up to each step; falls from near 1
            to near 0.  Written alpha_t in the paper's eq. 2-4.
    """

    alpha_bar: Tensor

    @property
    def steps(self) -> int:
        """Number of training steps N."""
        return int(self.alpha_bar.shape[0])


def linear_schedule(steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> Schedule:
    """The linear beta schedule (section 4.1.2).

    Raises:
        ValueError: if ``steps`` is not positive or the betas do not rise inside (0, 1).
    """
    if steps < 1 or not 0.0 < start <= end < 1.0:
        raise ValueError("linear_schedule needs steps >= 1 and 0 < start <= end < 1")
    betas = torch.linspace(start, end, steps, dtype=torch.float64)
    return Schedule(torch.cumprod(1.0 - betas, dim=0))


def _at(schedule: Schedule, t: Tensor, like: Tensor) -> Tensor:
    level = schedule.alpha_bar.to(like.device)[t].to(like.dtype)
    return level.view(-1, *([1] * (like.dim() - 1)))


def add_noise(schedule: Schedule, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Sample q(x_t | x_0) of eq. 2 with the given standard normal ``noise``."""
    a = _at(schedule, t, x0)
    return a.sqrt() * x0 + (1.0 - a).sqrt() * noise


def epsilon_from_x0(schedule: Schedule, x_t: Tensor, t: Tensor, x0: Tensor) -> Tensor:
    """The noise that takes ``x0`` to ``x_t`` at step ``t``."""
    a = _at(schedule, t, x_t)
    return (x_t - a.sqrt() * x0) / (1.0 - a).sqrt().clamp_min(1e-8)


def x0_from_epsilon(schedule: Schedule, x_t: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
    """The clean image that ``epsilon`` implies; the bracket of eq. 4."""
    a = _at(schedule, t, x_t)
    return (x_t - (1.0 - a).sqrt() * epsilon) / a.sqrt()


def from_epsilon(schedule: Schedule, network: Denoiser) -> Denoiser:
    """Adapt a noise-predicting network to the denoiser convention, clipped to the image range."""

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        return x0_from_epsilon(schedule, x_t, t, network(x_t, t)).clamp(-1.0, 1.0)

    return denoise


def timesteps(schedule: Schedule, count: int) -> list[int]:
    """``count`` steps from N - 1 down to 0, evenly spaced, first and last included.

    Raises:
        ValueError: unless 1 <= count <= N.
    """
    if not 1 <= count <= schedule.steps:
        raise ValueError(f"steps must be between 1 and {schedule.steps}, got {count}")
    if count == 1:
        return [schedule.steps - 1]
    last = schedule.steps - 1
    return [round(last * (count - 1 - i) / (count - 1)) for i in range(count)]


@torch.no_grad()
def ddim_sample(schedule: Schedule, denoiser: Denoiser, x_T: Tensor, steps: int = 100) -> Tensor:
    """Integrate eq. 4 (sigma = 0) from the shared noise ``x_T`` to the image.

    Args:
        x_T: ``[B, C, H, W]`` starting noise; pass the same one for every frame (eq. 6-7).
        steps: evaluations of the denoiser; the paper uses 100.

    Returns:
        ``[B, C, H, W]`` in about [-1, 1].
    """
    x, path = x_T, timesteps(schedule, steps)
    for now, after in zip(path, [*path[1:], -1], strict=True):
        t = torch.full((x.shape[0],), now, dtype=torch.long, device=x.device)
        x0 = denoiser(x, t)
        if after < 0:
            return x0
        epsilon = epsilon_from_x0(schedule, x, t, x0)
        x = add_noise(schedule, x0, torch.full_like(t, after), epsilon)
    return x


@torch.no_grad()
def ddim_invert(schedule: Schedule, denoiser: Denoiser, x0: Tensor, steps: int = 100) -> Tensor:
    """Run eq. 4 backwards: the noise from which :func:`ddim_sample` leads to ``x0``."""
    path = timesteps(schedule, max(2, steps))[::-1]
    x = x0
    for now, after in pairwise(path):
        t = torch.full((x.shape[0],), now, dtype=torch.long, device=x.device)
        estimate = denoiser(x, t)
        epsilon = epsilon_from_x0(schedule, x, t, estimate)
        x = add_noise(schedule, estimate, torch.full_like(t, after), epsilon)
    return x
