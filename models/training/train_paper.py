"""Stage 1 of `paper`: DiffAE on single frames, noise prediction, L1 (sections 3.1 and 4.1.2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from daetalker.models.paper_autoencoder import PaperAutoencoder
from daetalker.models.training.configs import PaperAutoencoderRecipe
from daetalker.models.training.data import Person
from daetalker.models.training.loop import Loop, Run, place
from daetalker.models.training.metrics import Lpips
from daetalker.models.training.store import load_state
from daetalker.models.training.team import autocast
from daetalker.models.training.train_autoencoder import likeness, spread_frames, to_images

# Sampling costs many evaluations an image, so few images are looked at, and seldom.
MEASURED_IMAGES = 8
MEASURED_STEPS = 20
MEASURE_EVERY = 2000


def constant_rate(step: int, steps: int) -> float:
    """The paper names one learning rate and no schedule."""
    return 1.0


def build_paper_autoencoder(recipe: PaperAutoencoderRecipe) -> PaperAutoencoder:
    """The networks of stage 1 with fresh weights."""
    return PaperAutoencoder(recipe.network, recipe.diffusion_steps, recipe.noise_seed)


def trained_paper_autoencoder(folder: Path, recipe: PaperAutoencoderRecipe) -> PaperAutoencoder:
    """Averaged weights of stage 1.

    Raises:
        DataError: if the stage has not run.
    """
    auto = build_paper_autoencoder(recipe)
    auto.load_state_dict(load_state(folder / "autoencoder.pt", "autoencoder")["ema"]["shadow"])
    return auto.eval().requires_grad_(False)


def train_paper_autoencoder(
    person: Person,
    held_out: Person | None,
    run: Run,
    steps: int,
    recipe: PaperAutoencoderRecipe,
    lpips: Lpips,
) -> Path:
    """Make stage 1's ``steps`` (resuming what is in ``run``) and return the checkpoint."""
    team, training = run.team, recipe.training
    device = team.device
    torch.set_flush_denormal(True)
    run.rng("autoencoder")  # the initial weights are random, too
    auto, shadow = (place(build_paper_autoencoder(recipe), device) for _ in range(2))
    lpips = place(lpips, device)
    optimizer = torch.optim.Adam(auto.parameters())
    test = None
    if held_out is not None:
        test = to_images(spread_frames(held_out.frames, MEASURED_IMAGES)).to(device)

    @torch.no_grad()
    def measure() -> dict[str, float]:
        if test is None:
            return {}
        shadow.load_state_dict(loop.ema.shadow)
        count = min(MEASURED_STEPS, recipe.sampling_steps)
        with autocast(device):
            out = shadow.eval().decode(shadow.encoder(test), count).float()
        loop.board.frames(f"truth, {count} steps", [test[:4], out[:4]], loop.step)
        return {f"ddim_{key}": value for key, value in likeness(out, test, lpips).items()}

    loop = Loop(
        "autoencoder", run, auto, optimizer, steps, training.rate, decay=training.ema,
        schedule=constant_rate, samples=training.batch, measure=measure,
        measure_every=MEASURE_EVERY,
    )  # fmt: skip
    batch = team.share(training.batch)
    part = training.part or batch
    for step in loop:
        auto.train()
        picks = step.rng.integers(0, len(person.frames), batch)
        image = to_images(person.frames[picks]).to(device)
        t = torch.randint(0, auto.schedule.steps, (batch,), device=device)
        noise = torch.randn_like(image)
        losses: list[Tensor] = []

        def parts(
            image: Tensor = image,
            t: Tensor = t,
            noise: Tensor = noise,
            losses: list[Tensor] = losses,
        ) -> Iterator[Tensor]:
            for few in torch.arange(batch, device=device).split(part):
                with autocast(device):
                    loss = auto.loss(image[few], t[few], noise[few]) * (len(few) / batch)
                losses.append(loss.detach())
                yield loss

        loop.learn(parts())
        loop.log(loss=torch.stack(losses).sum())
    return loop.path
