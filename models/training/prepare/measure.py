"""What is seen in a clip: a quick survey that places the crop, then every frame inside it.

Faces are measured in the very pictures that training will see, so that pose and landmarks mean the
same in every folder.  Both passes leave their results in the working folder; a clip half measured
goes on where it stopped.

Shapes: K surveyed pictures, T frames of 25 a second, S pixels a side of the crop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.data import DataError
from daetalker.models.training.landmarks import Face
from daetalker.models.training.prepare.crop import Crop
from daetalker.models.training.prepare.source import Clip, pictures

SURVEY_EVERY = 12  # frames: about twice a second
SAVE_EVERY, TICK_EVERY = 500, 25
SURVEY_SIDE = 1280
# A second face counts if its eyes are this far apart, in those of the first.
SECOND_FACE = 0.4
BLOCKS = 32


class Finder(Protocol):
    """What measures faces: `FaceMeter`, or a stand-in."""

    def measure_all(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Every face in ``[S, S, 3]``, the largest first."""


@dataclass(frozen=True)
class Survey:
    """Faces in the whole picture, now and then.

    Attributes:
        number: ``[K]`` frame of each picture looked at.
        box: ``[K, 4]`` left, top, right, bottom of the largest face in pixels; NaN where none is.
        faces: ``[K]`` how many faces of comparable size.
        frames: T, the length of the clip.
    """

    number: NDArray[np.int64]
    box: NDArray[np.float64]
    faces: NDArray[np.int64]
    frames: int

    @property
    def seen(self) -> NDArray[np.float64]:
        """The boxes of the pictures with a face."""
        return self.box[~np.isnan(self.box[:, 0])]


@dataclass(frozen=True)
class Measures:
    """Every frame of a clip, seen through its crop; NaN where no face was found.

    Attributes:
        faces: ``[T]`` how many faces of comparable size.
        landmarks: ``[T, 68, 2]`` in pixels of the crop.
        pose_deg: ``[T, 3]`` yaw, pitch, roll.
        box: ``[T, 4]`` left, top, right, bottom of the face in pixels of the crop.
        opening: ``[T]`` gap of the inner lips in eye distances, as `Face.opening`.
        sharpness: ``[T]`` variance of the Laplacian inside the face, green in 0..255.
        light: ``[T]`` mean green of the face, 0..255.
        change: ``[T]`` mean difference from the frame before, of block means, in 0..1.
        age_s: ``[T]`` for how long the picture had been on screen.
    """

    faces: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    pose_deg: NDArray[np.float32]
    box: NDArray[np.float32]
    opening: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    light: NDArray[np.float32]
    change: NDArray[np.float32]
    age_s: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.faces)


def survey(clip: Clip, finder: Finder, work: Path) -> Survey:
    """Look for faces in the whole picture about twice a second."""
    path = work / f"survey-{clip.key}.npz"
    kept = _read(path)
    if kept is None:
        rows = []
        frames = 0

        def wanted(number: int) -> bool:
            nonlocal frames
            frames = number + 1
            return number % SURVEY_EVERY == 0

        for picture in pictures(clip, wanted):
            faces, scale = _faces_anywhere(picture.rgb, finder)
            box = _box(faces[0].points) * scale if faces else np.full(4, np.nan)
            rows.append((picture.number, box, _comparable(faces)))
        kept = {
            "number": np.array([row[0] for row in rows], np.int64),
            "box": np.array([row[1] for row in rows], np.float64).reshape(-1, 4),
            "faces": np.array([row[2] for row in rows], np.int64),
            "frames": np.array(frames),
        }
        _write_arrays(path, kept)
    return Survey(kept["number"], kept["box"], kept["faces"], int(kept["frames"]))


def measure(
    clip: Clip,
    crop: Crop,
    size: int,
    finder: Finder,
    work: Path,
    tick: Callable[[int], None] = lambda frames: None,
) -> Measures:
    """Measure every frame inside the crop, or take up what an interrupted run measured.

    Args:
        size: pixels a side of the picture measured.
        work: folder of results so far.
        tick: told how many frames of this clip are done, now and then.
    """
    path = work / f"faces-{clip.key}-{crop.left}-{crop.top}-{crop.side}-{size}.npz"
    kept = _read(path) or {"whole": np.array(0)}
    rows: dict[str, list[Any]] = {
        field.name: list(kept.get(field.name, ())) for field in fields(Measures)
    }
    done = len(rows["faces"])
    if not kept["whole"]:
        before: NDArray[np.float64] | None = None
        # One frame more than is needed is read again: the next one is compared with it.
        for picture in pictures(clip, lambda number: number >= done - 1):
            rgb = crop.cut(picture.rgb, size)
            luma = np.ascontiguousarray(rgb[:, :, 1])  # green is most of it, and costs nothing
            blocks = _block_means(luma)
            if picture.number >= done:
                row = _measure_frame(rgb, luma, finder)
                row["change"] = 0.0 if before is None else np.abs(blocks - before).mean() / 255
                row["age_s"] = picture.age_s
                for name, value in row.items():
                    rows[name].append(value)
                if picture.number % SAVE_EVERY == SAVE_EVERY - 1:
                    _write_arrays(path, {"whole": np.array(0), **_arrays(rows)})
                if picture.number % TICK_EVERY == 0:
                    tick(picture.number + 1)
            before = blocks
        _write_arrays(path, {"whole": np.array(1), **_arrays(rows)})
    tick(len(rows["faces"]))
    return Measures(**_arrays(rows))


def _measure_frame(
    rgb: NDArray[np.uint8], luma: NDArray[np.uint8], finder: Finder
) -> dict[str, Any]:
    """What `Measures` says of one frame, without what compares it with others."""
    size = len(rgb)
    faces = finder.measure_all(rgb)
    if not faces:
        nothing = {"landmarks": (68, 2), "pose_deg": (3,), "box": (4,)}
        row: dict[str, Any] = {name: np.full(shape, np.nan) for name, shape in nothing.items()}
        return row | {"faces": 0, "opening": np.nan, "sharpness": np.nan, "light": np.nan}
    face = faces[0]
    box = _box(face.points) * size
    left, top, right, bottom = np.clip(np.round(box).astype(int), 0, size)
    inside = luma[top:bottom, left:right].astype(np.float32)
    return {
        "faces": _comparable(faces),
        "landmarks": face.ibug * size,
        "pose_deg": face.pose_deg,
        "box": box,
        "opening": face.opening,
        "sharpness": _laplacian_variance(inside),
        "light": float(inside.mean()) if inside.size else 0.0,
    }


def _faces_anywhere(rgb: NDArray[np.uint8], finder: Finder) -> tuple[list[Face], float]:
    """Faces in a picture of any shape, and what their coordinates must be multiplied by.

    The detector sees a small square; a face too small in the whole picture may be found in one of
    its overlapping squares.
    """
    height, width = rgb.shape[:2]
    side = max(height, width)
    faces = finder.measure_all(_square(rgb, side))
    if faces or height == width:
        return faces, float(side)
    short = min(height, width)
    for start in sorted({(side - short) // 2, 0, side - short}):
        left, top = (start, 0) if width > height else (0, start)
        tile = np.ascontiguousarray(rgb[top : top + short, left : left + short])
        found = finder.measure_all(_square(tile, short))
        if found:
            move = np.array([left, top, 0], np.float32) / side
            return [Face(f.points * (short / side) + move, f.rotation) for f in found], float(side)
    return [], float(side)


def _square(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """``[H, W, 3]`` padded to a square at its right and lower edge, at most 1280 pixels a side."""
    height, width = rgb.shape[:2]
    padded = np.pad(rgb, ((0, side - height), (0, side - width), (0, 0)))
    return Crop(0, 0, side).cut(padded, min(side, SURVEY_SIDE))


def _comparable(faces: list[Face]) -> int:
    return sum(face.eye_distance >= SECOND_FACE * faces[0].eye_distance for face in faces)


def _box(points: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float64)


def _block_means(luma: NDArray[np.uint8]) -> NDArray[np.float64]:
    step = max(1, len(luma) // BLOCKS)
    whole = len(luma) // step * step
    starts = np.arange(0, whole, step)
    rows = np.add.reduceat(luma[:whole, :whole], starts, axis=0, dtype=np.uint32)
    return np.add.reduceat(rows, starts, axis=1) / step**2


def _laplacian_variance(luma: NDArray[np.float32]) -> float:
    if min(luma.shape) < 3:
        return 0.0
    middle = luma[1:-1, 1:-1]
    edges = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * middle
    return float(edges.var())


def _arrays(rows: dict[str, list[Any]]) -> dict[str, NDArray[np.float32]]:
    return {name: np.asarray(values, np.float32) for name, values in rows.items()}


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    with np.load(path) as stored:
        return dict(stored)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, renamed to ``path`` afterwards: the file is whole or not there.

    Raises:
        DataError: if it cannot be written, as on a full disk.
    """
    partial = path.with_suffix(f".part{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def _write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    with whole_file(path) as partial:
        np.savez(partial, **arrays)
