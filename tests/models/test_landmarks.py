"""What MediaPipe measures, against the exact truth of the demo set; it is not shipped here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.training import lips
from daetalker.models.training.data import lip_opening
from daetalker.models.training.landmarks import (
    Face,
    FaceMeter,
    MeasureError,
    enlarge,
    pose_of_rotation,
)

SHARED = Path(__file__).parents[3] / "shared"
MODEL = SHARED / "weights/mediapipe/face_landmarker.task"
DATA = SHARED / "data/demo/test_a"
FRAMES = 200


def _about(axis: int, degrees: float) -> NDArray[np.float64]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(3)
    a, b = [(1, 2), (2, 0), (0, 1)][axis]
    turn[a, a], turn[a, b], turn[b, a], turn[b, b] = c, -s, s, c
    return turn


@pytest.mark.parametrize("pose", [(0, 0, 0), (25, 0, 0), (0, -15, 0), (0, 0, 10), (-20, 12, -8)])
def test_pose_is_read_back_from_its_rotation(pose: tuple[float, float, float]) -> None:
    yaw, pitch, roll = pose
    rotation = _about(1, yaw) @ _about(0, -pitch) @ _about(2, -roll)
    assert pose_of_rotation(rotation.astype(np.float32)) == pytest.approx(pose, abs=1e-3)


def _face(opening: float, turn: NDArray[np.float64], scale: float = 0.2) -> Face:
    """A made-up face: eye corners one apart, inner lips ``opening`` apart, turned and scaled."""
    points = np.random.default_rng(0).normal(0, 0.1, (478, 3))
    points[33], points[263] = (-0.5, 0, 0), (0.5, 0, 0)
    points[168], points[6], points[133], points[362] = (0, 0, 0.1), (0, -0.1, 0.1), 0, 0
    for top, bottom in ((13, 14), (82, 87), (312, 317)):
        points[bottom] = points[top] - (0, opening, 0)
    seen = scale * (points @ turn.T) * (1, -1, -1)  # image coordinates: y down, z away
    return Face((seen + 0.5).astype(np.float32), turn.astype(np.float32))


def test_opening_and_mouth_do_not_depend_on_the_head() -> None:
    front = _face(0.12, np.eye(3))
    turned = _face(0.12, _about(1, 25) @ _about(0, -10) @ _about(2, 8), scale=0.15)
    assert front.opening == pytest.approx(0.12, abs=1e-5)
    assert turned.opening == pytest.approx(0.12, abs=1e-5)
    assert turned.mouth == pytest.approx(front.mouth, abs=1e-5)
    assert turned.pose_deg == pytest.approx([25, 10, -8], abs=1e-3)


def test_small_pictures_are_enlarged_and_large_ones_left() -> None:
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    larger = enlarge(ramp, 256)
    assert larger.shape == (256, 256, 3)
    assert np.abs(larger[128, 8:-8, 0].astype(float) - np.arange(8, 248)).max() < 4
    assert enlarge(larger, 256).shape == (256, 256, 3)


def test_a_missing_model_is_one_clear_sentence(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    with pytest.raises(MeasureError, match=r"face_landmarker\.task"):
        FaceMeter(tmp_path / "none.task")


def test_a_damaged_model_is_one_clear_sentence(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    broken = tmp_path / "broken.task"
    broken.write_bytes(b"not a model")
    with pytest.raises(MeasureError, match="not a usable"):
        FaceMeter(broken)


def test_without_mediapipe_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)
    with pytest.raises(MeasureError, match=r"pip install \"daetalker\[train\]\""):
        FaceMeter(tmp_path / "any.task")


@pytest.fixture(scope="module")
def meter() -> Iterator[FaceMeter]:
    pytest.importorskip("mediapipe")
    if not MODEL.is_file():
        pytest.skip(f"no face landmark model at {MODEL}")
    with FaceMeter(MODEL) as opened:
        yield opened


@pytest.fixture(scope="module")
def truth() -> dict[str, NDArray[np.float32]]:
    if not (DATA / "truth.npz").is_file():
        pytest.skip(f"no demo data at {DATA}")
    with np.load(DATA / "truth.npz") as arrays:
        return {key: arrays[key] for key in ("pose_deg", "landmarks")}


def _true_frames(stop: int, step: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    with av.open(str(DATA / "video.mp4")) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index >= stop:
                return
            if index % step == 0:
                yield index, frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def test_there_is_no_face_in_a_grey_picture(meter: FaceMeter) -> None:
    assert meter.measure(np.full((128, 128, 3), 127, np.uint8)) is None


def test_opening_follows_the_truth_without_lag(
    meter: FaceMeter, truth: dict[str, NDArray[np.float32]]
) -> None:
    faces = [meter.measure(rgb) for _, rgb in _true_frames(FRAMES, 1)]
    opening = np.array([face.opening if face else np.nan for face in faces])
    target = lip_opening(truth["landmarks"][:FRAMES])
    assert np.isfinite(opening).all()
    assert lips.correlation(opening, target) > 0.9  # 0.967 over the whole of test_a
    assert lips.best_lag(opening, target) == 0
    assert lips.best_lag(np.roll(opening, 3), target) == 3


@pytest.mark.slow
def test_pose_error_on_the_true_video_is_the_known_floor(
    meter: FaceMeter, truth: dict[str, NDArray[np.float32]]
) -> None:
    """1.16 square degrees: the mean over frames and over the three axes, on every fourth frame."""
    errors = []
    for index, rgb in _true_frames(4500, 20):
        face = meter.measure(rgb)
        assert face is not None
        errors.append((face.pose_deg - truth["pose_deg"][index]) ** 2)
    assert float(np.mean(errors)) == pytest.approx(1.16, abs=0.15)


def test_half_size_frames_are_measured_too(
    meter: FaceMeter, truth: dict[str, NDArray[np.float32]]
) -> None:
    opening, poses = [], []
    for _, rgb in _true_frames(FRAMES, 2):
        face = meter.measure(rgb.reshape(128, 2, 128, 2, 3).mean((1, 3)).astype(np.uint8))
        assert face is not None
        opening.append(face.opening)
        poses.append(face.pose_deg)
    target = lip_opening(truth["landmarks"][:FRAMES:2])
    assert lips.correlation(np.array(opening), target) > 0.85
    assert float(np.mean((np.array(poses) - truth["pose_deg"][:FRAMES:2]) ** 2)) < 4.0
