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
from daetalker.models.training.data import EYES, MOUTH, Person, load_person
from daetalker.models.training.loop import Loop, best_device, place
from daetalker.models.training.metrics import Lpips, psnr_db, ssim

HELD_OUT_IMAGES = 48


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
        readout: weight of the linear read-out of pose and landmarks from c.
        freeze: share of the time after which the encoder rests at its averaged weights, so that
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
    ) -> tuple[Tensor, float]:
        """Loss over ``[B, 3, S, S]``; LPIPS on the first ``perceptual`` frames only."""
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
        return loss, float(pixel.detach())


@torch.no_grad()
def measure(
    auto: DiffusionAutoencoder, images: Tensor, lpips: Lpips, steps: int
) -> dict[str, float]:
    """Held-out figures of one evaluation from x_T and of DDIM with ``steps`` evaluations."""
    rows: dict[str, list[Tensor]] = {}
    for batch in images.split(16):
        with torch.autocast(images.device.type, torch.bfloat16):
            c = auto.encoder(batch)
            outs = {"": auto.first_step(c), "ddim_": auto.decode(c, steps)}
        for name, out in outs.items():  # the metrics themselves want full precision
            out = out.float().clamp(-1, 1)
            rows.setdefault(name + "psnr", []).append(psnr_db(out, batch))
            rows.setdefault(name + "ssim", []).append(ssim(out, batch))
            rows.setdefault(name + "lpips", []).append(lpips(out, batch))
    return {k: float(torch.cat(v).mean()) for k, v in rows.items()}


def train_autoencoder(
    data: Path,
    held_out: Path | None,
    run: Path,
    minutes: float,
    cfg: AutoencoderConfig,
    training: AutoencoderTraining,
    lpips_weights: Path,
    seed: int = 0,
) -> Path:
    """Train stage 1 for ``minutes`` (resuming what is in ``run``) and return the checkpoint.

    Raises:
        DataError: if ``data`` is not a training folder.
    """
    size = cfg.unet.size
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    device = best_device()
    person = load_person(data, size, run / "cache")
    stage = Stage1(cfg)
    sample = to_images(spread_frames(person.frames, 300))
    stage.auto.decoder.up.mean_image.data = sample.mean(0, keepdim=True)
    stage = place(stage, device)
    lpips = place(Lpips(lpips_weights), device)
    optimizer = torch.optim.Adam(stage.parameters(), betas=(0.9, 0.99))
    loop = Loop("autoencoder", run, stage, optimizer, minutes, training.rate)
    shadow = place(Stage1(cfg), device)
    image_loss = ImageLoss(training, size, lpips)
    targets = targets_of(person, size)
    rng = np.random.default_rng(seed + loop.step)
    test = None
    if held_out is not None:
        other = load_person(held_out, size, run / "cache")
        test = to_images(spread_frames(other.frames, HELD_OUT_IMAGES)).to(device)
    auto, n_diff = stage.auto, training.diffusion
    one_step = training.batch - n_diff

    def rest_encoder() -> None:
        stage.freeze_encoder(loop.ema.shadow)
        loop.save()
        torch.save({"modules": loop.ema.shadow, "step": loop.step}, run / "encoder.pt")
        loop.note(frozen=1)

    for fraction in loop:
        if fraction >= training.freeze and not stage.frozen:
            rest_encoder()
        learning = not bool(stage.frozen)
        picks = np.sort(rng.integers(0, len(person.frames), training.batch))
        rng.shuffle(picks)
        x = to_images(person.frames[picks]).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            with torch.set_grad_enabled(learning):
                c = auto.encoder(x)
            read = F.mse_loss(stage.readout(c).float(), torch.from_numpy(targets[picks]).to(device))
            noisy = c + training.latent_noise * torch.randn_like(c)
            first = auto.first_step(noisy[:one_step])
            t = torch.randint(0, auto.schedule.steps, (n_diff,), device=device)
            x_t = add_noise(auto.schedule, x[one_step:], t, torch.randn_like(x[one_step:]))
            denoised = auto.decoder(x_t, t, noisy[one_step:])
            out = torch.cat([first, denoised])
            loss, pixel = image_loss(out, x, person.landmarks[picks], rng, perceptual=one_step)
            if learning:
                loss = loss + training.readout * read
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(stage.parameters(), 1.0)
        optimizer.step()
        loop.log(
            loss=float(loss.detach()), pixel=pixel, readout=float(read.detach()), grad=float(norm)
        )
        if test is not None and loop.step % 400 == 399:
            shadow.load_state_dict(loop.ema.shadow)
            loop.note(**measure(shadow.auto, test, lpips, steps=10))
    if not stage.frozen:
        rest_encoder()
    return loop.path
