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

from daetalker.models.pose import POSE_SCALE_DEG
from daetalker.models.speech2latent import Speech2Latent, Speech2LatentConfig
from daetalker.models.training.data import Person
from daetalker.models.training.features import SILENT, WindowSet
from daetalker.models.training.loop import Loop, Run
from daetalker.models.training.mouth_probe import MouthProbe, mouth_shape, probe_of
from daetalker.models.training.progress import View
from daetalker.models.training.store import cached_rows
from daetalker.models.training.team import autocast
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
    """A person's held-out speech, measured while training; latents ``[T, D]`` on the CPU."""

    name: str
    person: Person
    windows: WindowSet
    latents: Tensor


@dataclass(frozen=True)
class Material:
    """What speech2latent learns from.

    Attributes:
        latents: ``[T, D]`` of every frame of ``person``, on the CPU.
        windows: windows of ``person``'s speech.
        held_out: measured while training.
    """

    person: Person
    latents: Tensor
    windows: Sequence[WindowSet]
    held_out: Sequence[HeldOut] = ()


@torch.no_grad()
def encode_images(
    encoder: nn.Module,
    frames: NDArray[np.uint8],
    path: Path | None = None,
    view: View = SILENT,
    batch: int = 48,
) -> Tensor:
    """Latents of every frame, ``[T, D]`` on the CPU; kept in ``path`` if given."""
    device = next(encoder.parameters()).device

    def rows(start: int, stop: int) -> NDArray[np.float32]:
        with autocast(device):
            out = encoder(to_images(frames[start:stop]).to(device))
        latents: NDArray[np.float32] = out.float().cpu().numpy()
        return latents

    def progress(done: int, total: int) -> None:
        view.rows("latents, frame", done, total)

    if path is None:
        starts = range(0, len(frames), batch)
        return torch.from_numpy(np.concatenate([rows(i, i + batch) for i in starts]))
    width = rows(0, 1).shape[1]
    kept = cached_rows(path, (len(frames), width), np.float32, rows, batch, progress)
    return torch.from_numpy(np.array(kept))


def control_of(person: Person) -> NDArray[np.float32]:
    """The true control of every frame, ``[T, 4]``: yaw, pitch, roll in degrees, eye closure."""
    return np.concatenate([person.pose_deg, person.blink[:, None]], 1).astype(np.float32)


def where(windows: Sequence[WindowSet], frames: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Video frame numbers ``[W, T]`` (clipped) of all windows and which of them hold speech."""
    index, valid = [], []
    for w in windows:
        if w.hold is not None:
            index.append(np.repeat(w.hold[:, None], frames, 1))
            valid.append(np.ones((len(w.hold), frames), bool))
            continue
        numbers = w.ends[:, None] + np.arange(-frames, 0)
        index.append(np.maximum(numbers, 0))
        valid.append((numbers >= 0) & (numbers >= (w.ends - w.history)[:, None]))
    return np.concatenate(index), np.concatenate(valid)


def gather(
    windows: Sequence[WindowSet], picks: NDArray[np.int64], frames: int
) -> tuple[Tensor, NDArray[np.int64], NDArray[np.bool_]]:
    """Features ``[B, F, C]`` of the picked windows, and :func:`where` they lie."""
    sizes = np.cumsum([0, *(len(w.ends) for w in windows)])
    found, features = [], []
    for pick in picks:
        which = int(np.searchsorted(sizes, pick, side="right")) - 1
        w, i = windows[which], slice(pick - sizes[which], pick - sizes[which] + 1)
        hold = None if w.hold is None else w.hold[i]
        features.append(w.features[i])
        found.append(where([WindowSet(w.features[i], w.ends[i], w.history[i], hold)], frames))
    index, valid = (np.concatenate(part) for part in zip(*found, strict=True))
    return torch.from_numpy(np.concatenate(features).astype(np.float32)), index, valid


def train_speech2latent(
    material: Material,
    run: Run,
    steps: int,
    cfg: Speech2LatentConfig,
    training: Speech2LatentTraining,
    frames: int = 50,
    hop: int = 4,
    lookahead: int = 3,
    live_frames: int | None = None,
    measure_every: int = 250,
) -> Path:
    """Make stage 2's ``steps`` (resuming what is in ``run``) and return the checkpoint.

    Args:
        frames: of a training sample.
        live_frames: of a held-out window, if that is not the same.
    """
    live = frames if live_frames is None else live_frames
    device, person, windows = run.team.device, material.person, material.windows
    raw_shape = mouth_shape(person)
    mean, std = raw_shape.mean(0), raw_shape.std(0) + 1e-6
    shape = torch.from_numpy((raw_shape - mean) / std)
    probe = probe_of(run, material.latents, shape).to(device)
    shape, latents = shape.to(device), material.latents.to(device)
    control = torch.from_numpy(control_of(person)).to(device)
    joins = np.zeros(len(latents), bool)
    joins[person.segment_starts] = True
    gain = torch.full((shape.shape[1],), 1.0 / shape.shape[1], device=device)
    gain[-1] += 1.0  # the lip opening counts as much as all the landmarks together
    run.rng("speech2latent")
    model, shadow = Speech2Latent(cfg).to(device), Speech2Latent(cfg).to(device)
    model.latent_mean.copy_(latents.mean(0))
    model.latent_scale.copy_(latents.std(0) + 1e-6)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), weight_decay=1e-6)
    shapes = [(mouth_shape(other.person) - mean) / std for other in material.held_out]

    def measure() -> dict[str, float]:
        shadow.load_state_dict(loop.ema.shadow)
        found: dict[str, float] = {}
        for other, true in zip(material.held_out, shapes, strict=True):
            found |= _measure(shadow.eval(), probe, other, true, live, hop, lookahead)
        return found

    loop = Loop(
        "speech2latent", run, model, optimizer, steps, training.rate, samples=training.batch,
        measure=measure, measure_every=measure_every,
    )  # fmt: skip
    if loop.step == 0:  # what the probe reads from true frames: the ceiling of lip_corr
        for other, true in zip(material.held_out, shapes, strict=True):
            read = probe(other.latents.to(device))[:, -1].cpu().numpy()
            loop.note(**{f"{other.name}_probe_corr": _corr(read, true[:, -1])})
    weight = torch.full((frames,), training.body, device=device)
    weight[-training.tail :] = 1.0
    total, batch = sum(len(w.ends) for w in windows), run.team.share(training.batch)
    for step in loop:
        model.train()
        features, index, valid = gather(windows, step.rng.integers(0, total, batch), frames)
        w = (torch.from_numpy(valid).to(device) * weight)[..., None]
        features = features.to(device)
        truth, given = latents[index], control[index]
        with autocast(device):
            out, pose = model(features, given)
        out, pose = out.float(), pose.float()
        norm = w.sum()
        error = ((out - truth) / model.latent_scale) ** 2
        l_latent = (error * w).sum() / norm / out.shape[-1]
        moves = ((out[:, 1:] - out[:, :-1]) - (truth[:, 1:] - truth[:, :-1])) / model.latent_scale
        inside = torch.from_numpy(~joins[index[:, 1:]]).to(device)[..., None]
        l_velocity = (moves**2 * w[:, 1:] * inside).sum() / norm / out.shape[-1]
        l_mouth = ((probe(out) - shape[index]) ** 2 * gain * w).sum() / norm
        l_pose = (((pose - given[..., :3]) / POSE_SCALE_DEG) ** 2 * w).sum() / norm
        loss = l_latent + training.mouth * l_mouth + training.velocity * l_velocity
        loop.learn(loss + training.alpha * l_pose)
        loop.log(latent=l_latent, mouth=l_mouth, velocity=l_velocity, pose=l_pose)
    return loop.path


def _corr(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.corrcoef(a, b)[0, 1])


@torch.no_grad()
def _measure(
    model: Speech2Latent,
    probe: MouthProbe,
    held_out: HeldOut,
    shape: NDArray[np.float32],
    frames: int,
    hop: int,
    lookahead: int,
) -> dict[str, float]:
    windows, latents = held_out.windows, held_out.latents
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
