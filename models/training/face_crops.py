"""Face crops as SyncNet's published pipeline cuts them, from MediaPipe's faces instead of S3FD's.

The box is that of the landmarks (forehead to chin), its centre and half side the median of 13
frames; the crop is 2.8 half sides wide, shifted down so that the chin has room, 224x224.  Light-ASD
looks at the middle quarter of the same crop.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from daetalker.models.training.landmarks import Face

SIDE = 224
MEDIAN_FRAMES = 13
MARGIN = 0.4
OUTSIDE = 110  # grey level of what lies beyond the picture
LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Picture = NDArray[np.uint8]
Box = NDArray[np.float64]  # centre x, centre y, half side, in picture widths


def face_box(face: Face) -> Box:
    """``[3]`` centre x, y and half of the longer side of the box around all landmarks."""
    points = face.points[:, :2].astype(np.float64)
    low, high = points.min(0), points.max(0)
    return np.array([*(low + high) / 2, (high - low).max() / 2])


class FaceCrops:
    """Follows one face through a video; a crop comes out six frames after its picture went in.

    Holds 13 pictures.  Where no face is found for 13 frames, the crop stays where it was; before
    the first face it shows the whole picture.
    """

    def __init__(self) -> None:
        self._boxes: deque[Box | None] = deque(maxlen=MEDIAN_FRAMES)
        self._waiting: deque[Picture] = deque()
        whole = 0.5 / (1 + MARGIN)
        self._box: Box = np.array([0.5, whole, whole])

    def add(self, rgb: Picture, face: Face | None) -> list[Picture]:
        """Take ``[S, S, 3]``; give the crops ``[224, 224, 3]`` that are ready, none or one."""
        self._boxes.append(None if face is None else face_box(face))
        self._waiting.append(rgb.copy())
        return [self._next()] if len(self._waiting) > MEDIAN_FRAMES // 2 else []

    def finish(self) -> list[Picture]:
        """The crops still held back, after the last picture."""
        crops = []
        while self._waiting:
            crops.append(self._next())
            self._boxes.append(None)
        return crops

    def _next(self) -> Picture:
        known = [box for box in self._boxes if box is not None]
        if known:
            self._box = np.median(known, axis=0)
        return cut(self._waiting.popleft(), self._box)


def cut(rgb: Picture, box: Box) -> Picture:
    """The square crop around ``box``, ``[224, 224, 3]``; grey where the picture ends."""
    x, y, half = box * rgb.shape[1]
    side = max(round(2 * half * (1 + MARGIN)), 2)
    left, top = round(x - half * (1 + MARGIN)), round(y - half)
    crop = np.full((side, side, 3), OUTSIDE, np.uint8)
    high, wide = rgb.shape[:2]
    y0, y1 = np.clip([top, top + side], 0, high)
    x0, x1 = np.clip([left, left + side], 0, wide)
    crop[y0 - top : y1 - top, x0 - left : x1 - left] = rgb[y0:y1, x0:x1]
    planes = torch.from_numpy(crop.transpose(2, 0, 1).astype(np.float32))[None]
    sized = F.interpolate(planes, (SIDE, SIDE), mode="bilinear", antialias=side > SIDE)
    return sized[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()


def mouth_grey(crop: Picture) -> Picture:
    """``[224, 224, 3]`` to the middle ``[112, 112]`` in grey levels, what Light-ASD looks at."""
    quarter = SIDE // 4
    middle = crop[quarter : SIDE - quarter, quarter : SIDE - quarter]
    grey: Picture = np.rint(middle @ LUMA).astype(np.uint8)
    return grey
