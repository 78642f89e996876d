"""The landmark baseline of Table 3: the nearest training frame, warped onto the target's landmarks.

The paper's baseline is MakeItTalk's image generator, whose weights cannot be had here.  This one
knows as much as any method whose intermediate representation is landmarks, and needs no network:
the training frame whose 68 landmarks are nearest is moved, triangle by triangle, to where the
target's landmarks are.  S pixels a side; pixel centres lie at .5.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from matplotlib.tri import Triangulation
from numpy.typing import NDArray

from daetalker.models.training.data import SET_FILES, DataError

Points = NDArray[np.float32]
Picture = NDArray[np.uint8]

EDGE = 1.0


@dataclass(frozen=True)
class References:
    """A training set as far as the baseline needs it; frames are decoded when asked for.

    Attributes:
        landmarks: ``[T, 68, 2]`` in pixels of ``size``.
    """

    video: Path
    size: int
    landmarks: Points

    @classmethod
    def load(cls, folder: Path, size: int) -> References:
        """Read a set's landmarks.

        Raises:
            DataError: if the folder is not a set.
        """
        for name in SET_FILES:
            if not (folder / name).is_file():
                raise DataError(
                    f"--references {folder} is not a training set: {name} is missing; "
                    "name the folder `train` that belongs to the data"
                )
        with np.load(folder / "truth.npz") as truth:
            landmarks = truth["landmarks"].astype(np.float32)
        with av.open(str(folder / "video.mp4")) as container:
            native = container.streams.video[0].width
        return cls(folder / "video.mp4", size, landmarks * np.float32(size / native))

    def nearest(self, landmarks: Points) -> int:
        """The frame whose landmarks are nearest to ``landmarks [68, 2]``, by mean square."""
        apart = ((self.landmarks - landmarks) ** 2).mean((1, 2))
        return int(apart.argmin())

    def frames(self, indices: Collection[int]) -> dict[int, Picture]:
        """These frames, ``[S, S, 3]`` each, in one pass over the video.

        Raises:
            DataError: if the video ends before.
        """
        wanted, found = set(indices), dict[int, Picture]()
        with av.open(str(self.video)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for index, frame in enumerate(container.decode(video=0)):
                if index in wanted:
                    rgb = frame.to_ndarray(
                        format="rgb24", width=self.size, height=self.size, interpolation="AREA"
                    )
                    found[index] = rgb.astype(np.uint8, copy=False)
                    if len(found) == len(wanted):
                        return found
        raise DataError(f"{self.video} ends before frame {max(wanted)}")


def warp(source: Picture, source_points: Points, target_points: Points) -> Picture:
    """Move ``source [S, S, 3]`` so that its landmarks ``[68, 2]`` come to lie on the target's.

    Affine inside each triangle of a Delaunay triangulation of the target's landmarks, the corners
    and the middles of the edges, which stay where they are.
    """
    size = source.shape[0]
    middle = size / 2
    border = np.array(
        [(x, y) for x in (0, middle, size) for y in (0, middle, size) if (x, y) != (middle,) * 2]
    )
    inside = np.clip(target_points.astype(np.float64), EDGE, size - EDGE)
    points = np.concatenate([border, inside])
    origins = np.concatenate([border, source_points.astype(np.float64)])
    # Landmarks may coincide, shut lips above all; one corner of a triangle can have one origin.
    _, first = np.unique(points.round(3), axis=0, return_index=True)
    points, origins = points[first], origins[first]

    mesh = Triangulation(points[:, 0], points[:, 1])
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    corners = mesh.triangles[np.asarray(mesh.get_trifinder()(column, row), np.int64)]
    a, b, c = (points[corners[..., i]] for i in range(3))
    here = np.stack([column, row], axis=-1)
    whole = _cross(b - a, c - a)
    weight_b, weight_c = _cross(here - a, c - a) / whole, _cross(b - a, here - a) / whole
    p, q, r = (origins[corners[..., i]] for i in range(3))
    return _sample(source, p + weight_b[..., None] * (q - p) + weight_c[..., None] * (r - p))


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _sample(picture: Picture, places: NDArray[np.float64]) -> Picture:
    """Bilinear, the border repeated: ``places [S, S, 2]`` as x and y."""
    size = picture.shape[0]
    x, y = (np.clip(places[..., i] - 0.5, 0.0, size - 1.0) for i in range(2))
    left, top = (np.minimum(v.astype(np.int64), size - 2) for v in (x, y))
    dx, dy = (x - left)[..., None], (y - top)[..., None]
    upper = picture[top, left] * (1 - dx) + picture[top, left + 1] * dx
    lower = picture[top + 1, left] * (1 - dx) + picture[top + 1, left + 1] * dx
    mixed: Picture = np.rint(upper * (1 - dy) + lower * dy).astype(np.uint8)
    return mixed
