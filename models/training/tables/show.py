"""The strips and clips of the report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from daetalker.models.training.data import FPS, Person
from daetalker.models.training.probes import spread
from daetalker.models.training.reconstruct import STUDENT, teacher_name
from daetalker.models.training.tables.pictures import (
    Album,
    Clip,
    Picture,
    Strip,
    beside,
    difference,
)
from daetalker.models.training.tables.stretch import Stretch
from daetalker.models.training.tables.table3 import BASELINE
from daetalker.models.training.tables.take import Take

COLUMNS = 6
GAIN = 20.0
STRIP_STEPS = (1, 10, 100)


def add_speech(album: Album, stretch: Stretch, shared: Take | None, steps: int) -> None:
    """Truth, student and the paper's decoder on the stretch; truth and student as a clip."""
    held = stretch.held
    rows: dict[str, Mapping[int, Picture]] = {
        "truth": {f: held.person.frames[f] for f in range(held.count)},
        "student": stretch.pictures,
    }
    if shared is not None:
        rows[f"DDIM, T = {steps}"] = shared.kept
    note = "Speech to picture: neither head nor lips of the true video were given."
    album.add("table1", _strip("Frames of the stretch", note, rows, held.count))
    pairs = [
        beside(held.person.frames[f], picture) for f, picture in sorted(stretch.pictures.items())
    ]
    note = "Left the true video, right ours, which heard only the speech."
    album.add("table1", Clip("True video and student", note, pairs, held.audio))


def add_noise(album: Album, stretch: Stretch, shared: Take, fresh: Take) -> None:
    """The same latents from one x_T and from new noise for each frame."""
    held, both = stretch.held, sorted(shared.kept.keys() & fresh.kept.keys())
    rows: dict[str, Mapping[int, Picture]] = {
        "one x_T": shared.kept,
        "w/o shared x_T": fresh.kept,
        f"difference x {GAIN:g}": {
            f: difference(fresh.kept[f], shared.kept[f], GAIN) for f in both
        },
    }
    note = "The same latents from one shared noise and from new noise for every frame."
    album.add("table2", _strip("x_T shared or not", note, rows, held.count))
    pairs = [beside(shared.kept[f], fresh.kept[f]) for f in both]
    note = "Left from the shared x_T, right from new noise for every frame."
    album.add("table2", Clip("With and without the shared x_T", note, pairs, held.audio))


class Shown:
    """Pictures of decoders by name and frame, as `reconstruction` hands them out."""

    def __init__(self) -> None:
        self.pictures: dict[str, dict[int, Picture]] = {}

    def __call__(self, name: str, index: int, rgb: Picture) -> None:
        self.pictures.setdefault(name, {})[index] = rgb


def reconstruction_strip(person: Person, shown: Shown) -> Strip:
    """Frames that came back from their latents, under the true ones."""
    pictures = shown.pictures
    indices = sorted(next(iter(pictures.values()), {}))
    indices = [indices[i] for i in spread(len(indices), COLUMNS)]
    order = [STUDENT, *map(teacher_name, STRIP_STEPS), BASELINE]
    rows = [("truth", [np.asarray(person.frames[i]) for i in indices])]
    rows += [(name, [pictures[name][i] for i in indices]) for name in order if name in pictures]
    columns = [_at(i) for i in indices]
    note = "Each true frame through the encoder and back; the baseline from its landmarks alone."
    return Strip("Frames and what came back", note, columns, rows)


def _strip(title: str, note: str, rows: Mapping[str, Mapping[int, Picture]], count: int) -> Strip:
    indices = [
        int(i) for i in spread(count, COLUMNS) if all(int(i) in row for row in rows.values())
    ]
    shown = [(name, [np.asarray(row[i]) for i in indices]) for name, row in rows.items()]
    return Strip(title, note, [_at(i) for i in indices], shown)


def pose_strip(pictures: Mapping[str, list[Picture]]) -> Strip:
    """The first pictures of each specified pose."""
    count = min((len(row) for row in pictures.values()), default=0)
    rows = [(name, row[:count]) for name, row in pictures.items()]
    note = "The same avatar told to hold a pose while speaking."
    return Strip("Specified poses", note, [""] * count, rows)


def _at(frame: int) -> str:
    return f"{frame / FPS:.2f} s"
