"""The paper's tables, measured on made-up takes, networks and logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("matplotlib", reason="needs the training extra")

from daetalker.models.bundle import load_bundle
from daetalker.models.training.data import DataError, Person
from daetalker.models.training.landmarks import Face
from daetalker.models.training.lips import Phone
from daetalker.models.training.reconstruct import Network
from daetalker.models.training.tables import table1, table2, table3, table4
from daetalker.models.training.tables.figure6 import figure6, gap
from daetalker.models.training.tables.held import Held, with_faces
from daetalker.models.training.tables.stretch import Replayed, Stretch, true_frames
from daetalker.models.training.tables.take import RememberingMeter, Take, record
from daetalker.models.training.tables.variants import decode
from tests.tiny import LATENT, make_tiny_bundle

SIZE = 32
STILL = np.ones((SIZE, SIZE), bool)


def turned(yaw_deg: float) -> Face:
    """A face turned to its left, which lies where it lies."""
    a = np.radians(yaw_deg)
    rotation = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    points = np.random.default_rng(0).uniform(0.3, 0.7, (478, 3))
    return Face(points.astype(np.float32), rotation.astype(np.float32))


class Levels:
    """A meter that takes a picture's first level for the yaw; 255 is no face."""

    def __init__(self) -> None:
        self.calls = 0

    def measure(self, rgb: NDArray[np.uint8]) -> Face | None:
        self.calls += 1
        level = int(rgb[0, 0, 0])
        return None if level == 255 else turned(level)


def flat(level: int) -> NDArray[np.uint8]:
    return np.full((SIZE, SIZE, 3), level, np.uint8)


def playing(*levels: int, pose: tuple[float, float, float] = (0, 0, 0)) -> Iterator[Replayed]:
    for index, level in enumerate(levels):
        yield Replayed(index, flat(level), np.full(4, level, np.float32), pose=pose)


def held_of(count: int, yaw_deg: float = 0.0, phones: list[Phone] | None = None) -> Held:
    frames = np.stack([flat(10 + i % 5) for i in range(count)])
    pose = np.zeros((count, 3), np.float32)
    pose[:, 0] = yaw_deg
    audio = np.zeros(640 * count, np.float32)
    marks = np.zeros((count, 68, 2), np.float32)
    starts = np.array([0, count // 2])
    person = Person(frames, audio, pose, marks, starts)
    return Held("made up", person, person, "ground truth", phones or [], STILL, {})


# --- takes ---------------------------------------------------------------------------------------


def test_a_take_measures_trembling_of_still_regions_and_what_jumps_back_and_forth() -> None:
    take = record(playing(10, 12, 10, 12), Levels(), 4, STILL, "test", keep=[2])
    assert take.jitter_levels == pytest.approx(2.0)
    assert take.flicker_levels == pytest.approx(4.0)
    assert take.pose_deg[:, 0] == pytest.approx([10, 12, 10, 12], abs=1e-3)
    assert take.pose_jerk_deg == pytest.approx(4.0 / 3, abs=1e-3)  # of three axes one jumps
    assert list(take.kept) == [2] and take.kept[2][0, 0, 0] == 10
    assert take.latent_steps[1:] == pytest.approx([4.0, 4.0, 4.0])


def test_frames_that_are_missing_or_show_no_face_leave_gaps_and_no_steps() -> None:
    frames = [f for f in playing(10, 12, 255, 12, 10, 10) if f.index != 3]
    take = record(frames, Levels(), 6, STILL, "test")
    assert take.shown.tolist() == [True, True, True, False, True, True]
    assert np.isnan(take.opening[[2, 3]]).all()
    assert np.isfinite(take.change).tolist() == [False, True, True, False, False, True]
    assert np.isfinite(take.flicker).tolist() == [False, True, False, False, False, False]
    nothing = record([], Levels(), 3, STILL, "test")
    assert not nothing.shown.any() and np.isnan(nothing.jitter_levels)


def test_a_picture_is_measured_once_however_many_ask() -> None:
    meter = Levels()
    remembering = RememberingMeter(meter)
    picture = flat(3)
    assert remembering.measure(picture) is remembering.measure(picture)
    remembering.measure(flat(3))
    assert meter.calls == 2


def test_a_cut_is_a_set_of_its_own() -> None:
    phones = [Phone(0.0, 0.2, "AA"), Phone(0.5, 0.6, "P"), Phone(0.9, 1.3, "B")]
    held = with_faces(held_of(40, phones=phones), {12: turned(1.0), 30: turned(2.0)})
    part = held.cut(10, 20)
    assert part.count == 20 and part.audio.size == 640 * 20
    assert [(p.name, round(p.start_s, 3)) for p in part.phones] == [("P", 0.1)]
    assert list(part.faces) == [2]
    assert part.person.segment_starts.tolist() == [0, 10]
    assert [f.rgb[0, 0, 0] for f in true_frames(part, [0, 1])] == [10, 11]


def test_the_loudest_stretch_is_taken() -> None:
    held = held_of(60)
    held.audio[640 * 30 : 640 * 50] = 0.5
    assert held.loudest(0.8) == (30, 20)
    assert held.loudest(99) == (0, 60)


def test_the_stretch_replays_what_the_student_showed() -> None:
    held = held_of(30)
    student = record(playing(*range(30)), Levels(), 30, STILL, "test", keep=range(10, 14))
    stretch = Stretch(held, range(10, 14), student)
    assert [(f.index, int(f.rgb[0, 0, 0])) for f in stretch.student()] == [
        (0, 10), (1, 11), (2, 12), (3, 13),
    ]  # fmt: skip
    assert stretch.latents[:, 0].tolist() == [10, 11, 12, 13]


# --- table 1 -------------------------------------------------------------------------------------


def _rows(student: dict[str, Any], shifted: dict[str, Any], other: dict[str, Any]) -> Any:
    return {"student": student, "control_shifted": shifted, "control_other_sentence": other}


def test_controls_lose_where_both_are_worse_in_the_metrics_own_direction() -> None:
    good = {"lse_d": 7.0, "lse_c": 8.0, "lmd": 1.0, "lip_corr": 0.9, "av_offset_ms": -10.0,
            "lip_lag_frames": 0.0, "light_asd_contrast": None}  # fmt: skip
    bad = {"lse_d": 9.0, "lse_c": 5.0, "lmd": 2.0, "lip_corr": 0.2, "av_offset_ms": 240.0,
           "lip_lag_frames": 6.0, "light_asd_contrast": None}  # fmt: skip
    lose = table1.controls_lose(_rows(good, bad, bad | {"av_offset_ms": 0.0, "lip_corr": 0.95}))
    assert lose["lse_d"] and lose["lse_c"] and lose["lmd"]
    assert lose["lip_corr"] is False, "one control that wins is enough"
    assert lose["av_offset_ms"] and lose["lip_lag_frames"], "asked of the shifted control alone"
    assert lose["light_asd_contrast"] is None and "light_asd" not in lose
    assert table1.controls_lose(_rows(bad, good, good))["lse_d"] is False


# --- table 2 -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    bundle = load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("tiny") / "avatar", SIZE))
    return bundle, Network(bundle, "teacher", 1)


def test_one_noise_makes_equal_latents_equal_pictures_and_new_noise_does_not(tiny: Any) -> None:
    bundle, teacher = tiny
    one = np.random.default_rng(0).standard_normal((1, LATENT)).astype(np.float32)
    latents = np.repeat(one, 3, 0)
    shared = list(decode(bundle, teacher, latents, 1))
    np.testing.assert_array_equal(shared[0].exact, shared[2].exact)
    assert [d.index for d in shared] == [0, 1, 2]
    assert shared[0].rgb.dtype == np.uint8 and shared[0].rgb.shape == (SIZE, SIZE, 3)
    fresh = [d.exact for d in decode(bundle, teacher, latents, 1, shared=False)]
    assert np.abs(fresh[0] - fresh[1]).mean() > 0.1
    again = [d.exact for d in decode(bundle, teacher, latents, 1, shared=False)]
    np.testing.assert_array_equal(fresh, again)


def test_the_sweep_shows_what_the_shared_noise_is_worth(tiny: Any) -> None:
    bundle, teacher = tiny
    rng = np.random.default_rng(0)
    path = rng.standard_normal(LATENT) + 0.02 * np.cumsum(rng.standard_normal((4, LATENT)), 0)
    sweep = table2.noise_sweep(bundle, teacher, path.astype(np.float32), STILL, (1, 4))
    assert sorted(sweep) == ["1", "4"]
    assert sweep["1"]["jitter_ratio"] > 3.0
    assert sweep["1"]["apart_levels"] > 1.0
    assert sweep["1"]["fresh_flicker_levels"] > sweep["1"]["shared_flicker_levels"]


def test_less_than_the_bar_is_explained_with_its_numbers() -> None:
    def steady(levels: int) -> Take:
        return record(playing(50, 50 + levels, 50), Levels(), 3, STILL, "test")

    sweep = {
        "1": {"jitter_ratio": 6.7, "apart_levels": 0.8},
        "100": {"jitter_ratio": 1.1, "apart_levels": 0.1},
    }
    text = table2.explain(sweep, steady(10), steady(11), steady(1), 100)
    for words in ("1.1 times", "(11 against 10", "less than 3", "0.1 levels apart", "6.7 times"):
        assert words in text
    assert "is met" in table2.explain(sweep, steady(1), steady(9), steady(1), 100)


# --- table 3 -------------------------------------------------------------------------------------


def _base() -> dict[str, Any]:
    figures = {"psnr_db": 34.0, "ssim": 0.95, "lpips": 0.02, "mouth_psnr_db": 30.0}
    base: dict[str, Any] = {"data": "test", "teacher_frames": 4, "teacher_steps": 50}
    base |= {f"teacher_{k}": v for k, v in figures.items()}
    base |= {f"teacher_1_steps_{k}": v + 1 for k, v in figures.items()}
    base["student_on_teacher_frames"] = {k: v + 0.5 for k, v in figures.items()}
    return base


def test_table3_takes_its_rows_from_the_base_figures() -> None:
    scores = dict.fromkeys(("psnr_db", "ssim", "lpips", "mouth_psnr_db"), 0.5)
    table = table3.table3(_base(), (50, 1, 2), scores)
    shown = [(row["kind"], row["evaluations"], row["psnr_db"]) for row in table["rows"]]
    assert shown == [
        ("baseline", None, 0.5), ("teacher", 1, 35.0), ("teacher", 50, 34.0), ("student", 1, 34.5),
    ]  # fmt: skip
    assert table["student_gain_db"] == pytest.approx(0.5)
    assert table["student_gain_lpips"] == pytest.approx(-0.5)


def test_table3_says_why_there_is_no_baseline_and_does_without_a_teacher() -> None:
    base = _base() | {"teacher_psnr_db": None, "teacher_1_steps_psnr_db": None}
    base["student_on_teacher_frames"] = None
    table = table3.table3(base, (1, 50), "not measured: no references")
    assert [row["kind"] for row in table["rows"]] == ["baseline"]
    assert table["rows"][0]["reason"] == "not measured: no references"


# --- table 4 -------------------------------------------------------------------------------------


def test_distances_of_poses_are_of_what_was_shown() -> None:
    held = with_faces(held_of(50, yaw_deg=4.0), {0: turned(4.0), 1: turned(7.0)})
    natural = record(playing(*[6] * 50, pose=(5.0, 0.0, 0.0)), Levels(), 50, STILL, "natural")

    def synthesise(
        samples: NDArray[np.float32], *, pose: tuple[float, float, float] | None = None
    ) -> Iterator[Replayed]:
        assert pose is not None
        yield from playing(*[int(pose[0]) + 1] * (samples.size // 640))

    poses = {"straight": (0.0, 0.0, 0.0), "left": (9.0, 0.0, 0.0), "right": (3.0, 0.0, 0.0)}
    table, pictures = table4.pose_distances(held, natural, Levels(), synthesise, poses, 1.0, 0.4)
    assert table["specified"]["msd_deg2"] == pytest.approx(1 / 3, abs=1e-3)
    assert table["specified"]["msd_sum_deg2"] == pytest.approx(1.0, abs=1e-3)
    assert table["natural"]["msd_sum_deg2"] == pytest.approx((36 + 9 + 9) / 3, abs=1e-2)
    assert table["natural_against_prediction"]["msd_sum_deg2"] == pytest.approx(1.0, abs=1e-3)
    assert table["natural_against_truth"]["msd_sum_deg2"] == pytest.approx(4.0, abs=1e-2)
    assert table["floor"]["msd_sum_deg2"] == pytest.approx(4.5, abs=1e-2)
    assert table["frames"] == {"natural": 50, "specified": 45}
    assert {name: len(row) for name, row in pictures.items()} == dict.fromkeys(poses, 4)


def test_directions_are_the_avatars_presets_or_a_share_of_its_range(tiny: Any) -> None:
    manifest = tiny[0].manifest
    poses = table4.directions(manifest)
    low, high = manifest.pose_range_deg["yaw"]
    assert list(poses) == ["straight", "left", "right"]
    named = {p.name: p.yaw for p in manifest.presets}
    assert poses["left"][0] == pytest.approx(named.get("left", 0.7 * high))
    assert poses["right"][0] == pytest.approx(named.get("right", 0.7 * low))


def _log(folder: Path, losses: list[float], torn: bool = False) -> None:
    folder.mkdir(parents=True)
    rows = [{"step": i, "latent": 9.0, "minutes": 0.1} for i in range(3)]
    rows += [{"step": 10 * i, "test_a_latent": loss} for i, loss in enumerate(losses)]
    text = "\n".join(map(json.dumps, rows)) + ('\n{"step": 99, "la' if torn else "\n")
    (folder / "speech2latent.jsonl").write_text(text)


def test_figure6_reads_the_held_out_curves_of_both_models(tmp_path: Path) -> None:
    _log(tmp_path / "reference", [1.0, 0.5, 0.2])
    _log(tmp_path / "no_pose", [1.0, 0.9, 0.8], torn=True)
    curves = figure6(tmp_path)
    assert curves["test_a"]["reference"] == [[0.0, 1.0], [10.0, 0.5], [20.0, 0.2]]
    assert gap(curves["test_a"])["times_smaller"] == pytest.approx(4.0)


def test_figure6_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--ablations names the folder RUN/ablations"):
        figure6(tmp_path)
    _log(tmp_path / "reference", [])
    _log(tmp_path / "no_pose", [])
    with pytest.raises(DataError, match="no held-out latent losses"):
        figure6(tmp_path)
