"""One pass over a synthesis, every frame measured once: what all its figures are computed from.

T frames, S pixels a side, D latent.  NaN stands for "not measured".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.landmarks import MOUTH_POINTS, Face
from daetalker.models.training.probes import Frame, Meter, mean
from daetalker.models.training.progress import track
from daetalker.models.training.sync import SyncCollector

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]


class RememberingMeter:
    """A meter that measures a picture once, however many ask for it one after the other."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._picture: Picture | None = None
        self._face: Face | None = None

    def measure(self, rgb: Picture) -> Face | None:
        """See `FaceMeter.measure`; the picture must not be written to in between."""
        if rgb is not self._picture:
            self._face, self._picture = self._meter.measure(rgb), rgb
        return self._face


@dataclass(frozen=True)
class Take:
    """T frames of a synthesis, or of the true video, measured.

    Attributes:
        faces: by frame; a frame without a face is not there.
        asked_deg: ``[T, 3]`` the pose that the synthesis was told to show.
        latents: ``[T, D]``.
        speaking: ``[T]``.
        change: ``[T]`` mean change of the still regions since the frame before, levels of 255.
        flicker: ``[T]`` mean second difference of the whole picture around a frame, levels.
        kept: pictures by frame, those that were asked for.
        sync: what hears and sees the frames, see `sync.SyncCollector`; None if nothing does.
    """

    faces: dict[int, Face]
    asked_deg: Floats
    latents: NDArray[np.float32]
    speaking: NDArray[np.bool_]
    change: Floats
    flicker: Floats
    kept: dict[int, Picture] = field(default_factory=dict)
    sync: SyncCollector | None = None

    @property
    def shown(self) -> NDArray[np.bool_]:
        """``[T]`` True where there was a frame."""
        return np.isfinite(self.latents[:, 0])

    @cached_property
    def opening(self) -> Floats:
        """``[T]`` of the lips, see `Face.opening`."""
        return self._of_faces(lambda face: face.opening)

    @cached_property
    def mouth(self) -> Floats:
        """``[T, 20, 2]``, see `Face.mouth`."""
        return self._of_faces(lambda face: face.mouth, len(MOUTH_POINTS), 2)

    @cached_property
    def pose_deg(self) -> Floats:
        """``[T, 3]`` measured."""
        return self._of_faces(lambda face: face.pose_deg, 3)

    @property
    def latent_steps(self) -> Floats:
        """``[T]`` the L2 step of the latent from frame f - 1 to f."""
        steps = np.linalg.norm(np.diff(self.latents.astype(np.float64), axis=0), axis=1)
        return np.concatenate([[np.nan], steps])

    @property
    def jitter_levels(self) -> float:
        """Mean change from frame to frame where the true video does not move."""
        return mean(self.change[np.isfinite(self.change)])

    @property
    def flicker_levels(self) -> float:
        """Mean second difference of the whole picture: what jumps there and back."""
        return mean(self.flicker[np.isfinite(self.flicker)])

    @property
    def pose_jerk_deg(self) -> float:
        """Mean absolute second difference of the measured pose, degrees a frame squared."""
        second = np.abs(np.diff(self.pose_deg, n=2, axis=0))
        return mean(second[np.isfinite(second)])

    def _of_faces(self, read: Callable[[Face], Any], *shape: int) -> Floats:
        values = np.full((len(self.latents), *shape), np.nan)
        for index, face in self.faces.items():
            values[index] = read(face)
        return values


def record(
    frames: Iterable[Frame],
    meter: Meter,
    count: int,
    still: NDArray[np.bool_],
    label: str,
    *,
    sync: SyncCollector | None = None,
    sync_frames: int | None = None,
    keep: Collection[int] = (),
) -> Take:
    """Take ``count`` frames, one by one as they come; no pictures but ``keep`` are held.

    Args:
        sync: is given the first ``sync_frames`` frames, or all.
        still: ``[S, S]`` True where the true video does not move.
        label: for the line of progress.
    """
    kept, heard = set(keep), count if sync_frames is None else sync_frames
    take: Take | None = None
    recent: list[tuple[int, NDArray[Any]]] = []
    for frame in track(frames, label, count):
        f = frame.index
        if not 0 <= f < count:
            continue
        if take is None:
            take = _empty(count, frame.latent.shape[-1], sync)
        take.latents[f], take.asked_deg[f] = frame.latent, frame.pose
        take.speaking[f] = frame.speaking
        rgb = frame.rgb
        face = meter.measure(rgb)
        if face is not None:
            take.faces[f] = face
        if sync is not None and f < heard:
            sync.add(f, rgb)
        if f in kept:
            take.kept[f] = rgb.copy()
        recent = [*recent[-2:], (f, getattr(frame, "exact", rgb))]
        _compare(take, recent, still)
    return take if take is not None else _empty(count, 1, sync)


def _compare(take: Take, recent: list[tuple[int, NDArray[Any]]], still: NDArray[np.bool_]) -> None:
    """Note how the newest picture differs from the two before, if those are its neighbours."""
    f, newest = recent[-1]
    if len(recent) < 2 or recent[-2][0] != f - 1:
        return
    step = newest.astype(np.float32) - recent[-2][1]
    take.change[f] = float(np.abs(step[still]).mean()) if still.any() else np.nan
    if len(recent) == 3 and recent[0][0] == f - 2:
        before = recent[1][1].astype(np.float32) - recent[0][1]
        take.flicker[f - 1] = float(np.abs(step - before).mean())


def _empty(count: int, latent: int, sync: SyncCollector | None) -> Take:
    def missing(*shape: int) -> Floats:
        return np.full((count, *shape), np.nan)

    return Take(
        faces={},
        asked_deg=missing(3),
        latents=np.full((count, latent), np.nan, np.float32),
        speaking=np.zeros(count, bool),
        change=missing(),
        flicker=missing(),
        sync=sync,
    )
