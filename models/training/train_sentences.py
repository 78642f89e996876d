"""Stage 2 of `paper`: speech2latent on pseudo-sentences (sections 3.2.4 and 4.1.2).

Each sample starts anywhere in the speech and is 5 to 20 s long; the front-end hears that piece and
nothing around it.  L = L_latent + alpha L_pose (eq. 5), both as mean squares over frames.  The
paper does not say in which units: here latents are standardised and angles count 20 degrees.
Sentences of a batch differ in length and go through the networks one by one, so nothing is padded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from daetalker.models.acoustic import FrontEnd
from daetalker.models.pose import POSE_SCALE_DEG
from daetalker.models.speech2latent import Speech2Latent
from daetalker.models.training.configs import PaperSpeech2LatentRecipe, PaperSpeech2LatentTraining
from daetalker.models.training.data import FPS, SAMPLES_PER_FRAME
from daetalker.models.training.loop import Loop, Run
from daetalker.models.training.team import autocast
from daetalker.models.training.train_paper import constant_rate
from daetalker.models.training.train_speech2latent import Material, control_of

MEASURE_EVERY = 500


def draw_sentences(
    rng: np.random.Generator, total: int, batch: int, training: PaperSpeech2LatentTraining
) -> NDArray[np.int64]:
    """First and last-plus-one frame of ``batch`` pseudo-sentences in ``total``, ``[batch, 2]``.

    A recording shorter than the sentence that was drawn is taken whole.
    """
    shortest, longest = (round(s * FPS) for s in (training.shortest_s, training.longest_s))
    length = np.minimum(rng.integers(shortest, longest + 1, batch), total)
    start = (rng.random(batch) * (total - length + 1)).astype(np.int64)
    return np.stack([start, start + length], 1)


def hear(front_end: FrontEnd, audio: NDArray[np.float32], start: int, stop: int) -> Tensor:
    """Features ``[1, 2 T, C]`` of the T frames from ``start``."""
    piece = audio[start * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME]
    missing = (stop - start) * SAMPLES_PER_FRAME - len(piece)
    return front_end(np.pad(piece, (0, missing))[None])


def train_sentences(
    material: Material, front_end: FrontEnd, run: Run, steps: int, recipe: PaperSpeech2LatentRecipe
) -> Path:
    """Make stage 2's ``steps`` (resuming what is in ``run``) and return the checkpoint.

    Args:
        material: its windows are not used.
        front_end: for speech of any length.
    """
    device, person, training = run.team.device, material.person, recipe.training
    latents = material.latents.to(device)
    control = torch.from_numpy(control_of(person)).to(device)
    run.rng("speech2latent")
    cfg = replace(recipe.network, features=front_end.width)
    model, shadow = Speech2Latent(cfg).to(device), Speech2Latent(cfg).to(device)
    model.latent_mean.copy_(latents.mean(0))
    model.latent_scale.copy_(latents.std(0) + 1e-6)
    optimizer = torch.optim.Adam(model.parameters())

    @torch.no_grad()
    def measure() -> dict[str, float]:
        shadow.load_state_dict(loop.ema.shadow)
        shadow.eval()
        piece = round(training.longest_s * FPS)
        found = {}
        for other in material.held_out:
            truth, given = other.latents, torch.from_numpy(control_of(other.person))
            errors = []
            for start in range(0, len(truth), piece):
                stop = min(start + piece, len(truth))
                features = hear(front_end, other.person.audio, start, stop).to(device)
                out = shadow(features, given[None, start:stop].to(device))[0][0].cpu()
                errors.append(((out - truth[start:stop]) / shadow.latent_scale.cpu()) ** 2)
            found[f"{other.name}_latent"] = float(torch.cat(errors).mean())
        return found

    loop = Loop(
        "speech2latent", run, model, optimizer, steps, training.rate, decay=training.ema,
        schedule=constant_rate, samples=training.batch, measure=measure,
        measure_every=MEASURE_EVERY,
    )  # fmt: skip
    batch = run.team.share(training.batch)
    for step in loop:
        model.train()
        sentences = draw_sentences(step.rng, len(latents), batch, training)
        weights = (sentences[:, 1] - sentences[:, 0]) / (sentences[:, 1] - sentences[:, 0]).sum()
        errors: list[Tensor] = []

        def parts(
            sentences: NDArray[np.int64] = sentences,
            weights: NDArray[np.float64] = weights,
            errors: list[Tensor] = errors,
        ) -> Iterator[Tensor]:
            for (start, stop), weight in zip(sentences, weights, strict=True):
                features = hear(front_end, person.audio, start, stop).to(device)
                truth, given = latents[None, start:stop], control[None, start:stop]
                with autocast(device):
                    out, pose = model(features, given)
                l_latent = (((out.float() - truth) / model.latent_scale) ** 2).mean()
                l_pose = (((pose.float() - given[..., :3]) / POSE_SCALE_DEG) ** 2).mean()
                errors.append(torch.stack([l_latent, l_pose]).detach() * float(weight))
                yield (l_latent + training.alpha * l_pose) * float(weight)

        loop.learn(parts())
        l_latent, l_pose = torch.stack(errors).sum(0)
        loop.log(latent=l_latent, pose=l_pose)
    return loop.path
