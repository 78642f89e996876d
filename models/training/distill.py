"""Stage 3: the student, from real frames and from the teacher's DDIM end points.

Three kinds of latents, because the student meets all of them in life: the encoder's (target: the
frame), those that speech2latent predicts with the true control (target: the frame, and the
teacher's end point), and interpolations between frames (target: the teacher's end point).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from daetalker.models.autoencoder import DiffusionAutoencoder
from daetalker.models.paper_autoencoder import PaperAutoencoder
from daetalker.models.speech2latent import Speech2Latent
from daetalker.models.student import Student
from daetalker.models.training.data import Person
from daetalker.models.training.features import WindowSet
from daetalker.models.training.loop import Loop, Run, place
from daetalker.models.training.metrics import Lpips, ssim
from daetalker.models.training.store import digest
from daetalker.models.training.team import autocast
from daetalker.models.training.train_autoencoder import (
    HELD_OUT_IMAGES,
    MEASURED_STEPS,
    AutoencoderTraining,
    ImageLoss,
    likeness,
    spread_frames,
    to_images,
)
from daetalker.models.training.train_speech2latent import Material, control_of, gather, where

TURNED_DEG = 10.0

Teacher = DiffusionAutoencoder | PaperAutoencoder


@dataclass(frozen=True)
class Distillation:
    """Hyper-parameters of stage 3.

    Attributes:
        real, predicted, teacher: samples of each kind in a step.
        ends: teacher end points computed beforehand, half interpolated, half predicted.
        steps: DDIM evaluations of each.
        ssim: weight of (1 - SSIM) in the loss.
        latent_noise: standard deviation of the noise added to c while training.
    """

    real: int = 14
    predicted: int = 8
    teacher: int = 2
    ends: int = 360
    steps: int = 20
    rate: float = 3e-4
    ssim: float = 0.4
    latent_noise: float = 0.03


def turned_odds(pose_deg: NDArray[np.float32]) -> NDArray[np.float64]:
    """Odds ``[T]`` of drawing each frame, summing to 1: turned heads are rare and blurriest."""
    odds = 1.0 + np.abs(pose_deg).sum(1, dtype=np.float64) / TURNED_DEG
    result: NDArray[np.float64] = odds / odds.sum()
    return result


@torch.no_grad()
def predict_latents(
    model: Speech2Latent,
    windows: Sequence[WindowSet],
    person: Person,
    run: Run,
    frames: int,
    hop: int,
    lookahead: int,
) -> tuple[Tensor, NDArray[np.int64]]:
    """Latents of the frames that windows emit, with true control: ``[M, D]`` and their numbers.

    They are computed once for one model and kept in the run's cache.
    """
    control, device = control_of(person), next(model.parameters()).device
    total = sum(len(w.ends) for w in windows)
    emitted = slice(frames - lookahead - hop, frames - lookahead)
    shape = (total, hop, model.cfg.latent)

    def rows(start: int, stop: int) -> NDArray[np.float32]:
        features, index, _ = gather(windows, np.arange(start, stop), frames)
        given = torch.from_numpy(control[index]).to(device)
        out: NDArray[np.float32] = model(features.to(device), given)[0][:, emitted].cpu().numpy()
        return out

    def progress(done: int, of: int) -> None:
        run.view.rows("predicted latents, window", done, of)

    name = f"predicted-{digest(model.state_dict(), str(shape))}"
    found = run.rows(name, shape, np.float32, rows, 64, progress)
    index, valid = where(windows, frames)
    keep, numbers = valid[:, emitted], index[:, emitted]
    return torch.from_numpy(found[keep]), numbers[keep]


@torch.no_grad()
def teacher_ends(auto: Teacher, latents: Tensor, steps: int, run: Run) -> Tensor:
    """DDIM end points from x_T, ``[K, 3, S, S]`` float16; computed once for these very latents."""
    size, device = auto.size, auto.x_T.device

    def rows(start: int, stop: int) -> NDArray[np.float16]:
        with autocast(device):
            out = auto.decode(latents[start:stop].to(device), steps)
        ends: NDArray[np.float16] = out.half().cpu().numpy()
        return ends

    def progress(done: int, of: int) -> None:
        run.view.rows("teacher's end points, frame", done, of)

    name = f"ends-{digest(auto.decoder.state_dict(), latents, str(steps))}"
    found = run.rows(name, (len(latents), 3, size, size), np.float16, rows, 12, progress)
    return torch.from_numpy(np.array(found))


def distill(
    material: Material,
    auto: Teacher,
    model: Speech2Latent,
    held_out: Person | None,
    run: Run,
    steps: int,
    training: Distillation,
    image: AutoencoderTraining,
    lpips: Lpips,
    frames: int = 50,
    hop: int = 4,
    lookahead: int = 3,
    start: Student | None = None,
) -> Path:
    """Make the student's ``steps`` (resuming what is in ``run``); return the checkpoint.

    Args:
        start: the student to begin with, if it is not the teacher folded.

    Raises:
        ValueError: if the teacher cannot be folded and no ``start`` is given.
    """
    torch.set_flush_denormal(True)
    team, person, latents = run.team, material.person, material.latents
    device, points = team.device, person.landmarks
    auto, model, lpips = auto.to(device), model.to(device).eval(), lpips.to(device)
    predicted, numbers = predict_latents(
        model, material.windows, person, run, frames, hop, lookahead
    )
    rng = run.rng("student")
    half = training.ends // 2
    a, b = rng.integers(0, len(latents), (2, half))
    mix = rng.random((half, 1)).astype(np.float32)
    share = torch.from_numpy(mix)
    picked = rng.integers(0, len(predicted), training.ends - half)
    asked = torch.cat([latents[a] * share + latents[b] * (1 - share), predicted[picked]])
    between = points[a] * mix[:, :, None] + points[b] * (1 - mix[:, :, None])
    asked_points = np.concatenate([between, points[numbers[picked]]])
    ends = teacher_ends(auto, asked, training.steps, run)
    if start is None:
        if not isinstance(auto, DiffusionAutoencoder):
            raise ValueError("only the embedded teacher folds into a student")
        start = Student.fold(auto)
    student = place(start, device)
    shadow = place(Student(student.cfg), device)
    optimizer = torch.optim.Adam(student.parameters(), betas=(0.9, 0.99))
    test = test_latents = slow = None
    if held_out is not None and run.rehearsal is None:
        test = to_images(spread_frames(held_out.frames, HELD_OUT_IMAGES)).to(device)
        with torch.no_grad(), autocast(device):
            test_latents = auto.encoder(test).float()
            pick = slice(None, None, max(1, len(test) // 4))
            slow = auto.decode(test_latents[pick], MEASURED_STEPS)

    @torch.no_grad()
    def measure() -> dict[str, float]:
        if test is None or test_latents is None or slow is None:
            return {}
        shadow.load_state_dict(loop.ema.shadow)
        with autocast(device):
            drawn = shadow(test_latents)
        drawn = drawn.float().clamp(-1, 1)
        rows = [test[pick], drawn[pick], slow]
        loop.board.frames("truth, student, teacher in ten steps", rows, loop.step)
        return likeness(drawn, test, lpips)

    loop = Loop(
        "student", run, student, optimizer, steps, training.rate,
        samples=training.real + training.predicted + training.teacher,
        measure=measure, measure_every=200,
    )  # fmt: skip
    image_loss = ImageLoss(image, auto.size, lpips)
    odds = turned_odds(person.pose_deg)
    for step in loop:
        rng = step.rng
        real = rng.choice(len(latents), team.share(training.real), p=odds)
        heard = rng.integers(0, len(predicted), team.share(training.predicted))
        shown = np.concatenate([real, numbers[heard]])
        taught = rng.integers(0, len(ends), team.share(training.teacher))
        c = torch.cat([latents[real], predicted[heard], asked[taught]]).to(device)
        truth = torch.cat([to_images(person.frames[shown]), ends[taught].float()])
        truth = truth.to(device, memory_format=torch.channels_last)
        landmarks = np.concatenate([points[shown], asked_points[taught]])
        with autocast(device):
            out = student(c + training.latent_noise * torch.randn_like(c))
            loss, pixel = image_loss(out, truth, landmarks, rng, perceptual=len(shown))
        alike = ssim(out[: len(real)].float(), truth[: len(real)]).mean()
        loss = loss + training.ssim * (1.0 - alike)
        loop.learn(loss)
        loop.log(loss=loss, pixel=pixel, ssim=alike)
    return loop.path
