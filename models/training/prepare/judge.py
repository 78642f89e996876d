"""Which frames of a clip can be learnt from, and in which pieces.

Shapes: T frames of 25 a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.data import FPS
from daetalker.models.training.prepare.measure import Measures, Survey
from daetalker.models.training.prepare.sound import Sound

# In the order in which they are asked: a frame is dropped for the first that holds.
REASONS = (
    "no face",
    "two faces",
    "cut",
    "out of the crop",
    "profile",
    "blur",
    "frozen picture",
    "no audio",
    "clipped audio",
    "piece too short",
)
KEPT = -1


@dataclass(frozen=True)
class Limits:
    """What is still good enough.

    Attributes:
        yaw_deg: beyond it the far half of the face is hidden.
        sharpness: share of the clip's median `Measures.sharpness` below which a frame is blurred.
        change: difference from the frame before that no movement makes; a cut does.
        jump: move of the face between two frames, in face widths, that no head makes.
        outside: share of the face's height that may stick out of the crop.
        growth: face height over the clip's median, or under, that means another shot.
        age_s: how long a picture may have been on screen: longer, and the camera lost some.
        clipped: share of samples at full scale, over 0.2 s.
        piece_s: pieces shorter than this are no use for windows of 2 s.
    """

    yaw_deg: float = 50.0
    sharpness: float = 0.3
    change: float = 0.1
    jump: float = 0.25
    outside: float = 0.05
    growth: float = 1.4
    age_s: float = 0.15
    clipped: float = 0.02
    piece_s: float = 1.0


def judge(
    seen: Measures,
    heard: Sound,
    looked: Survey,
    size: int,
    limits: Limits = Limits(),
) -> NDArray[np.int64]:
    """``[T]`` the index in `REASONS` of what is wrong with each frame, or `KEPT`.

    Args:
        looked: the survey of the whole picture, for a second person beside the crop.
        size: pixels a side of the crop.
    """
    tall = seen.box[:, 3] - seen.box[:, 1]
    usual = _median(tall)
    with np.errstate(invalid="ignore"):  # NaN where there is no face: every comparison is false
        sticks_out = np.maximum(-seen.box[:, :2], seen.box[:, 2:] - size).max(1)
        wrong = {
            "no face": seen.faces < 1,
            "two faces": (seen.faces > 1) | _beside(looked, len(seen)),
            "cut": _cuts(seen, limits),
            "out of the crop": (sticks_out > limits.outside * usual)
            | (np.maximum(tall / usual, usual / tall) > limits.growth),
            "profile": np.abs(seen.pose_deg[:, 0]) > limits.yaw_deg,
            "blur": seen.sharpness < limits.sharpness * _median(seen.sharpness),
            "frozen picture": seen.age_s > limits.age_s,
            "no audio": heard.covered <= 0,
            "clipped audio": _mean_over(heard.clipped, 5) > limits.clipped,
        }
    verdict = np.full(len(seen), KEPT, np.int64)
    for index in range(len(REASONS) - 2, -1, -1):
        verdict[wrong[REASONS[index]]] = index
    for start, stop in pieces(verdict):
        if stop - start < limits.piece_s * FPS:
            verdict[start:stop] = REASONS.index("piece too short")
    return verdict


def pieces(verdict: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Runs of kept frames as (first, one past the last)."""
    steps = np.diff(np.concatenate([[0], (verdict == KEPT).astype(np.int64), [0]]))
    begins, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return [(int(start), int(stop)) for start, stop in zip(begins, ends, strict=True)]


def _cuts(seen: Measures, limits: Limits) -> NDArray[np.bool_]:
    """``[T]`` the last frame before a jump of picture or face, and the first after it."""
    middle = (seen.box[:, :2] + seen.box[:, 2:]) / 2
    wide = _median(seen.box[:, 2] - seen.box[:, 0])
    jump = np.zeros(len(seen), np.bool_)
    if len(seen) > 1:
        far = np.linalg.norm(np.diff(middle, axis=0), axis=1) > limits.jump * wide
        jump[1:] = far | (seen.change[1:] > limits.change)
        jump[:-1] |= jump[1:].copy()
    return jump


def _beside(looked: Survey, frames: int) -> NDArray[np.bool_]:
    """``[T]`` whether the nearest surveyed picture holds two faces."""
    if not len(looked.number):
        return np.zeros(frames, np.bool_)
    edges = (looked.number[1:] + looked.number[:-1]) / 2
    nearest = np.searchsorted(edges, np.arange(frames))
    beside: NDArray[np.bool_] = looked.faces[nearest] > 1
    return beside


def _mean_over(values: NDArray[np.float32], frames: int) -> NDArray[np.float64]:
    """``[T]`` running mean, centred, over an odd number of frames."""
    padded = np.pad(values.astype(np.float64), frames // 2, mode="edge")
    return np.convolve(padded, np.full(frames, 1 / frames), mode="valid")


def _median(values: NDArray[Any]) -> float:
    there = values[~np.isnan(values)]
    return float(np.median(there)) if there.size else 1.0
