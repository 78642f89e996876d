"""A short stretch of a set, and pictures played once more: of the student, of the true video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.tables.held import Held
from daetalker.models.training.tables.take import Picture, Take


@dataclass(frozen=True)
class Replayed:
    """A picture that is there already, as a frame of a synthesis."""

    index: int
    rgb: Picture
    latent: NDArray[np.float32] = field(default_factory=lambda: np.zeros(1, np.float32))
    speaking: bool = True
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)


def true_frames(held: Held, indices: Sequence[int]) -> Iterator[Replayed]:
    """These frames of the true video."""
    for f in indices:
        yaw, pitch, roll = (float(angle) for angle in held.person.pose_deg[f])
        yield Replayed(f, np.ascontiguousarray(held.person.frames[f]), pose=(yaw, pitch, roll))


class Stretch:
    """A short piece of a set and what the student showed on it."""

    def __init__(self, held: Held, frames: range, student: Take) -> None:
        self.frames = frames
        self.held = held.cut(frames.start, len(frames))
        self.latents = student.latents[frames.start : frames.stop]
        self.speaking = student.speaking[frames.start : frames.stop]
        self.pictures = {f - frames.start: rgb for f, rgb in student.kept.items() if f in frames}

    def student(self) -> Iterator[Replayed]:
        """The student's frames once more."""
        for f, rgb in sorted(self.pictures.items()):
            yield Replayed(f, rgb, self.latents[f], bool(self.speaking[f]))
