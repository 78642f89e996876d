"""The landmark baseline: a training frame, bent onto other landmarks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("matplotlib", reason="needs the training extra")

from daetalker.models.training.data import DataError
from daetalker.models.training.tables.baseline import References, warp

SIZE = 48


def _points(seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.uniform(10, SIZE - 10, (68, 2)).astype(np.float32)


def _smooth_picture() -> NDArray[np.uint8]:
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    return np.stack([4 * x, 4 * y, 2 * (x + y)], axis=-1).astype(np.uint8)


def test_onto_its_own_landmarks_a_picture_stays_as_it_is() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    points = _points()
    assert np.abs(warp(picture, points, points).astype(int) - picture).max() <= 1


def test_what_lies_at_a_landmark_comes_to_lie_at_the_targets() -> None:
    picture, source = _smooth_picture(), _points()
    target = source + np.array([2.0, -3.0], np.float32)
    moved = warp(picture, source, target)
    inner = source[np.abs(source - SIZE / 2).max(1) < 8]
    assert len(inner) > 3
    for x, y in inner:
        before = picture[int(y), int(x)].astype(int)
        after = moved[int(y) - 3, int(x) + 2].astype(int)
        assert np.abs(before - after).max() <= 6
    assert np.abs(moved[0, 0].astype(int) - picture[0, 0]).max() <= 4, "corners stay"


def test_landmarks_that_coincide_or_lie_outside_do_no_harm() -> None:
    source, target = _points(), _points(2)
    target[61:64] = target[65:68] = target[60]
    target[0] = (-9.0, SIZE + 20.0)
    assert warp(_smooth_picture(), source, target).shape == (SIZE, SIZE, 3)


def _write_set(folder: Path, count: int) -> NDArray[np.float32]:
    folder.mkdir()
    with av.open(str(folder / "video.mp4"), "w") as movie:
        stream = movie.add_stream("libx264", rate=25, options={"crf": "0"})
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv444p"
        for index in range(count):
            grey = np.full((SIZE, SIZE, 3), 20 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            movie.mux(stream.encode(frame))
        movie.mux(stream.encode(None))
    (folder / "audio.wav").write_bytes(b"not heard")
    landmarks = np.stack([_points(i) for i in range(count)])
    np.savez(folder / "truth.npz", landmarks=landmarks, pose_deg=np.zeros((count, 3)))
    return landmarks


def test_the_nearest_frame_is_found_and_only_wanted_frames_are_decoded(tmp_path: Path) -> None:
    landmarks = _write_set(tmp_path / "train", 8)
    references = References.load(tmp_path / "train", SIZE // 2)
    np.testing.assert_allclose(references.landmarks, landmarks / 2, rtol=1e-6)
    assert references.nearest(landmarks[5] / 2 + 0.1) == 5
    frames = references.frames([5, 2, 5])
    assert sorted(frames) == [2, 5]
    assert frames[5].shape == (SIZE // 2, SIZE // 2, 3)
    assert abs(int(frames[5].mean()) - 100) <= 3
    with pytest.raises(DataError, match="ends before frame 9"):
        references.frames([9])


def test_a_folder_that_is_no_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--references .* video\.mp4 is missing"):
        References.load(tmp_path, SIZE)
