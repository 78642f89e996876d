"""Crops that follow a face: geometry, smoothing, and how long they wait."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.training.face_crops import FaceCrops, cut, face_box, mouth_grey
from daetalker.models.training.landmarks import Face


def _face(x: float = 0.5, y: float = 0.4, half: float = 0.2) -> Face:
    points = np.full((478, 3), 0.5, np.float32)
    points[:, 0], points[:, 1] = x, y
    points[:2, 1] = y - half, y + half
    return Face(points, np.eye(3, dtype=np.float32))


def _ramp(side: int = 200) -> NDArray[np.uint8]:
    """Red says x, green says y, in pixels."""
    picture = np.zeros((side, side, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(side), np.arange(side)[:, None]
    return picture


def test_the_crop_is_the_box_with_room_for_the_chin() -> None:
    box = face_box(_face(0.5, 0.4, 0.2))
    assert box == pytest.approx([0.5, 0.4, 0.2])
    crop = cut(_ramp(), box)
    # 100 +- 1.4 x 40 across; from 80 - 40 down to 80 + 1.8 x 40.
    assert crop.shape == (224, 224, 3)
    assert crop[112, [0, 223], 0] == pytest.approx([44, 155], abs=1)
    assert crop[[0, 223], 112, 1] == pytest.approx([40, 151], abs=1)


def test_beyond_the_picture_it_is_grey() -> None:
    crop = cut(np.zeros((100, 100, 3), np.uint8), np.array([0.1, 0.5, 0.2]))
    assert (crop[:, 0] == 110).all()
    assert (crop[112, 112:] == 0).all()


def test_light_asd_sees_the_middle_in_grey() -> None:
    crop = np.zeros((224, 224, 3), np.uint8)
    crop[56:168, 56:168] = (10, 100, 200)
    grey = mouth_grey(crop)
    assert grey.shape == (112, 112)
    assert (grey == round(0.299 * 10 + 0.587 * 100 + 0.114 * 200)).all()


@pytest.mark.parametrize("count", [1, 5, 20])
def test_every_picture_gets_its_crop_six_frames_later(count: int) -> None:
    crops = FaceCrops()
    ready = [crops.add(np.full((32, 32, 3), number, np.uint8), _face()) for number in range(count)]
    assert [len(r) for r in ready] == [0] * min(count, 6) + [1] * max(count - 6, 0)
    shown = [crop[100, 112, 0] for r in [*ready, crops.finish()] for crop in r]
    assert shown == list(range(count))


def test_one_bad_face_does_not_move_the_crop_and_none_leaves_it_there() -> None:
    picture, crops, out = _ramp(), FaceCrops(), []
    for number in range(40):
        face = _face(0.9, 0.9, 0.05) if number == 10 else _face() if number < 20 else None
        out += crops.add(picture, face)
    out += crops.finish()
    assert len(out) == 40
    assert all(np.array_equal(crop, out[0]) for crop in out)


def test_before_the_first_face_the_whole_picture_is_shown() -> None:
    crops = FaceCrops()
    crops.add(_ramp(), None)
    (crop,) = crops.finish()
    assert crop[[0, 223], 112, 1] == pytest.approx([0, 199], abs=1)
