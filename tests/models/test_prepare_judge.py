"""What cannot be learnt from is dropped for its own reason; crops hold the head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from daetalker.models.training.prepare.crop import Crop, choose_crop, choose_crops
from daetalker.models.training.prepare.judge import KEPT, REASONS, judge, pieces
from daetalker.models.training.prepare.measure import Measures, Survey
from daetalker.models.training.prepare.sound import Sound

T, SIZE = 200, 256


def _seen() -> Measures:
    rng = np.random.default_rng(0)
    f32 = np.float32
    return Measures(
        faces=np.ones(T, f32),
        landmarks=rng.uniform(60, 180, (T, 68, 2)).astype(f32),
        pose_deg=rng.normal(0, 8, (T, 3)).astype(f32),
        box=np.tile(np.array([80, 70, 176, 190], f32), (T, 1))
        + rng.normal(0, 1, (T, 1)).astype(f32),
        opening=rng.uniform(0, 0.2, T).astype(f32),
        sharpness=rng.uniform(80, 120, T).astype(f32),
        light=np.full(T, 140, f32),
        change=rng.uniform(0, 0.01, T).astype(f32),
        age_s=np.full(T, 0.02, f32),
    )


SOUND = Sound(np.zeros(T * 640, np.float32), np.ones(T, np.float32), np.zeros(T, np.float32))
ALONE = Survey(np.arange(0, T, 12), np.zeros((17, 4)), np.ones(17, np.int64), T)


def test_good_frames_are_kept() -> None:
    assert (judge(_seen(), SOUND, ALONE, SIZE) == KEPT).all()


@pytest.mark.parametrize(
    ("reason", "name", "value"),
    [
        ("no face", "faces", 0),
        ("two faces", "faces", 2),
        ("profile", "pose_deg", 60),
        ("blur", "sharpness", 10),
        ("frozen picture", "age_s", 0.4),
        ("out of the crop", "box", (180, 70, 276, 190)),
    ],
)
def test_what_is_wrong_with_a_frame_is_named(reason: str, name: str, value: float) -> None:
    seen = _seen()
    values = getattr(seen, name).copy()
    values[90:110] = value
    if name == "box":  # a slow walk out: a jump would be a cut
        values[80:90] += np.linspace(0, 100, 10)[:, None] * (1, 0, 1, 0)
        values[110:120] += np.linspace(100, 0, 10)[:, None] * (1, 0, 1, 0)
    verdict = judge(replace(seen, **{name: values}), SOUND, ALONE, SIZE)
    assert (verdict[92:108] == REASONS.index(reason)).all()
    assert (verdict[:78] == KEPT).all()
    assert (verdict[122:] == KEPT).all()


def test_a_cut_parts_two_pieces() -> None:
    seen = _seen()
    seen.change[100] = 0.3
    verdict = judge(seen, SOUND, ALONE, SIZE)
    assert (verdict[99:101] == REASONS.index("cut")).all()
    assert pieces(verdict) == [(0, 99), (101, T)]


def test_a_jump_of_the_face_is_a_cut_too() -> None:
    seen = _seen()
    seen.box[100:] += 40
    assert REASONS[judge(seen, SOUND, ALONE, SIZE)[100]] == "cut"


def test_someone_beside_the_crop_counts() -> None:
    faces = ALONE.faces.copy()
    faces[5] = 2  # seen at frame 60
    verdict = judge(_seen(), SOUND, replace(ALONE, faces=faces), SIZE)
    assert (verdict[55:66] == REASONS.index("two faces")).all()
    assert (verdict[:54] == KEPT).all()


def test_holes_and_clipping_in_the_sound_are_dropped() -> None:
    covered, clipped = SOUND.covered.copy(), SOUND.clipped.copy()
    covered[:30] = 0
    clipped[100:120] = 0.1
    verdict = judge(_seen(), replace(SOUND, covered=covered, clipped=clipped), ALONE, SIZE)
    assert (verdict[:30] == REASONS.index("no audio")).all()
    assert (verdict[100:120] == REASONS.index("clipped audio")).all()


def test_pieces_under_a_second_are_dropped() -> None:
    seen = _seen()
    seen.faces[100] = 0
    seen.faces[120] = 0
    verdict = judge(seen, SOUND, ALONE, SIZE)
    assert (verdict[101:120] == REASONS.index("piece too short")).all()
    assert pieces(verdict) == [(0, 100), (121, T)]


def _boxes(x: float, y: float, tall: float, walk: float = 0.0) -> np.ndarray:
    moves = np.linspace(-walk, walk, 21)[:, None] * (1, 0, 1, 0)
    return np.array([x - 0.4 * tall, y - tall / 2, x + 0.4 * tall, y + tall / 2]) + moves


def test_the_crop_holds_head_hair_and_shoulders() -> None:
    crop = choose_crop(_boxes(1000, 500, 300), 1920, 1080)
    assert 2.0 * 300 < crop.side < 2.4 * 300
    assert crop.left + crop.side / 2 == pytest.approx(1000, abs=3)
    assert crop.top < 350 - 0.3 * 300  # hair
    assert crop.top + crop.side > 650 + 0.4 * 300  # shoulders


def test_a_moving_head_stays_inside() -> None:
    still, moving = (
        choose_crop(_boxes(960, 500, 200), 1920, 1080),
        choose_crop(_boxes(960, 500, 200, walk=200), 1920, 1080),
    )
    assert moving.side > still.side
    assert moving.left < 960 - 200 - 80
    assert moving.left + moving.side > 960 + 200 + 80


def test_the_crop_stays_in_the_picture() -> None:
    crop = choose_crop(_boxes(100, 100, 200), 640, 480)
    assert crop.left == 0
    assert crop.top == 0
    assert crop.side <= 480


def test_a_square_head_and_shoulders_is_kept_whole() -> None:
    assert choose_crop(_boxes(128, 130, 120), 256, 256) == Crop(0, 0, 256)


def test_clips_of_one_camera_share_a_crop_and_others_do_not() -> None:
    size = (1920, 1080)
    near = [_boxes(900, 500, 300), _boxes(930, 510, 310)]
    first, second = choose_crops(near, [size, size])
    assert first == second
    first, second = choose_crops([near[0], _boxes(400, 500, 150)], [size, size])
    assert first != second
    assert choose_crops([near[0], np.zeros((0, 4))], [size, size])[1] is None


def test_a_crop_is_scaled_to_size() -> None:
    rgb = np.zeros((200, 300, 3), np.uint8)
    rgb[50:150, 100:200] = 200
    assert Crop(100, 50, 100).cut(rgb, 64).shape == (64, 64, 3)
    assert Crop(100, 50, 100).cut(rgb, 64).min() > 190
    assert Crop(100, 50, 100).cut(rgb, 128).shape == (128, 128, 3)
