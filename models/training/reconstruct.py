"""Held-out frames through a bundle's encoder and decoders: PSNR, SSIM and LPIPS.

Shapes: N frames, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.models.ddim_numpy import ddim_sample
from daetalker.models.training.data import MOUTH, Person
from daetalker.models.training.landmarks import MeasureError
from daetalker.models.training.probes import mean, spread
from daetalker.models.training.progress import track

Image = NDArray[np.float32]
Scores = dict[str, float]
Score = Callable[[Image, Image], Scores]
# Called with a decoder's name, a frame and its picture [S, S, 3] uint8.
Show = Callable[[str, int, NDArray[np.uint8]], None]

STUDENT = "student"
KEYS = ("psnr_db", "ssim", "lpips", "mouth_psnr_db")
TEACHER_BATCH = 4


class Network:
    """One ONNX network of a bundle on the CPU: positional inputs, one output."""

    def __init__(self, bundle: AvatarBundle, name: str, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            str(bundle.network(name)), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [i.name for i in self._session.get_inputs()]

    def __call__(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        feeds = dict(zip(self._inputs, arrays, strict=True))
        output: NDArray[Any] = self._session.run(None, feeds)[0]
        return output


def make_score(lpips_weights: Path) -> Score:
    """A function that compares two pictures ``[S, S, 3]`` in [-1, 1]: psnr_db, ssim, lpips.

    Raises:
        MeasureError: if torch, safetensors or the weights are missing.
    """
    try:
        import torch

        from daetalker.models.training.metrics import Lpips, psnr_db, ssim
    except ImportError as error:
        raise MeasureError(
            'comparing pictures needs torch; run: pip install "daetalker[train]"'
        ) from error
    if not lpips_weights.is_file():
        raise MeasureError(
            f"no LPIPS weights at {lpips_weights}; pass the path of lpips_alex_v0.1.safetensors"
        )
    lpips = Lpips(lpips_weights).eval()

    def score(a: Image, b: Image) -> Scores:
        with torch.inference_mode():
            x, y = (torch.from_numpy(im.transpose(2, 0, 1)[None].copy()) for im in (a, b))
            return {
                "psnr_db": float(psnr_db(x, y)),
                "ssim": float(ssim(x, y)),
                "lpips": float(lpips(x, y)),
            }

    return score


def reconstruction(
    bundle: AvatarBundle,
    person: Person,
    score: Score,
    *,
    frames: int,
    teacher_frames: int,
    teacher_steps: Sequence[int] = (50,),
    threads: int = 2,
    show: Show = lambda name, index, rgb: None,
) -> dict[str, Any]:
    """Mean figures of the student, of the teacher, and of the student on the teacher's frames.

    Frames are evenly spaced over the folder.  A bundle without encoder, or without teacher, leaves
    None in the keys that need it.

    Args:
        show: is given the pictures of the ``teacher_frames``: `STUDENT`'s and, named by
            `teacher_name`, the teacher's.

    Returns:
        ``psnr_db``, ``ssim``, ``lpips``, ``mouth_psnr_db`` (a square of a quarter of the side
        around the mouth), the same after ``teacher_`` for the first of ``teacher_steps`` and after
        ``teacher_N_steps_`` for the others, and ``student_on_teacher_frames`` with all of them.
    """
    total, files = len(person.frames), bundle.manifest.files
    few = [int(i) for i in spread(total, teacher_frames)]
    many = [int(i) for i in spread(total, frames)]
    result: dict[str, Any] = dict.fromkeys([*KEYS, *(f"teacher_{key}" for key in KEYS)])
    result |= {"reconstruction_frames": 0, "teacher_frames": 0, "student_on_teacher_frames": None}
    if "encoder.onnx" not in files:
        return result
    encoder = Network(bundle, "encoder", threads)
    student = Network(bundle, "student", threads)

    def through_student(index: int, show: Show = lambda name, index, rgb: None) -> Scores:
        truth = to_unit(person.frames[index])
        latent = encoder(truth.transpose(2, 0, 1)[None].copy())
        rgb = student(latent)[0]  # one frame a call, as the stream does it
        show(STUDENT, index, rgb)
        return compare(to_unit(rgb), truth, person, index, score)

    result |= means([through_student(i) for i in track(many, "student", len(many))])
    result["reconstruction_frames"] = len(many)
    if "teacher.onnx" not in files or not few:
        return result
    result["student_on_teacher_frames"] = means([through_student(i, show) for i in few])
    result |= {"teacher_frames": len(few), "teacher_steps": teacher_steps[0]}
    teacher = Network(bundle, "teacher", threads)
    for number, steps in enumerate(teacher_steps):
        scores = _teacher_scores(bundle, person, few, score, encoder, teacher, steps, show)
        prefix = "teacher_" if number == 0 else f"teacher_{steps}_steps_"
        result |= {prefix + key: value for key, value in means(scores).items()}
    return result


def _teacher_scores(
    bundle: AvatarBundle,
    person: Person,
    indices: list[int],
    score: Score,
    encoder: Network,
    teacher: Network,
    steps: int,
    show: Show,
) -> list[Scores]:
    """DDIM from the bundle's x_T; the result is rounded to 8 bits as a shown frame would be."""
    noise, scores = bundle.noise(), []
    batches = [indices[i : i + TEACHER_BATCH] for i in range(0, len(indices), TEACHER_BATCH)]
    for batch in track(
        batches, f"teacher, {steps} steps, batches of {TEACHER_BATCH}", len(batches)
    ):
        truth = to_unit(person.frames[batch])
        latents = encoder(truth.transpose(0, 3, 1, 2).copy())

        def run(x_t: Image, t: NDArray[np.int64], c: NDArray[np.float32] = latents) -> Image:
            x0: Image = teacher(x_t, t, c)
            return x0

        start = np.repeat(noise, len(batch), axis=0)
        images = ddim_sample(run, start, steps, bundle.manifest.diffusion_steps)
        levels = np.rint((images.transpose(0, 2, 3, 1) + 1.0) * 127.5).clip(0, 255)
        for rgb, wanted, index in zip(levels.astype(np.uint8), truth, batch, strict=True):
            show(teacher_name(steps), index, rgb)
            scores.append(compare(to_unit(rgb), wanted, person, index, score))
    return scores


def teacher_name(steps: int) -> str:
    """What the pictures of so many DDIM steps are called."""
    return f"T = {steps}"


def compare(shown: Image, truth: Image, person: Person, index: int, score: Score) -> Scores:
    """Figures of one picture ``[S, S, 3]`` in [-1, 1], by `KEYS`."""
    size = truth.shape[0]
    side = max(size // 4, 1)
    x, y = person.landmarks[index, MOUTH].mean(0) - side / 2
    left, top = (int(np.clip(round(float(v)), 0, size - side)) for v in (x, y))
    crop = np.s_[top : top + side, left : left + side]
    error = max(float(((shown[crop] - truth[crop]) ** 2).mean()), 1e-12)
    return {**score(shown, truth), "mouth_psnr_db": 10.0 * float(np.log10(4.0 / error))}


def means(scores: Sequence[Scores]) -> dict[str, float]:
    """The mean of each of `KEYS`."""
    return {key: mean([s[key] for s in scores]) for key in KEYS}


def to_unit(rgb: NDArray[np.uint8]) -> Image:
    """uint8 to float32 in [-1, 1], any shape."""
    return rgb.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
