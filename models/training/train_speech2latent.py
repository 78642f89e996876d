"""Stage 2: speech2latent on the frozen encoder's latents (section 3.2).

L = L_latent + alpha L_pose (eq. 5).  L_latent weighs the frames that the stream will emit most,
each with exactly the look-ahead it will have, and adds what a small frozen probe reads about the
mouth from c: a plain square error on c weighs directions nobody sees as much as the lips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from daetalker.models.encoder import ImageEncoder
from daetalker.models.pose import POSE_SCALE_DEG
from daetalker.models.speech2latent import Speech2Latent, Speech2LatentConfig
from daetalker.models.training.data import MOUTH, Person, lip_opening
from daetalker.models.training.features import WindowSet
from daetalker.models.training.loop import Loop, best_device
from daetalker.models.training.train_autoencoder import to_images


@dataclass(frozen=True)
class Speech2LatentTraining:
    """Hyper-parameters of stage 2.

    Attributes:
        batch: windows a step.
        alpha: weight of the pose loss (eq. 5), per axis in units of 20 degrees.
        mouth: weight of the probe's loss.
        velocity: weight of the loss on frame-to-frame steps.
        tail: last frames of a window that count fully; the ones before count ``body``.
    """

    batch: int = 48
    rate: float = 8e-4
    alpha: float = 0.3
    mouth: float = 1.0
    velocity: float = 0.5
    tail: int = 8
    body: float = 0.25


@dataclass(frozen=True)
class HeldOut:
    """A person's held-out speech, measured while training."""

    name: str
    person: Person
    windows: WindowSet


@torch.no_grad()
def encode_all(encoder: ImageEncoder, frames: NDArray[np.uint8], batch: int = 48) -> Tensor:
    """Latents of every frame, ``[T, D]`` on the CPU."""
    rows = []
    device = next(encoder.parameters()).device
    for start in range(0, len(frames), batch):
        images = to_images(frames[start : start + batch]).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            rows.append(encoder(images).float().cpu())
    return torch.cat(rows)


def control_of(person: Person) -> NDArray[np.float32]:
    """The true control of every frame, ``[T, 4]``: yaw, pitch, roll in degrees, eye closure."""
    return np.concatenate([person.pose_deg, person.blink[:, None]], 1).astype(np.float32)


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


def fit_probe(latents: Tensor, shape: Tensor, steps: int = 1500, noise: float = 0.1) -> MouthProbe:
    """Fit the probe to standardised ``shape`` on noisy latents and freeze it."""
    device = latents.device
    probe = MouthProbe(latents.shape[1], shape.shape[1]).to(device)
    optimizer = torch.optim.Adam(probe.parameters(), 2e-3, weight_decay=1e-6)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        pick = torch.randint(0, len(latents), (256,), device=device)
        c = latents[pick]
        loss = F.mse_loss(probe(c + noise * torch.randn_like(c)), shape[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    probe.requires_grad_(False)
    return probe.eval()


def gather(
    windows: Sequence[WindowSet], picks: NDArray[np.int64], frames: int
) -> tuple[Tensor, NDArray[np.int64], NDArray[np.bool_]]:
    """Features, video frame numbers ``[B, T]`` (clipped) and which of them hold speech."""
    sizes = np.cumsum([0, *(len(w.ends) for w in windows)])
    features, index, valid = [], [], []
    for pick in picks:
        which = int(np.searchsorted(sizes, pick, side="right")) - 1
        w, i = windows[which], pick - sizes[which]
        features.append(w.features[i])
        if w.hold is not None:
            index.append(np.full(frames, w.hold[i]))
            valid.append(np.ones(frames, bool))
            continue
        numbers = np.arange(w.ends[i] - frames, w.ends[i])
        index.append(np.maximum(numbers, 0))
        valid.append((numbers >= 0) & (numbers >= w.ends[i] - w.history[i]))
    stacked = torch.from_numpy(np.stack(features).astype(np.float32))
    return stacked, np.stack(index), np.stack(valid)


def train_speech2latent(
    person: Person,
    encoder: ImageEncoder,
    windows: Sequence[WindowSet],
    held_out: Sequence[HeldOut],
    run: Path,
    minutes: float,
    cfg: Speech2LatentConfig,
    training: Speech2LatentTraining,
    frames: int = 50,
    seed: int = 0,
) -> Path:
    """Train stage 2 for ``minutes`` (resuming what is in ``run``) and return the checkpoint."""
    torch.manual_seed(seed)
    device = best_device()
    latents = encode_all(encoder.to(device), person.frames).to(device)
    control = torch.from_numpy(control_of(person)).to(device)
    raw_shape = mouth_shape(person)
    mean, std = raw_shape.mean(0), raw_shape.std(0) + 1e-6
    shape = torch.from_numpy((raw_shape - mean) / std).to(device)
    run.mkdir(parents=True, exist_ok=True)
    probe = _probe(run / "probe.pt", latents, shape)
    gain = torch.full((shape.shape[1],), 1.0 / shape.shape[1], device=device)
    gain[-1] += 1.0  # the lip opening counts as much as all the landmarks together
    model = Speech2Latent(cfg).to(device)
    model.latent_mean.copy_(latents.mean(0))
    model.latent_scale.copy_(latents.std(0))
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), weight_decay=1e-6)
    loop = Loop("speech2latent", run, model, optimizer, minutes, training.rate)
    weight = torch.full((frames,), training.body, device=device)
    weight[-training.tail :] = 1.0
    total = sum(len(w.ends) for w in windows)
    rng = np.random.default_rng(seed + loop.step)
    shadow = Speech2Latent(cfg).to(device)
    tests = []
    for other in held_out:
        test_shape = (mouth_shape(other.person) - mean) / std
        tests.append((other, test_shape, encode_all(encoder, other.person.frames)))
        read = probe(tests[-1][2].to(device))[:, -1].cpu().numpy()
        loop.note(**{f"{other.name}_probe_corr": _corr(read, test_shape[:, -1])})

    def measure() -> None:
        shadow.load_state_dict(loop.ema.shadow)
        for test in tests:
            loop.note(**_measure(shadow.eval(), probe, *test, frames=frames))

    for _ in loop:
        model.train()
        features, index, valid = gather(windows, rng.integers(0, total, training.batch), frames)
        w = (torch.from_numpy(valid).to(device) * weight)[..., None]
        features = features.to(device)
        truth, given = latents[index], control[index]
        with torch.autocast(device.type, torch.bfloat16):
            out, pose = model(features, given)
        out, pose = out.float(), pose.float()
        norm = w.sum()
        error = ((out - truth) / model.latent_scale) ** 2
        l_latent = (error * w).sum() / norm / out.shape[-1]
        steps = ((out[:, 1:] - out[:, :-1]) - (truth[:, 1:] - truth[:, :-1])) / model.latent_scale
        l_velocity = (steps**2 * w[:, 1:]).sum() / norm / out.shape[-1]
        l_mouth = ((probe(out) - shape[index]) ** 2 * gain * w).sum() / norm
        l_pose = (((pose - given[..., :3]) / POSE_SCALE_DEG) ** 2 * w).sum() / norm
        loss = l_latent + training.mouth * l_mouth + training.velocity * l_velocity
        loss = loss + training.alpha * l_pose
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loop.log(
            latent=float(l_latent.detach()), mouth=float(l_mouth.detach()),
            velocity=float(l_velocity.detach()), pose=float(l_pose.detach()),
        )  # fmt: skip
        if loop.step % 250 == 249:
            measure()
    measure()
    return loop.path


def _probe(path: Path, latents: Tensor, shape: Tensor) -> MouthProbe:
    if not path.exists():
        torch.save(fit_probe(latents, shape).state_dict(), path)
    probe = MouthProbe(latents.shape[1], shape.shape[1]).to(latents.device)
    probe.load_state_dict(torch.load(path, map_location=latents.device, weights_only=True))
    return probe.eval().requires_grad_(False)


def _corr(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.corrcoef(a, b)[0, 1])


@torch.no_grad()
def _measure(
    model: Speech2Latent,
    probe: MouthProbe,
    held_out: HeldOut,
    shape: NDArray[np.float32],
    latents: Tensor,
    frames: int,
    hop: int = 4,
    lookahead: int = 3,
) -> dict[str, float]:
    windows = held_out.windows
    control, device = control_of(held_out.person), next(probe.parameters()).device
    lips, truth, error = [], [], []
    emitted = slice(frames - lookahead - hop, frames - lookahead)
    for start in range(0, len(windows.ends), 64):
        picks = np.arange(start, min(start + 64, len(windows.ends)))
        features, index, _ = gather([windows], picks, frames)
        given = torch.from_numpy(control[index]).to(device)
        out = model(features.to(device), given)[0].cpu()
        read = probe(out[:, emitted].to(device))[..., -1]
        lips.append(read.reshape(-1).cpu().numpy())
        truth.append(shape[index[:, emitted], -1].reshape(-1))
        delta = (out[:, emitted] - latents[index[:, emitted]]) / model.latent_scale.cpu()
        error.append(float((delta**2).mean()))
    a, b = np.concatenate(lips), np.concatenate(truth)
    figures = {"lip_corr": _corr(a, b), "lip_gain": float(a.std() / b.std())}
    figures["latent"] = float(np.mean(error))
    return {f"{held_out.name}_{key}": value for key, value in figures.items()}
