"""Held-out material of one set, and what is measured on its true video.

T frames, S pixels a side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daetalker.models.training import lips
from daetalker.models.training.data import (
    FPS,
    SAMPLES_PER_FRAME,
    DataError,
    Person,
    load_person,
)
from daetalker.models.training.landmarks import Face
from daetalker.models.training.probes import Audio, spread

STILL_LEVELS = 1.5
STILL_SHARE = 0.2
EXACT, MEASURED = "ground truth", "MediaPipe"


@dataclass(frozen=True)
class Held:
    """What is measured of a set: T frames of it.

    Attributes:
        name: in tables and progress.
        whole: all of the set, for what needs no speech.
        person: exactly T frames of it and 640 T samples.
        truth: `EXACT` if landmarks and pose are known, `MEASURED` if `prepare` measured them.
        phones: empty if the set has no ``phones.csv``.
        still: ``[S, S]`` True where the true video does not move but for compression noise.
        faces: measured on the true video, by frame; not every frame need be there.
        shut: the lip opening under which lips count as shut, see `lips.shut_threshold`; NaN if
            there is no saying.
    """

    name: str
    whole: Person
    person: Person
    truth: str
    phones: list[lips.Phone]
    still: NDArray[np.bool_]
    faces: dict[int, Face]
    shut: float = float("nan")

    @property
    def count(self) -> int:
        """T."""
        return len(self.person.frames)

    @property
    def audio(self) -> Audio:
        """``[640 T]``."""
        return self.person.audio

    def cut(self, start: int, count: int) -> Held:
        """``count`` frames from ``start`` on, as a set of their own."""
        stop, person = start + count, self.person
        first_s = start / FPS
        return replace(
            self,
            person=Person(
                person.frames[start:stop],
                person.audio[start * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME],
                person.pose_deg[start:stop],
                person.landmarks[start:stop],
                _starts(person.segment_starts, start, stop),
            ),
            phones=[
                lips.Phone(p.start_s - first_s, p.end_s - first_s, p.name)
                for p in self.phones
                if p.start_s >= first_s and p.end_s * FPS <= stop
            ],
            faces={f - start: face for f, face in self.faces.items() if start <= f < stop},
        )

    def loudest(self, seconds: float) -> tuple[int, int]:
        """First frame and length of the ``seconds`` with the most sound, on a grid of 0.4 s."""
        count = min(int(seconds * FPS), self.count)
        energy = (self.audio.astype(np.float64) ** 2).reshape(self.count, -1).sum(1)
        total = np.concatenate([[0.0], np.cumsum(energy)])
        starts = np.arange(0, self.count - count + 1, FPS * 2 // 5)
        return int(starts[(total[starts + count] - total[starts]).argmax()]), count


def load_held(folder: Path, name: str, size: int, cache: Path, seconds: float) -> Held:
    """The first ``seconds`` of a set, called ``name``, nothing measured yet.

    Raises:
        DataError: if the folder is unusable or too short.
    """
    person = load_person(folder, size, cache)
    table = folder / "phones.csv"
    phones = lips.read_phones(table) if table.is_file() else []
    count = min(len(person.frames), len(person.audio) // SAMPLES_PER_FRAME, int(seconds * FPS))
    if count < 2 * FPS:
        raise DataError(f"{folder} is too short to measure: {count} frames, at least 50 are needed")
    spread_levels = person.frames[spread(count, 60)][..., 1].astype(np.float32).std(axis=0)
    # A noisy camera leaves nothing under the level: its calmest part then.
    calm = max(STILL_LEVELS, float(np.quantile(spread_levels, STILL_SHARE)))
    prepared = any((place / "prepare.json").is_file() for place in (folder, folder.parent))
    return Held(
        name=name,
        whole=person,
        person=person.first(count),
        truth=MEASURED if prepared else EXACT,
        phones=[p for p in phones if p.end_s * FPS <= count],
        still=spread_levels <= calm,
        faces={},
    )


def calibration_frames(held: Held) -> list[int]:
    """One second in four, and around p, b, m and pauses.

    They calibrate what counts as shut and give the measure's own ceilings and floors.
    """
    wanted = np.arange(held.count) % (4 * FPS) < FPS
    bilabial = [p for p in held.phones if p.name in lips.BILABIAL]
    wanted |= lips.mask_of(bilabial, held.count, widen=1)
    wanted |= lips.mask_of(lips.pauses(held.phones), held.count, widen=1)
    return [int(f) for f in np.flatnonzero(wanted)]


def with_faces(held: Held, faces: dict[int, Face]) -> Held:
    """The same with faces measured on the true video, and what they say about shut lips."""
    opening = np.full(held.count, np.nan)
    for f, face in faces.items():
        opening[f] = face.opening
    return replace(held, faces=faces, shut=lips.shut_threshold(opening, held.phones))


def _starts(starts: NDArray[np.int64], first: int, stop: int) -> NDArray[np.int64]:
    inside = starts[(starts > first) & (starts < stop)] - first
    return np.concatenate([np.zeros(1, np.int64), inside])
