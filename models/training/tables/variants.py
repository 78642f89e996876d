"""The teacher's DDIM on given latents, from the shared x_T or from new noise for every frame.

Section 3.3 of the paper: with one x_T the decoder is a function of c alone, so a smooth path of
latents gives a smooth video.  Its ablation draws x_T anew for each frame.  S pixels a side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.models.ddim_numpy import ddim_sample
from daetalker.models.training.reconstruct import Network

SEED = 23


@dataclass(frozen=True)
class Decoded:
    """A frame decoded once more; ``exact`` is the picture before rounding, levels of 255.

    Attributes:
        exact: ``[S, S, 3]`` float32.
    """

    index: int
    exact: NDArray[np.float32]
    latent: NDArray[np.float32]
    speaking: bool = True
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """``[S, S, 3]`` as it would be shown."""
        levels: NDArray[np.uint8] = np.rint(self.exact).clip(0, 255).astype(np.uint8)
        return levels


def decode(
    bundle: AvatarBundle,
    teacher: Network,
    latents: NDArray[np.float32],
    steps: int,
    *,
    shared: bool = True,
) -> Iterator[Decoded]:
    """Decode ``latents [N, D]`` in order, frame i from latent i.

    Args:
        teacher: the bundle's network of that name.
        steps: DDIM evaluations a frame.
        shared: False to start each frame from noise of its own (seeded, so that runs agree).
    """
    rng = np.random.default_rng(SEED)
    noise, size = bundle.noise(), bundle.manifest.size
    for index, latent in enumerate(latents):
        start = noise if shared else rng.standard_normal((1, 3, size, size)).astype(np.float32)

        def run(
            x_t: NDArray[np.float32],
            t: NDArray[np.int64],
            c: NDArray[np.float32] = latent[None],
        ) -> NDArray[np.float32]:
            x0: NDArray[np.float32] = teacher(x_t, t, c)
            return x0

        image = ddim_sample(run, start, steps, bundle.manifest.diffusion_steps)[0]
        exact = (image.transpose(1, 2, 0) + np.float32(1.0)) * np.float32(127.5)
        yield Decoded(index, exact, latent)
