"""DDIM sampling on arrays, for exported networks; the same numbers as `diffusion.ddim_sample`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def linear_alpha_bar(
    steps: int = 1000, start: float = 1e-4, end: float = 0.02
) -> NDArray[np.float64]:
    """Cumulative signal levels of the linear schedule (section 4.1.2), ``[steps]``."""
    betas = np.linspace(start, end, steps, dtype=np.float64)
    return np.cumprod(1.0 - betas, dtype=np.float64)


def ddim_sample(
    run: Callable[[Array, NDArray[np.int64]], Array],
    x_T: Array,
    steps: int = 100,
    diffusion_steps: int = 1000,
) -> Array:
    """Integrate eq. 4 (sigma = 0) from ``x_T`` with an x_0-predicting network.

    Args:
        run: ``(x_t [B, 3, S, S], t [B]) -> x_0``; the result is clipped to [-1, 1].
        x_T: ``[B, 3, S, S]`` shared starting noise.
        steps: evaluations, from 1 to ``diffusion_steps``.

    Returns:
        ``[B, 3, S, S]`` float32 in [-1, 1].

    Raises:
        ValueError: if ``steps`` is out of range.
    """
    if not 1 <= steps <= diffusion_steps:
        raise ValueError(f"steps must be between 1 and {diffusion_steps}, got {steps}")
    alpha_bar = linear_alpha_bar(diffusion_steps)
    last = diffusion_steps - 1
    path = [round(last * (steps - 1 - i) / max(1, steps - 1)) for i in range(steps)]
    if steps == 1:
        path = [last]
    x = x_T
    x0 = x
    for now, after in zip(path, [*path[1:], -1], strict=True):
        x0 = np.clip(run(x, np.full(x.shape[0], now, np.int64)), -1.0, 1.0)
        if after < 0:
            break
        a, b = alpha_bar[now], alpha_bar[after]
        epsilon = (x - np.sqrt(a) * x0) / np.sqrt(1.0 - a)
        x = (np.sqrt(b) * x0 + np.sqrt(1.0 - b) * epsilon).astype(np.float32)
    return x0
