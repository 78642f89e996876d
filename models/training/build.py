"""Export: trained stages to an avatar bundle (`models/bundle.py`)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from daetalker.models.acoustic import WhisperEncoder
from daetalker.models.autoencoder import DiffusionAutoencoder
from daetalker.models.bundle import AXES, EMBEDDED, load_bundle, write_manifest
from daetalker.models.consent import Consent, lacking
from daetalker.models.manifest import NATURAL_STEP_DEG, NATURAL_STEP_RANGE_DEG
from daetalker.models.paper_autoencoder import PaperAutoencoder
from daetalker.models.speech2latent import Speech2Latent
from daetalker.models.still import add_preview
from daetalker.models.student import FrameDecoder, Student
from daetalker.models.training.data import SAMPLES_PER_FRAME, DataError
from daetalker.models.training.export import Storage, export_onnx
from daetalker.models.training.quantise import quantise_decoder, quantise_products
from daetalker.models.wav2vec import SamplesToFeatures

# Its licence asks to be named wherever the network goes.
WHISPER = "Acoustic encoder: Whisper tiny.en, OpenAI, MIT licence"
WHISPER_LICENCE = EMBEDDED / "mira" / "Whisper-LICENSE.txt"


@dataclass(frozen=True)
class BundleText:
    """What a person has to say about an avatar; nothing here is guessed."""

    name: str
    label: str
    licence: str
    consent: Consent
    synthetic: bool
    attributions: tuple[str, ...]
    licence_files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Storages:
    """Weight storage of each network in the bundle; arithmetic is float32 in all of them.

    The student is not among them: its convolutions compute in int8 (`quantise.py`).
    """

    acoustic: Storage = "int8"
    speech: Storage = "float16"
    latent: Storage = "float16"
    encoder: Storage = "int8"
    teacher: Storage = "int8"


PRESETS: tuple[dict[str, Any], ...] = (
    {"name": "straight", "label": "Straight", "yaw": 0.0, "pitch": 0.0, "roll": 0.0},
    {"name": "left", "label": "Left", "yaw": 20.0, "pitch": 0.0, "roll": 0.0},
    {"name": "right", "label": "Right", "yaw": -20.0, "pitch": 0.0, "roll": 0.0},
    {"name": "up", "label": "Up", "yaw": 0.0, "pitch": 10.0, "roll": 0.0},
    {"name": "down", "label": "Down", "yaw": 0.0, "pitch": -10.0, "roll": 0.0},
    {"name": "tilt", "label": "Tilt", "yaw": 8.0, "pitch": 2.0, "roll": 8.0},
)


@dataclass(frozen=True)
class Trained:
    """The networks of one avatar, averaged weights, and what the person did in training.

    Attributes:
        pose_deg: ``[T, 3]`` yaw, pitch, roll.
        latents: ``[N, 512]`` typical ones.
        segment_starts: ``[N]`` first frame of every contiguous piece of the video.
    """

    auto: DiffusionAutoencoder | PaperAutoencoder
    student: Student
    speech: Speech2Latent
    acoustic: WhisperEncoder | SamplesToFeatures
    pose_deg: np.ndarray = field(repr=False)
    latents: np.ndarray = field(repr=False)
    segment_starts: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64), repr=False)


class _Listen(nn.Module):
    def __init__(self, model: Speech2Latent) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.listen(features)


class _Speak(nn.Module):
    def __init__(self, model: Speech2Latent) -> None:
        super().__init__()
        self.model = model

    def forward(self, hidden: Tensor, control: Tensor) -> Tensor:
        return self.model.speak(hidden, control)


def pose_range(pose_deg: np.ndarray) -> dict[str, list[float]]:
    """0.5 % to 99.5 % of each angle in training, in half degrees, at least half a degree wide."""
    low, high = np.percentile(pose_deg, [0.5, 99.5], axis=0)
    halves = [(round(2 * float(a)), round(2 * float(b))) for a, b in zip(low, high, strict=True)]
    return {
        axis: [first / 2, max(last, first + 1) / 2]
        for axis, (first, last) in zip(AXES, halves, strict=True)
    }


def natural_step(pose_deg: np.ndarray, segment_starts: np.ndarray) -> float:
    """99th percentile of the head's step from one frame to the next, in degrees.

    Cuts are no steps.
    """
    steps = np.linalg.norm(np.diff(pose_deg.astype(np.float64), axis=0), axis=1)
    cuts = segment_starts[(segment_starts > 0) & (segment_starts < len(pose_deg))]
    steps = np.delete(steps, cuts - 1)
    if not steps.size:
        return NATURAL_STEP_DEG
    return round(float(np.clip(np.percentile(steps, 99), *NATURAL_STEP_RANGE_DEG)), 3)


def presets_within(limits: dict[str, list[float]]) -> list[dict[str, Any]]:
    """The usual presets, drawn in where this person never turned the head so far."""
    return [
        {
            **preset,
            **{axis: min(max(preset[axis], limits[axis][0]), limits[axis][1]) for axis in AXES},
        }
        for preset in PRESETS
    ]


def export_bundle(
    trained: Trained,
    folder: Path,
    text: BundleText,
    figures: dict[str, Any],
    storages: Storages | None = None,
    frames: int = 50,
    hop: int = 4,
    lookahead: int = 3,
) -> Path:
    """Write networks, x_T, licences, preview and manifest into ``folder`` (replaced if there).

    Raises:
        DataError: if nobody has said who agreed to what.
    """
    if problem := lacking(text.consent, text.synthetic):
        raise DataError(f"the description of '{text.name}' does not say {problem}")
    storages = storages or Storages()
    auto, size, latent = trained.auto.eval(), trained.auto.size, trained.auto.latent
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    features = torch.zeros(1, 2 * frames, trained.acoustic.width)
    hidden = torch.zeros(1, frames, trained.speech.cfg.width)
    image = torch.zeros(1, 3, size, size)
    heard = {"mel": torch.zeros(1, 80, 4 * frames)}
    if isinstance(trained.acoustic, SamplesToFeatures):
        heard = {"samples": torch.zeros(1, frames * SAMPLES_PER_FRAME)}

    def write(name: str, module: nn.Module, inputs: dict[str, Tensor], out: list[str]) -> None:
        free = name in ("student", "encoder", "teacher")
        storage: Storage = getattr(storages, name, "float32")
        export_onnx(module, inputs, out, folder / f"{name}.onnx", storage, batch=free)

    write("acoustic", trained.acoustic, heard, ["features"])
    write("speech", _Listen(trained.speech), {"features": features}, ["hidden", "pose"])
    control = torch.zeros(1, frames, 4)
    write("latent", _Speak(trained.speech), {"hidden": hidden, "control": control}, ["latents"])
    write("student", FrameDecoder(trained.student), {"latent": torch.zeros(1, latent)},
          ["frame"])  # fmt: skip
    quantise_decoder(folder / "student.onnx", trained.latents)
    products = ["speech", "latent"]
    if isinstance(trained.acoustic, WhisperEncoder):  # other front-ends have not been measured
        products.append("acoustic")
    for name in products:
        quantise_products(folder / f"{name}.onnx")
    write("encoder", auto.encoder, {"image": image}, ["latent"])
    noisy = {"x_t": image, "t": torch.zeros(1, dtype=torch.long), "latent": torch.zeros(1, latent)}
    write("teacher", auto.clean_image(), noisy, ["x0"])
    np.save(folder / "x_T.npy", auto.x_T.numpy().astype(np.float16))
    attributions, licence_files = text.attributions, text.licence_files
    if isinstance(trained.acoustic, WhisperEncoder) and not any(
        "Whisper" in a for a in attributions
    ):
        attributions = (*attributions, WHISPER)
        licence_files = (*licence_files, WHISPER_LICENCE)
    for file in licence_files:
        shutil.copyfile(file, folder / file.name)
    limits = pose_range(trained.pose_deg)
    write_manifest(
        folder,
        {
            "name": text.name,
            "label": text.label,
            "size": size,
            "fps": 25,
            "window_frames": frames,
            "hop_frames": hop,
            "lookahead_frames": lookahead,
            "latent": latent,
            "hidden": trained.speech.cfg.width,
            "diffusion_steps": auto.schedule.steps,
            "pose_range_deg": limits,
            "presets": presets_within(limits),
            "figures": figures,
            "licence": text.licence,
            "attributions": list(attributions),
            "synthetic": text.synthetic,
            "consent": text.consent,
            "natural_step_deg": natural_step(trained.pose_deg, trained.segment_starts),
        },
    )
    add_preview(load_bundle(folder))
    return folder
