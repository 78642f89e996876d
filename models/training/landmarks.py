"""Faces measured in pictures: 478 landmarks, lip opening and head pose, by MediaPipe.

Each picture is measured by itself (running mode IMAGE): the tracker of the VIDEO mode smooths the
lips, and on the demo set's true video the opening's correlation with the truth falls from 0.97 to
0.94.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

MIN_SIDE = 256

# Indices into MediaPipe's 478 points.
INNER_LIP_PAIRS = ((13, 14), (82, 87), (312, 317))
EYE_CORNERS = (33, 263)
STILL_POINTS = (33, 133, 362, 263, 168, 6)
MOUTH_POINTS = (
    61,
    40,
    37,
    0,
    267,
    270,
    291,
    321,
    314,
    17,
    84,
    91,
    78,
    82,
    13,
    312,
    308,
    317,
    14,
    87,
)
# The iBUG 68 in their order, left of the picture first: jaw line from ear to ear, brows, bridge and
# foot of the nose, eyes, outer and inner lips.
IBUG_POINTS = (
    *(127, 234, 93, 58, 172, 150, 149, 148, 152, 377, 378, 379, 397, 288, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 195, 4, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)


class MeasureError(RuntimeError):
    """Something that measuring needs is not there; the message says what to install or pass."""


@dataclass(frozen=True)
class Face:
    """One measured face.

    Attributes:
        points: ``[478, 3]`` x (right), y (down), z (away from the camera), in picture widths.
        rotation: ``[3, 3]`` head rotation; x right, y up, z towards the camera.
    """

    points: NDArray[np.float32]
    rotation: NDArray[np.float32]

    @property
    def eye_distance(self) -> float:
        """Between the outer eye corners in three dimensions: head turns leave it about equal."""
        return max(float(np.linalg.norm(np.subtract(*self.points[list(EYE_CORNERS)]))), 1e-6)

    @property
    def opening(self) -> float:
        """Mean gap of the three inner-lip pairs over the eye distance: 0.003 shut, 0.2 wide."""
        top, bottom = np.array(INNER_LIP_PAIRS).T
        gaps = np.linalg.norm(self.points[top] - self.points[bottom], axis=-1)
        return float(gaps.mean()) / self.eye_distance

    @cached_property
    def pose_deg(self) -> NDArray[np.float32]:
        """``[3]`` yaw, pitch, roll in degrees with the signs of the training folders."""
        return pose_of_rotation(self.rotation)

    @property
    def ibug(self) -> NDArray[np.float32]:
        """``[68, 2]`` the points of the training folders, in picture widths."""
        return self.points[list(IBUG_POINTS), :2]

    @property
    def mouth(self) -> NDArray[np.float32]:
        """``[20, 2]`` mouth points with the head turned to the front, in eye distances.

        The origin is the mean of the eye corners and the bridge of the nose.
        """
        centred = self.points - self.points[list(STILL_POINTS)].mean(0)
        front = (centred * np.array([1.0, -1.0, -1.0], np.float32)) @ self.rotation
        points: NDArray[np.float32] = front[list(MOUTH_POINTS), :2] / np.float32(self.eye_distance)
        return points


def pose_of_rotation(rotation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Yaw, pitch, roll in degrees, ``[3]``, of R = Ry(yaw) Rx(-pitch) Rz(-roll).

    Yaw > 0 turns the nose to image right, pitch > 0 looks up, roll > 0 turns clockwise.
    """
    r = np.asarray(rotation, dtype=np.float64)
    yaw = np.arctan2(r[0, 2], r[2, 2])
    pitch = np.arcsin(np.clip(r[1, 2], -1.0, 1.0))
    roll = -np.arctan2(r[1, 0], r[1, 1])
    return np.degrees([yaw, pitch, roll]).astype(np.float32)


class FaceMeter:
    """Finds the face in pictures, one at a time; use it in a ``with`` block.

    Args:
        model: MediaPipe's ``face_landmarker.task``.
        faces: most faces looked for in a picture.

    Raises:
        MeasureError: if MediaPipe or the model is missing or the model cannot be read.
    """

    def __init__(self, model: Path, faces: int = 1) -> None:
        try:
            from mediapipe import Image, ImageFormat
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise MeasureError(
                'measuring faces needs MediaPipe; run: pip install "daetalker[train]"'
            ) from error
        if not model.is_file():
            raise MeasureError(
                f"no face landmark model at {model}; pass the path of MediaPipe's "
                "face_landmarker.task"
            )
        self._image: Any = lambda rgb: Image(image_format=ImageFormat.SRGB, data=rgb)
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(model)),
            running_mode=vision.RunningMode.IMAGE,
            num_faces=faces,
            output_facial_transformation_matrixes=True,
        )
        try:
            with _native_stderr_muted():  # MediaPipe logs start-up notes that nobody can act on
                create: Any = vision.FaceLandmarker.create_from_options
                self._landmarker: Any = create(options)
                self.measure(np.zeros((MIN_SIDE, MIN_SIDE, 3), np.uint8))
        except (RuntimeError, ValueError) as error:
            raise MeasureError(f"{model} is not a usable face landmark model: {error}") from error

    def measure(self, rgb: NDArray[np.uint8]) -> Face | None:
        """The face in ``rgb [S, S, 3]``, or None if there is none; small pictures are enlarged."""
        faces = self.measure_all(rgb)
        return faces[0] if faces else None

    def measure_all(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Every face in ``rgb [S, S, 3]``, the one with the widest eyes first."""
        found = self._landmarker.detect(self._image(enlarge(rgb, MIN_SIDE)))
        faces = []
        for marks, matrix in zip(
            found.face_landmarks, found.facial_transformation_matrixes, strict=True
        ):
            points = np.array([[p.x, p.y, p.z] for p in marks], np.float32)
            rotation = np.asarray(matrix, np.float32)[:3, :3]
            faces.append(Face(points, rotation / np.linalg.norm(rotation, axis=0, keepdims=True)))
        return sorted(faces, key=lambda face: -face.eye_distance)

    def close(self) -> None:
        """Free the networks; calling it again does nothing."""
        landmarker, self._landmarker = self._landmarker, None
        if landmarker is not None:
            landmarker.close()

    def __enter__(self) -> FaceMeter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def enlarge(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """``[S, S, 3]`` to at least ``[side, side, 3]``, bicubic; larger pictures stay as they are."""
    rgb = np.ascontiguousarray(rgb)
    if rgb.shape[0] >= side:
        return rgb
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    larger = frame.to_ndarray(format="rgb24", width=side, height=side, interpolation="BICUBIC")
    return larger.astype(np.uint8, copy=False)


@contextlib.contextmanager
def _native_stderr_muted() -> Iterator[None]:
    """Send what native code writes to file descriptor 2 nowhere, and put it back."""
    with open(os.devnull, "wb") as nowhere:
        saved = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
