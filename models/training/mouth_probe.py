"""A small network that reads the mouth's shape from c: a loss that sees the lips.

Shapes: T frames, D latent width.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from daetalker.models.training.data import MOUTH, Person, lip_opening
from daetalker.models.training.loop import Run
from daetalker.models.training.store import digest, load_state, save_state


def mouth_shape(person: Person) -> NDArray[np.float32]:
    """``[T, 41]``: mouth landmarks in the nose's frame (unit: nose length), and lip opening."""
    points = person.landmarks
    nose = points[:, 33] - points[:, 27]
    length = np.linalg.norm(nose, axis=-1, keepdims=True)
    up = nose / length
    across = np.stack([up[:, 1], -up[:, 0]], -1)
    offset = (points[:, MOUTH] - points[:, 33:34]) / length[:, None]
    local = np.stack(
        [(offset * across[:, None]).sum(-1), (offset * up[:, None]).sum(-1)], -1
    ).reshape(len(points), -1)
    return np.concatenate([local, lip_opening(points)[:, None]], 1).astype(np.float32)


class MouthProbe(nn.Module):
    """Reads the mouth's shape from c; trained first, then frozen as part of the loss."""

    def __init__(self, latent: int, outputs: int = 41) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(latent, 256), nn.SiLU(), nn.Linear(256, outputs))

    def forward(self, c: Tensor) -> Tensor:
        out: Tensor = self.layers(c)
        return out


def fit_probe(
    latents: Tensor, shape: Tensor, rng: torch.Generator, steps: int = 1500, noise: float = 0.1
) -> MouthProbe:
    """Fit the probe to standardised ``shape`` on noisy latents; both are on the CPU."""
    probe = MouthProbe(latents.shape[1], shape.shape[1])
    optimizer = torch.optim.Adam(probe.parameters(), 2e-3, weight_decay=1e-6)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        pick = torch.randint(0, len(latents), (256,), generator=rng)
        c = latents[pick]
        loss = F.mse_loss(probe(c + noise * torch.randn(c.shape, generator=rng)), shape[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return probe


def probe_of(run: Run, latents: Tensor, shape: Tensor) -> MouthProbe:
    """The probe of these very latents, from the run folder or fitted now."""
    probe = MouthProbe(latents.shape[1], shape.shape[1])
    path, of = run.folder / "probe.pt", digest(latents, shape)
    if run.rehearsal is None:
        if run.team.main and not (path.exists() and load_state(path, "").get("of") == of):
            run.rng("probe")
            rng = torch.Generator().manual_seed(run.seed)
            save_state(path, {"of": of, "probe": fit_probe(latents, shape, rng).state_dict()})
        run.team.wait()
        probe.load_state_dict(load_state(path, "speech2latent")["probe"])
    return probe.eval().requires_grad_(False)
