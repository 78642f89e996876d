"""`daetalker prepare` on the demo set's face and voice, with MediaPipe; neither is shipped here."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.training.data import eye_closure, lip_opening, load_person, read_audio
from daetalker.models.training.landmarks import FaceMeter
from daetalker.models.training.prepare.crop import Crop
from daetalker.models.training.prepare.pipeline import Plan, prepare
from daetalker.models.training.prepare.progress import Progress
from tests.models.filming import film

SHARED = Path(__file__).parents[3] / "shared"
MODEL = SHARED / "weights/mediapipe/face_landmarker.task"
DEMO = SHARED / "data/demo/test_b"
REAL_S, LATE_MS = 22, 200
PLACE, SCALE = (700, 300), 2


@pytest.mark.slow
@pytest.mark.skipif(not (MODEL.is_file() and DEMO.is_dir()), reason="no demo set or face model")
def test_a_wide_late_30_fps_clip_gives_what_the_clean_one_gives(tmp_path: Path) -> None:
    """1080p, 30 a second, 48 kHz stereo, 200 ms late, against 256x256, 25, 16 kHz, in step."""
    with av.open(str(DEMO / "video.mp4")) as container:
        pictures = [
            frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            for frame, _ in zip(container.decode(video=0), range(REAL_S * 25), strict=False)
        ]
    voice = read_audio(DEMO / "audio.wav")[: REAL_S * 16_000]
    x, y = PLACE

    def wide(t: float) -> NDArray[np.uint8]:
        """What a camera of 30 a second sees in the middle of its exposure."""
        face = pictures[min(int((t + 1 / 60) * 25), len(pictures) - 1)]
        canvas = np.full((1080, 1920, 3), 128, np.uint8)
        large = face.repeat(SCALE, 0).repeat(SCALE, 1)
        canvas[y : y + len(large), x : x + len(large)] = large
        return canvas

    fine = np.interp(np.arange(REAL_S * 48_000) / 3, np.arange(len(voice)), voice)
    late = np.concatenate([np.zeros(48_000 * LATE_MS // 1000), fine])[: len(fine)]
    filmed = film(
        tmp_path / "wide.mkv",
        wide,
        np.arange(REAL_S * 30) / 30,
        np.stack([late, late]).astype(np.float32),
        rate=48_000,
    )
    clean = film(
        tmp_path / "clean.mkv",
        lambda t: pictures[round(t * 25)],
        np.arange(REAL_S * 25) / 25,
        voice,
    )
    reports = []
    for name, path in (("clean", clean), ("wide", filmed)):
        plan = Plan((path,), tmp_path / name)
        reports.append(prepare(plan, lambda: FaceMeter(MODEL, faces=2), Progress()))
    assert reports[0]["offset"]["found_ms"] == pytest.approx(0, abs=20)
    assert reports[1]["offset"]["found_ms"] == pytest.approx(LATE_MS, abs=20)
    assert reports[1]["kept_minutes"] * 60 == pytest.approx(REAL_S, abs=0.5)

    crop = reports[1]["sources"][0]["crop"]
    people = [load_person(tmp_path / name / "train", 256, tmp_path / "cache") for name in
              ("clean", "wide")]  # fmt: skip
    count = min(len(person.frames) for person in people)
    one, other = (person.first(count) for person in people)
    assert np.abs(one.pose_deg - other.pose_deg).mean() < 1.0
    place = (np.array([crop["left"], crop["top"]]) - PLACE) / SCALE
    back = other.landmarks * (crop["side"] / SCALE / 256) + place
    assert np.linalg.norm(back - one.landmarks, axis=-1).mean() < 1.5
    for frame in (0, count // 2, count - 1):
        expected = Crop(**crop).cut(wide((frame + 0.5) / 25 - 1 / 60), 256)
        assert np.abs(other.frames[frame].astype(int) - expected).mean() < 4
    spectrum = np.fft.rfft(one.audio) * np.conj(np.fft.rfft(other.audio))
    lag = int(np.argmax(np.fft.irfft(spectrum)))
    lag -= len(one.audio) if lag > len(one.audio) // 2 else 0
    assert abs(lag) < 0.02 * 16_000
    moved = np.roll(other.audio, lag)
    assert np.corrcoef(one.audio[8000:-8000], moved[8000:-8000])[0, 1] > 0.98


@pytest.mark.slow
@pytest.mark.skipif(not (MODEL.is_file() and DEMO.is_dir()), reason="no demo set or face model")
def test_mapped_landmarks_move_as_the_true_ones() -> None:
    """Lips and lids, as training computes them from landmarks, against the rendered truth."""
    with av.open(str(DEMO / "video.mp4")) as container, FaceMeter(MODEL) as meter:
        faces = [
            meter.measure(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
            for frame, _ in zip(container.decode(video=0), range(250), strict=False)
        ]
    found = np.stack([face.ibug * 256 for face in faces if face is not None])
    assert len(found) == 250
    with np.load(DEMO / "truth.npz") as stored:
        truth = stored["landmarks"][:250]
    mouth = np.linalg.norm(found - truth, axis=-1)[:, 48:68]
    assert mouth.mean() < 2.0  # pixels of 256
    assert np.corrcoef(lip_opening(found), lip_opening(truth))[0, 1] > 0.94
    assert np.corrcoef(eye_closure(found), eye_closure(truth))[0, 1] > 0.94
