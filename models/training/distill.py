"""Stage 3: the student, from real frames and from the teacher's DDIM end points.

Three kinds of latents, because the student meets all of them in life: the encoder's (target: the
frame), those that speech2latent predicts with the true control (target: the frame, and the
teacher's end point), and interpolations between frames (target: the teacher's end point).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from daetalker.models.autoencoder import DiffusionAutoencoder
from daetalker.models.speech2latent import Speech2Latent
from daetalker.models.student import Student
from daetalker.models.training.data import Person
from daetalker.models.training.features import WindowSet
from daetalker.models.training.loop import Loop, best_device, place
from daetalker.models.training.metrics import Lpips, psnr_db, ssim
from daetalker.models.training.train_autoencoder import (
    HELD_OUT_IMAGES,
    AutoencoderTraining,
    ImageLoss,
    spread_frames,
    to_images,
)
from daetalker.models.training.train_speech2latent import (
    control_of,
    encode_all,
    gather,
)


@dataclass(frozen=True)
class Distillation:
    """Hyper-parameters of stage 3.

    Attributes:
        real, predicted, teacher: samples of each kind in a step.
        ends: teacher end points computed beforehand, half interpolated, half predicted.
        steps: DDIM evaluations of each.
        ssim: weight of (1 - SSIM) in the loss.
    """

    real: int = 12
    predicted: int = 8
    teacher: int = 4
    ends: int = 360
    steps: int = 20
    rate: float = 4e-4
    ssim: float = 0.1
    latent_noise: float = 0.03


@torch.no_grad()
def predict_latents(
    model: Speech2Latent,
    windows: WindowSet,
    person: Person,
    frames: int = 50,
    hop: int = 4,
    lookahead: int = 3,
) -> tuple[Tensor, np.ndarray]:
    """Latents of the frames that windows emit, with true control: ``[M, D]`` and their numbers."""
    control, device = control_of(person), next(model.parameters()).device
    stop = frames - lookahead
    rows, numbers = [], []
    for start in range(0, len(windows.ends), 64):
        picks = np.arange(start, min(start + 64, len(windows.ends)))
        features, index, valid = gather([windows], picks, frames)
        given = torch.from_numpy(control[index]).to(device)
        out = model(features.to(device), given)[0].cpu()
        keep = valid[:, stop - hop : stop]
        rows.append(out[:, stop - hop : stop][torch.from_numpy(keep)])
        numbers.append(index[:, stop - hop : stop][keep])
    return torch.cat(rows), np.concatenate(numbers)


@torch.no_grad()
def teacher_ends(
    auto: DiffusionAutoencoder, latents: Tensor, steps: int, path: Path
) -> tuple[Tensor, Tensor]:
    """DDIM end points from x_T, kept in ``path``: latents and ``[K, 3, S, S]`` float16."""
    if not path.exists():
        ends = []
        for i, part in enumerate(latents.split(12)):
            with torch.autocast(auto.x_T.device.type, torch.bfloat16):
                ends.append(auto.decode(part.to(auto.x_T.device), steps).half().cpu())
            if i % 10 == 0:
                print(f"teacher: {12 * i} of {len(latents)}", file=sys.stderr, flush=True)
        torch.save({"latents": latents, "ends": torch.cat(ends)}, path)
    state = torch.load(path, weights_only=True)
    return state["latents"], state["ends"]


def distill(
    person: Person,
    auto: DiffusionAutoencoder,
    model: Speech2Latent,
    windows: Sequence[WindowSet],
    held_out: Person | None,
    run: Path,
    minutes: float,
    training: Distillation,
    image: AutoencoderTraining,
    lpips: Lpips,
    seed: int = 0,
) -> Path:
    """Train the student for ``minutes`` (resuming what is in ``run``); return the checkpoint."""
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    device = best_device()
    auto, model, lpips = auto.to(device), model.to(device), lpips.to(device)
    rng = np.random.default_rng(seed)
    latents = encode_all(auto.encoder, person.frames)
    parts = [predict_latents(model.eval(), w, person) for w in windows]
    predicted = torch.cat([p[0] for p in parts])
    numbers = np.concatenate([p[1] for p in parts])
    half = training.ends // 2
    a, b = rng.integers(0, len(latents), (2, half))
    mix = torch.from_numpy(rng.random((half, 1)).astype(np.float32))
    between = latents[a] * mix + latents[b] * (1 - mix)
    picked = rng.integers(0, len(predicted), training.ends - half)
    asked = torch.cat([between, predicted[picked]])
    points, share = person.landmarks, mix.numpy()[:, :, None]
    asked_points = np.concatenate(
        [points[a] * share + points[b] * (1 - share), points[numbers[picked]]]
    )
    asked, ends = teacher_ends(auto, asked, training.steps, run / "ends.pt")
    student = place(Student.fold(auto), device)
    optimizer = torch.optim.Adam(student.parameters(), betas=(0.9, 0.99))
    loop = Loop("student", run, student, optimizer, minutes, training.rate)
    shadow = place(Student(student.cfg), device)
    image_loss = ImageLoss(image, auto.cfg.unet.size, lpips)
    test = None
    if held_out is not None:
        test = to_images(spread_frames(held_out.frames, HELD_OUT_IMAGES)).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            test_latents = auto.encoder(test).float()
    rng = np.random.default_rng(seed + 1 + loop.step)
    for _ in loop:
        real = rng.integers(0, len(latents), training.real)
        heard = rng.integers(0, len(predicted), training.predicted)
        shown = np.concatenate([real, numbers[heard]])
        taught = rng.integers(0, len(ends), training.teacher)
        c = torch.cat([latents[real], predicted[heard], asked[taught]]).to(device)
        truth = torch.cat([to_images(person.frames[shown]), ends[taught].float()])
        truth = truth.to(device, memory_format=torch.channels_last)
        landmarks = np.concatenate([points[shown], asked_points[taught]])
        with torch.autocast(device.type, torch.bfloat16):
            out = student(c + training.latent_noise * torch.randn_like(c))
            loss, pixel = image_loss(out, truth, landmarks, rng, perceptual=len(shown))
        likeness = ssim(out[: training.real].float(), truth[: training.real]).mean()
        loss = loss + training.ssim * (1.0 - likeness)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        loop.log(loss=float(loss.detach()), pixel=pixel, ssim=float(likeness.detach()))
        if test is not None and loop.step % 200 == 199:
            shadow.load_state_dict(loop.ema.shadow)
            with torch.no_grad():
                with torch.autocast(device.type, torch.bfloat16):
                    drawn = shadow(test_latents)
                drawn = drawn.float().clamp(-1, 1)
                loop.note(
                    psnr=float(psnr_db(drawn, test).mean()),
                    ssim=float(ssim(drawn, test).mean()),
                    lpips=float(lpips(drawn, test).mean()),
                )
    return loop.path
