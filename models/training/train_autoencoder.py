"""Stage 1: encoder, DDIM decoder and the image loss at x_T, trained together (section 3.1).

Each batch of frames is decoded twice over: most of it in one evaluation from the shared x_T (the
student's job, which teaches the encoder fast), the rest from random diffusion steps (the
teacher's).  The mouth and the eyes weigh more than the wall behind them.  A linear read-out keeps
pose and landmarks easy to find in c.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from daetalker.models.autoencoder import AutoencoderConfig, DiffusionAutoencoder
from daetalker.models.diffusion import add_noise
from daetalker.models.training.data import EYES, MOUTH, Person
from daetalker.models.training.loop import Loop, Run, place
from daetalker.models.training.metrics import Lpips, psnr_db, ssim
from daetalker.models.training.store import save_state
from daetalker.models.training.team import autocast

HELD_OUT_IMAGES = 48
MEAN_FRAMES = 300
# DDIM evaluations of the held-out figures while training: enough to see whether c is decodable.
MEASURED_STEPS = 10


@dataclass(frozen=True)
class AutoencoderTraining:
    """Hyper-parameters of stage 1.

    Attributes:
        batch: frames a step, ``diffusion`` of them at random diffusion steps.
        rate: peak learning rate of Adam.
        latent_noise: standard deviation of the noise added to c (unit variance) while training.
        mouth, eyes: extra weight of those regions in the pixel loss.
        lpips: weight of the perceptual loss on one crop a frame.
        crop: side of that crop in pixels.
        near: share of the crops that lie around the mouth; the rest lie anywhere.
        ssim: weight of (1 - SSIM) of the frames decoded in one evaluation.
        readout: weight of the linear read-out of pose and landmarks from c.
        freeze: share of the steps after which the encoder rests at its averaged weights, so that
            speech2latent can be trained while the decoder goes on.
    """

    batch: int = 24
    diffusion: int = 6
    rate: float = 5e-4
    latent_noise: float = 0.05
    mouth: float = 8.0
    eyes: float = 5.0
    lpips: float = 0.25
    crop: int = 128
    near: float = 2 / 3
    ssim: float = 0.2
    readout: float = 0.2
    freeze: float = 0.45


class Stage1(nn.Module):
    """The autoencoder and its training-only read-out."""

    frozen: Tensor

    def __init__(self, cfg: AutoencoderConfig) -> None:
        super().__init__()
        self.auto = DiffusionAutoencoder(cfg)
        self.readout = nn.Linear(cfg.unet.latent, 68 * 2 + 4)
        self.register_buffer("frozen", torch.zeros((), dtype=torch.bool))

    def freeze_encoder(self, averaged: dict[str, Tensor]) -> None:
        """Put encoder and read-out to rest at their averaged weights."""
        keys = ("auto.encoder.", "readout.")
        resting = {k: v for k, v in averaged.items() if k.startswith(keys)}
        self.load_state_dict(resting, strict=False)
        self.frozen.fill_(True)


def to_images(frames: NDArray[np.uint8]) -> Tensor:
    """``[B, S, S, 3]`` uint8 to ``[B, 3, S, S]`` float32 in [-1, 1], channels last in memory."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2) / 127.5 - 1.0


def spread_frames(frames: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """About ``count`` frames, evenly spaced; all of them if there are fewer."""
    return frames[:: max(1, len(frames) // count)]


def region_weights(
    landmarks: NDArray[np.float32], size: int, mouth: float, eyes: float
) -> NDArray[np.float32]:
    """Soft ellipses over mouth and eyes on a quarter-size grid: ``[B, 1, S/4, S/4]``, base 1."""
    side = size // 4
    grid = (np.arange(side, dtype=np.float32) + 0.5) * 4
    weights = np.ones((len(landmarks), side, side), np.float32)
    for region, gain in ((MOUTH, mouth), (EYES[0], eyes), (EYES[1], eyes)):
        points = landmarks[:, region]
        centre = points.mean(1)
        half = (points.max(1) - points.min(1)) / 2 + size * 0.024
        dx = (grid[None] - centre[:, :1]) / half[:, :1]
        dy = (grid[None] - centre[:, 1:]) / half[:, 1:]
        distance = dx[:, None, :] ** 2 + dy[:, :, None] ** 2
        weights += gain * np.exp(-0.5 * np.maximum(distance - 0.6, 0) * 2)
    return weights[:, None]


def crop_starts(
    landmarks: NDArray[np.float32], size: int, crop: int, near: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Corners ``[B, 2]`` (y, x) of square crops, a share ``near`` of them around the mouth."""
    limit = size - crop
    anywhere = rng.integers(0, limit + 1, (len(landmarks), 2))
    mouth = landmarks[:, MOUTH].mean(1)[:, ::-1] - crop / 2
    mouth = mouth + rng.normal(0, crop / 8, mouth.shape)
    around = np.clip(mouth.round(), 0, limit).astype(np.int64)
    return np.where(rng.random((len(landmarks), 1)) < near, around, anywhere)


def cut(images: Tensor, starts: NDArray[np.int64], crop: int) -> Tensor:
    """The crops that :func:`crop_starts` chose, ``[B, 3, crop, crop]``."""
    pieces = [
        image[:, y : y + crop, x : x + crop] for image, (y, x) in zip(images, starts, strict=True)
    ]
    return torch.stack(pieces).contiguous(memory_format=torch.channels_last)


def targets_of(person: Person, size: int) -> NDArray[np.float32]:
    """``[T, 140]``: landmarks in [-1, 1], pose in units of 20 degrees, eye closure."""
    points = (person.landmarks / (size / 2) - 1.0).reshape(len(person.landmarks), -1)
    return np.concatenate([points, person.pose_deg / 20, person.blink[:, None]], 1)


class ImageLoss:
    """Weighted pixel loss plus LPIPS on one crop a frame."""

    def __init__(self, cfg: AutoencoderTraining, size: int, lpips: Lpips) -> None:
        self.cfg, self.size, self.lpips = cfg, size, lpips

    def __call__(
        self,
        out: Tensor,
        truth: Tensor,
        landmarks: NDArray[np.float32],
        rng: np.random.Generator,
        perceptual: int,
    ) -> tuple[Tensor, Tensor]:
        """Loss and its pixel part; LPIPS on the first ``perceptual`` of ``[B, 3, S, S]`` only."""
        weights = torch.from_numpy(
            region_weights(landmarks, self.size, self.cfg.mouth, self.cfg.eyes)
        ).to(out.device)
        weights = F.interpolate(weights, scale_factor=4.0, mode="nearest")
        delta = out.float() - truth
        norm = weights.mean() * 3 * delta[:, 0].numel()
        pixel = ((delta.abs() + 2.0 * delta * delta) * weights).sum() / norm
        loss = pixel
        crop = min(self.cfg.crop, self.size)
        starts = crop_starts(landmarks[:perceptual], self.size, crop, self.cfg.near, rng)
        a = cut(out[:perceptual], starts, crop)
        b = cut(truth[:perceptual], starts, crop)
        loss = loss + self.cfg.lpips * self.lpips(a, b).mean()
        return loss, pixel


@torch.no_grad()
def decode_both(auto: DiffusionAutoencoder, images: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Images by one evaluation from x_T and by DDIM with ``steps``, float32 in [-1, 1]."""
    with autocast(images.device):
        c = auto.encoder(images)
        first, many = auto.first_step(c), auto.decode(c, steps)
    return first.float().clamp(-1, 1), many.float().clamp(-1, 1)


@torch.no_grad()
def likeness(out: Tensor, truth: Tensor, lpips: Lpips) -> dict[str, float]:
    """Mean PSNR in dB, SSIM and LPIPS of ``[B, 3, S, S]``; metrics want full precision."""
    figures = {"psnr": psnr_db(out, truth), "ssim": ssim(out, truth), "lpips": lpips(out, truth)}
    return {key: float(value.mean()) for key, value in figures.items()}


def train_autoencoder(
    person: Person,
    held_out: Person | None,
    run: Run,
    steps: int,
    cfg: AutoencoderConfig,
    training: AutoencoderTraining,
    lpips: Lpips,
) -> Path:
    """Make stage 1's ``steps`` (resuming what is in ``run``) and return the checkpoint."""
    size, team = cfg.unet.size, run.team
    device = team.device
    torch.set_flush_denormal(True)
    run.rng("autoencoder")  # the initial weights are random, too
    stage = Stage1(cfg)
    sample = to_images(spread_frames(person.frames, MEAN_FRAMES))
    stage.auto.decoder.up.mean_image.data = sample.mean(0, keepdim=True)
    stage, shadow = place(stage, device), place(Stage1(cfg), device)
    lpips = place(lpips, device)
    optimizer = torch.optim.Adam(stage.parameters(), betas=(0.9, 0.99))
    test = None
    if held_out is not None:
        test = to_images(spread_frames(held_out.frames, HELD_OUT_IMAGES)).to(device)

    def measure() -> dict[str, float]:
        if test is None:
            return {}
        shadow.load_state_dict(loop.ema.shadow)
        parts = [decode_both(shadow.auto, part, MEASURED_STEPS) for part in test.split(16)]
        first, many = (torch.cat(outs) for outs in zip(*parts, strict=True))
        pick = slice(None, None, max(1, len(test) // 4))
        loop.board.frames("truth, one step, ten steps", [test[pick], first[pick], many[pick]],
                          loop.step)  # fmt: skip
        slow = likeness(many, test, lpips)
        return likeness(first, test, lpips) | {f"ddim_{k}": v for k, v in slow.items()}

    loop = Loop(
        "autoencoder", run, stage, optimizer, steps, training.rate, samples=training.batch,
        measure=measure,
    )  # fmt: skip
    image_loss = ImageLoss(training, size, lpips)
    targets = targets_of(person, size)
    auto, n_diff = stage.auto, team.share(training.diffusion)
    batch = team.share(training.batch)
    one_step = batch - n_diff
    for step in loop:
        if step.share >= training.freeze and not stage.frozen:
            _rest_encoder(stage, loop, run)
        learning = not bool(stage.frozen)
        picks = step.rng.integers(0, len(person.frames), batch)
        x = to_images(person.frames[picks]).to(device)
        with autocast(device):
            with torch.set_grad_enabled(learning):
                c = auto.encoder(x)
            read = F.mse_loss(stage.readout(c).float(), torch.from_numpy(targets[picks]).to(device))
            noisy = c + training.latent_noise * torch.randn_like(c)
            first = auto.first_step(noisy[:one_step])
            t = torch.randint(0, auto.schedule.steps, (n_diff,), device=device)
            x_t = add_noise(auto.schedule, x[one_step:], t, torch.randn_like(x[one_step:]))
            denoised = auto.decoder(x_t, t, noisy[one_step:])
            out = torch.cat([first, denoised])
            points = person.landmarks[picks]
            loss, pixel = image_loss(out, x, points, step.rng, perceptual=one_step)
            if learning:
                loss = loss + training.readout * read
        alike = ssim(first.float(), x[:one_step]).mean()
        loss = loss + training.ssim * (1.0 - alike)
        loop.learn(loss)
        loop.log(loss=loss, pixel=pixel, ssim=alike, readout=read)
    if not stage.frozen:
        _rest_encoder(stage, loop, run)
        loop.save()
    return loop.path


def _rest_encoder(stage: Stage1, loop: Loop, run: Run) -> None:
    """Stage 2 may begin: ``encoder.pt`` holds what it needs and will not change."""
    stage.freeze_encoder(loop.ema.shadow)
    if run.team.main and run.rehearsal is None:
        save_state(run.folder / "encoder.pt", {"modules": loop.ema.shadow, "step": loop.step})
