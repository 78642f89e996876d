"""One row of Table 1 from made-up faces, the two controls, and what is held in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from daetalker.models.training import lips
from daetalker.models.training.data import lip_opening, read_audio
from daetalker.models.training.landmarks import MOUTH_POINTS, Face, FaceMeter
from daetalker.models.training.light_asd import LightAsd
from daetalker.models.training.sync import (
    Mouths,
    SyncCollector,
    SyncFigures,
    SyncTruth,
    control_audio,
    landmark_distance,
)
from daetalker.models.training.syncnet import SyncNet

SHARED = Path(__file__).parents[3] / "shared"
MODEL = SHARED / "weights/mediapipe/face_landmarker.task"
DATA = SHARED / "data/demo/test_a"
FRAMES = 60


def _face(opening: float, x: float = 0.0) -> Face:
    """Eye corners 0.2 picture widths apart, inner lips ``opening`` of that apart, moved by x."""
    points = np.random.default_rng(0).normal(0.5, 0.05, (478, 3)).astype(np.float32)
    points[33], points[263] = (0.4, 0.4, 0), (0.6, 0.4, 0)
    for top, bottom in ((13, 14), (82, 87), (312, 317)):
        points[bottom] = points[top] + np.array([0, 0.2 * opening, 0], np.float32)
    points[:, 0] += x
    return Face(points, np.eye(3, dtype=np.float32))


class MadeUp:
    """A meter that gives these faces, whatever it is shown."""

    def __init__(self, openings: NDArray[Any], x: float = 0.0) -> None:
        self._faces = iter([None if np.isnan(o) else _face(float(o), x) for o in openings])

    def measure(self, rgb: NDArray[np.uint8]) -> Face | None:
        return next(self._faces)


OPENINGS = 0.1 + 0.08 * np.sin(np.arange(FRAMES) ** 1.5)
AUDIO = np.random.default_rng(3).normal(0, 0.05, 640 * FRAMES).astype(np.float32)
PICTURE = np.zeros((64, 64, 3), np.uint8)


def _truth(phones: tuple[lips.Phone, ...] = ()) -> SyncTruth:
    faces = {f: _face(float(o)) for f, o in enumerate(OPENINGS)}
    return SyncTruth(OPENINGS.astype(np.float32), Mouths.of(faces, FRAMES), phones)


def _collect(openings: NDArray[Any], x: float = 0.0, **networks: Any) -> SyncCollector:
    collector = SyncCollector(MadeUp(openings, x), **networks)
    for index in range(len(openings)):
        collector.add(index, PICTURE)
    return collector


def test_the_truth_judged_against_itself() -> None:
    figures = _collect(OPENINGS).figures(AUDIO, _truth())
    assert list(figures) == list(SyncFigures.__dataclass_fields__)
    assert figures["frames"] == figures["faces_found"] == FRAMES
    assert figures["lip_corr"] == pytest.approx(1.0)
    assert figures["lip_lag_frames"] == 0
    assert figures["lmd"] == figures["lmd_eye_distances"] == 0
    # Not measured: no networks, no phones.
    for key in ("lse_d", "lse_c", "light_asd", "light_asd_contrast", "pbm_closed"):
        assert figures[key] is None
    json.dumps(figures, allow_nan=False)


def test_lips_six_frames_late_lose_and_are_found_there() -> None:
    late = np.concatenate([np.full(6, OPENINGS[0]), OPENINGS[:-6]])
    figures = _collect(late).figures(AUDIO, _truth())
    assert figures["lip_lag_frames"] == 6
    assert figures["lip_corr"] is not None
    assert figures["lip_corr"] < 0.5
    assert figures["lmd"] is not None
    assert figures["lmd"] > 0.5


def test_lmd_is_in_pixels_of_256_and_forgets_where_the_head_is() -> None:
    wider = OPENINGS + 0.05
    figures = _collect(wider, x=0.1).figures(AUDIO, _truth())
    # Three of twenty points are 0.05 x 0.2 picture widths lower; the mean moves with them.
    low = 0.05 * 0.2 * 256
    moved = sum(MOUTH_POINTS.count(p) for p in (14, 87, 317))
    expected = (moved * (low - low * moved / 20) + (20 - moved) * low * moved / 20) / 20
    assert figures["lmd"] == pytest.approx(expected, rel=1e-3)
    a = np.zeros((2, 20, 2))
    a[1] = np.nan
    assert landmark_distance(a, a + 3.0) == 0.0


def test_frames_without_a_face_or_left_out_are_not_measured() -> None:
    openings = OPENINGS.copy()
    openings[7] = np.nan
    collector = SyncCollector(MadeUp(openings))
    for index in [i for i in range(FRAMES) if i != 20]:
        face = collector.add(index, PICTURE)
        assert (face is None) == (index == 7)
    mouths = collector.mouths()
    assert np.flatnonzero(np.isnan(mouths.opening)).tolist() == [7, 20]
    assert collector.figures(AUDIO, _truth())["faces_found"] == FRAMES - 2
    with pytest.raises(ValueError, match="too late"):
        collector.add(FRAMES, PICTURE)


def test_frames_must_come_in_order() -> None:
    collector = SyncCollector(MadeUp(OPENINGS))
    collector.add(0, PICTURE)
    with pytest.raises(ValueError, match="too late"):
        collector.add(0, PICTURE)


def test_closures_are_asked_of_the_row_and_calibrated_on_the_truth() -> None:
    openings = np.full(FRAMES, 0.15)
    openings[10:13] = openings[40:43] = 0.01
    phones = tuple(
        lips.Phone(start / 25, (start + 3) / 25, name)
        for start, name in ((10, "P"), (20, "T"), (23, "AA"), (26, "T"), (40, "M"), (57, "B"))
    )
    faces = {f: _face(float(o)) for f, o in enumerate(openings)}
    truth = SyncTruth(openings.astype(np.float32), Mouths.of(faces, FRAMES), phones)
    row = openings.copy()
    row[40:43] = 0.15
    assert _collect(openings[:55]).figures(AUDIO, truth)["pbm_closed"] == 1.0  # not the B beyond
    assert _collect(row[:55]).figures(AUDIO, truth)["pbm_closed"] == 0.5


def test_the_networks_get_a_crop_for_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    asd, sync = LightAsd().eval(), SyncNet().eval()
    shown: dict[str, int] = {}

    def see(grey: NDArray[np.uint8]) -> torch.Tensor:
        shown["grey"] = len(grey)
        return torch.zeros(len(grey), 128)

    def windows(pictures: torch.Tensor) -> torch.Tensor:
        shown["windows"] = shown.get("windows", 0) + len(pictures)
        return torch.ones(len(pictures), 1024)

    monkeypatch.setattr(asd, "see", see)
    monkeypatch.setattr(sync, "lips", windows)
    monkeypatch.setattr(sync, "hear", lambda samples: torch.ones(len(samples) // 640 - 5, 1024))
    collector = SyncCollector(MadeUp(OPENINGS), light_asd=asd, syncnet=sync)
    for index in range(FRAMES):
        if index != 30:  # left out: taken to show what frame 29 does
            collector.add(index, PICTURE)
    figures = collector.figures(AUDIO, _truth())
    assert shown == {"grey": FRAMES, "windows": FRAMES - 4}
    assert figures["light_asd"] is not None
    assert figures["lse_d"] == pytest.approx(0, abs=1e-3)
    assert figures["lse_offset_frames"] == 0
    # Judged again, against other sound, without looking again.
    assert collector.figures(control_audio(AUDIO, "shifted"), _truth())["frames"] == FRAMES
    assert shown["grey"] == FRAMES


def test_no_video_is_held() -> None:
    collector = _collect(OPENINGS, light_asd=LightAsd().eval())
    held = [
        value
        for value in vars(collector).values()
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray)
    ]
    assert [value[0].shape for value in held] == [(112, 112)]


def test_the_controls_are_the_same_length_and_out_of_step() -> None:
    sound = np.arange(1, 640 * 150 + 1, dtype=np.float32)
    shifted, foreign = control_audio(sound, "shifted"), control_audio(sound, "foreign")
    assert len(shifted) == len(foreign) == len(sound)
    assert (shifted[: 6 * 640] == 0).all()
    assert (shifted[6 * 640 :] == sound[: -6 * 640]).all()
    assert sorted(foreign) == sound.tolist()
    # Half way round and 37 frames on: no whole number of GRID's clips of 75 frames.
    assert foreign[(75 + 37) * 640] == sound[0]
    assert (control_audio(sound[:640], "shifted") == 0).all()


def _true_frames(count: int) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(DATA / "video.mp4")) as container:
        for _, frame in zip(range(count), container.decode(video=0), strict=False):
            yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


@pytest.mark.slow
def test_on_true_video_both_controls_lose_where_they_should() -> None:
    pytest.importorskip("mediapipe")
    if not MODEL.is_file() or not (DATA / "video.mp4").is_file():
        pytest.skip(f"no face landmark model at {MODEL}, or no demo data at {DATA}")
    count = 300
    with np.load(DATA / "truth.npz") as arrays:
        target = lip_opening(arrays["landmarks"][:count])
    phones = [p for p in lips.read_phones(DATA / "phones.csv") if p.end_s * 25 <= count]
    audio = read_audio(DATA / "audio.wav")[: count * 640]
    with FaceMeter(MODEL) as meter:
        faces = [meter.measure(rgb) for rgb in _true_frames(count)]
    found = {f: face for f, face in enumerate(faces) if face is not None}
    truth = SyncTruth(target, Mouths.of(found, count), phones)

    class Given:
        def __init__(self, order: NDArray[np.int64]) -> None:
            self._faces = iter([faces[int(f)] for f in order])

        def measure(self, rgb: NDArray[np.uint8]) -> Face | None:
            face: Face | None = next(self._faces)
            return face

    def row(order: NDArray[np.int64]) -> dict[str, float]:
        collector = SyncCollector(Given(order))
        for index in range(count):
            collector.add(index, PICTURE)
        figures = collector.figures(audio, truth)
        return {key: value for key, value in figures.items() if value is not None}

    frames = np.arange(count)
    true, late, other = row(frames), row(np.maximum(frames - 6, 0)), row(np.roll(frames, 187))
    assert true["lip_corr"] > 0.9
    assert true["pbm_closed"] > 0.9
    assert abs(true["av_offset_ms"]) < 20
    assert late["av_offset_ms"] == pytest.approx(-240, abs=20)
    assert late["lip_lag_frames"] == 6
    for control in (late, other):
        assert control["lip_corr"] < true["lip_corr"] - 0.3
        assert control["pbm_closed"] < true["pbm_closed"] - 0.2
        assert control["lmd"] > true["lmd"] + 0.5
