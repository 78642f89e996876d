"""One square of the picture that holds head, hair and shoulders while the head moves.

Boxes are left, top, right, bottom of MediaPipe's face (forehead to chin), in pixels of the upright
picture.  A camera that stands still gets one square for all its clips, because every pixel that
moves with the crop and not with the person is something to learn for nothing.

Shapes: K measured pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

# In face heights.  The demo set's pictures have 2.2 faces from edge to edge; hair ends a third of a
# face above the forehead, and below the chin the square goes on over neck and collar.
SIDE, ABOVE, BELOW, BESIDE = 2.2, 0.35, 0.5, 0.45
LOWER = 0.05  # the square's middle lies so many sides under the face's
# A square picture of which the crop would be this share already is a head and shoulders.
TIGHT = 0.75
# Clips in which the face stands within these bounds were filmed in one go.
SAME_PLACE, SAME_SIZE = 0.5, 1.25


@dataclass(frozen=True)
class Crop:
    """A square: its left upper corner and side in pixels of the upright picture."""

    left: int
    top: int
    side: int

    def cut(self, rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """``[H, W, 3]`` to ``[size, size, 3]``: averaged when shrunk, bicubic when enlarged."""
        square = np.ascontiguousarray(
            rgb[self.top : self.top + self.side, self.left : self.left + self.side]
        )
        if self.side == size:
            return square
        how = "AREA" if self.side > size else "BICUBIC"
        frame = av.VideoFrame.from_ndarray(square, format="rgb24")
        scaled = frame.to_ndarray(format="rgb24", width=size, height=size, interpolation=how)
        return scaled.astype(np.uint8, copy=False)


def choose_crop(boxes: NDArray[np.float64], width: int, height: int) -> Crop:
    """The square for faces at ``boxes [K, 4]`` in a picture of ``width`` by ``height``.

    The head's box may leave the square in the outermost 2 % of the pictures.
    """
    tall = float(np.median(boxes[:, 3] - boxes[:, 1]))
    left, top = np.quantile(boxes[:, :2], 0.02, axis=0)
    right, bottom = np.quantile(boxes[:, 2:], 0.98, axis=0)
    need_wide = right - left + 2 * BESIDE * tall
    need_tall = bottom - top + (ABOVE + BELOW) * tall
    wanted = max(SIDE * tall, need_wide, need_tall)
    limit = min(width, height)
    if width == height and wanted >= TIGHT * limit:
        return Crop(0, 0, limit)
    side = int(min(round(wanted / 2) * 2, limit))
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2 + LOWER * side
    # Hair comes before shoulders where both do not fit.
    middle_y = min(middle_y, top - ABOVE * tall + side / 2) if side < wanted else middle_y
    return Crop(
        int(np.clip(round(middle_x - side / 2), 0, width - side)),
        int(np.clip(round(middle_y - side / 2), 0, height - side)),
        side,
    )


def choose_crops(
    surveys: list[NDArray[np.float64]], sizes: list[tuple[int, int]]
) -> list[Crop | None]:
    """A crop for each clip; None for a clip without a face.

    Args:
        surveys: ``[K, 4]`` boxes of each clip, without the pictures in which no face was found.
        sizes: width and height of each clip.
    """
    crops: list[Crop | None] = [None] * len(surveys)
    for size in dict.fromkeys(sizes):
        members = [i for i, of in enumerate(sizes) if of == size and len(surveys[i])]
        if not members:
            continue
        if _filmed_in_one_go([surveys[i] for i in members]):
            # Each clip counts alike, however long it is.
            shared = choose_crop(np.concatenate([surveys[i] for i in members]), *size)
            for i in members:
                crops[i] = shared
        else:
            for i in members:
                crops[i] = choose_crop(surveys[i], *size)
    return crops


def _filmed_in_one_go(surveys: list[NDArray[np.float64]]) -> bool:
    """Whether the faces of all clips stand about in one place and are about equally large."""
    boxes = np.array([np.median(survey, axis=0) for survey in surveys])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    tall = boxes[:, 3] - boxes[:, 1]
    usual = float(np.median(tall))
    away = np.abs(middles - np.median(middles, axis=0)).max() / usual
    return bool(away < SAME_PLACE and max(tall.max() / usual, usual / tall.min()) < SAME_SIZE)
