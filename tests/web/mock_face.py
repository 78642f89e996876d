"""A drawn face for the mock server: turns with the pose, opens its mouth as far as it is told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZE = 128
"""Side in pixels.  The drawing's own units are 1/256 of the side."""

Colour = tuple[int, int, int]
_ROWS, _COLUMNS = (np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) + np.float32(0.5)) * (256 / SIZE)

BACKGROUND: Colour = (134, 146, 158)
SHIRT: Colour = (62, 118, 122)
SKIN: Colour = (226, 182, 160)
HAIR: Colour = (94, 62, 46)
EYE: Colour = (52, 56, 66)
LIPS: Colour = (186, 104, 98)
MOUTH: Colour = (60, 22, 24)


def draw_face(
    opening: float, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0
) -> NDArray[np.uint8]:
    """Draw a frame.

    Args:
        opening: of the mouth, 0 shut to 1 wide open.
        yaw: degrees; positive turns the nose to the right of the picture.
        pitch: degrees; positive looks up.
        roll: degrees; positive tilts the top of the head to the right.

    Returns:
        ``[128, 128, 3]`` uint8 RGB.
    """
    frame = np.empty((SIZE, SIZE, 3), np.float32)
    frame[:] = BACKGROUND
    _ellipse(frame, 128, 262, 104, 74, SHIRT)
    _ellipse(frame, 128, 186, 26, 44, (206, 160, 138))

    # The head is tilted about the neck: pixels are looked up where they were before the tilt.
    angle = np.float32(np.radians(roll))
    dx, dy = _COLUMNS - 128, _ROWS - 190
    x = 128 + dx * np.cos(angle) + dy * np.sin(angle)
    y = 190 - dx * np.sin(angle) + dy * np.cos(angle)
    at = (x, y)
    shift_x, shift_y = 0.9 * yaw, -0.9 * pitch
    _ellipse(frame, 128, 88, 62, 66, HAIR, at)
    _ellipse(frame, 128 + shift_x * 0.4, 116 + shift_y * 0.4, 50, 66, SKIN, at)
    for side in (-1, 1):
        _ellipse(frame, 128 + side * 20 + shift_x, 104 + shift_y, 7, 4.5, EYE, at)
    _ellipse(frame, 128 + shift_x * 1.3, 128 + shift_y, 6, 10, (208, 156, 136), at)
    mouth_y = 152 + shift_y
    _ellipse(frame, 128 + shift_x, mouth_y, 19, 5 + 8 * opening, LIPS, at)
    _ellipse(frame, 128 + shift_x, mouth_y, 15, 0.6 + 7 * opening, MOUTH, at)
    return frame.round().astype(np.uint8)


def _ellipse(
    frame: NDArray[np.float32],
    centre_x: float,
    centre_y: float,
    radius_x: float,
    radius_y: float,
    colour: Colour,
    at: tuple[NDArray[np.float32], NDArray[np.float32]] = (_COLUMNS, _ROWS),
) -> None:
    """Paint an ellipse with an edge about two pixels soft."""
    distance = np.hypot((at[0] - centre_x) / radius_x, (at[1] - centre_y) / radius_y)
    cover = np.clip((1 - distance) * min(radius_x, radius_y) / 2 + 0.5, 0, 1)[..., None]
    frame += cover * (np.array(colour, np.float32) - frame)
