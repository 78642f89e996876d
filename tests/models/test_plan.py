"""Budgets: minutes become steps once, and a run folder knows what it is for."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("safetensors")

from daetalker.models.training import cli
from daetalker.models.training.configs import EMBEDDED
from daetalker.models.training.data import DataError
from daetalker.models.training.plan import (
    Plan,
    announce,
    budget,
    check_space,
    open_plan,
    remaining_s,
    settings_of,
)
from daetalker.models.training.progress import Terminal, spell_time
from daetalker.models.training.stages import STAGES
from tests.models.small_person import write_dataset, write_lpips, write_recipe

RATES = {"autoencoder": 2.0, "speech2latent": 1.0, "student": 1.5, "window": 0.01}
FRAMES = 10_000


def planned(
    minutes: float | None = None, asked: dict[str, int] | None = None, **earlier: int
) -> Plan:
    made = Plan("embedded", {}, 0, {}, dict(earlier), dict(RATES))
    budget(made, EMBEDDED, FRAMES, STAGES, minutes, asked or {})
    return made


def test_minutes_hold_what_is_planned_for_them() -> None:
    for minutes in (40, 120):
        made = planned(minutes)
        assert sum(made.estimate_s.values()) / 60 == pytest.approx(minutes, rel=0.02)
    usual = planned(120)
    assert usual.steps["autoencoder"] * 2 > 2 * usual.steps["speech2latent"]


def test_the_recipe_says_how_long_without_minutes() -> None:
    made = planned()
    assert made.estimate_s["autoencoder"] / 60 == pytest.approx(
        EMBEDDED.autoencoder.minutes, rel=0.01
    )
    stage = replace(EMBEDDED.autoencoder, steps=77)
    own = Plan("x", {}, 0, {}, {}, dict(RATES))
    budget(own, replace(EMBEDDED, autoencoder=stage), FRAMES, STAGES, None, {})
    assert own.steps["autoencoder"] == 77


def test_steps_asked_for_or_planned_before_stay() -> None:
    made = planned(60, {"student": 7}, autoencoder=500)
    assert made.steps["autoencoder"] == 500 and made.steps["student"] == 7
    assert made.steps["speech2latent"] > 500


def test_too_few_minutes_are_refused() -> None:
    with pytest.raises(DataError, match="too few"):
        planned(2)


def test_the_estimate_is_said_in_words(tmp_path: Path) -> None:
    made = planned(110)
    text = announce(made, remaining_s(made, tmp_path, STAGES), now=0.0)
    assert text.startswith("about 1 h 50 min: autoencoder ")
    assert "latents" in text and "steps)" in text and "; ends about " in text
    assert [spell_time(s) for s in (3, 89, 120, 3600, 6630)] == [
        "3 s", "89 s", "2 min", "1 h 00 min", "1 h 50 min",
    ]  # fmt: skip


def test_what_is_done_takes_no_more_time(tmp_path: Path) -> None:
    made = planned(110)
    half = made.steps["autoencoder"] / 2
    (tmp_path / "autoencoder.jsonl").write_text(f'{{"step": {half}}}\n{{"step": 3')
    left = remaining_s(made, tmp_path, STAGES)
    assert left["autoencoder"] == pytest.approx(made.estimate_s["autoencoder"] / 2)
    assert left["student"] == made.estimate_s["student"]


def test_a_run_knows_its_data_and_configuration(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data") / "train"
    run = tmp_path / "run"
    made = open_plan(run, EMBEDDED, data)
    made.steps["student"] = 5
    made.save(run)
    assert open_plan(run, EMBEDDED, data).steps == {"student": 5}
    longer = replace(EMBEDDED, autoencoder=replace(EMBEDDED.autoencoder, minutes=1.0))
    open_plan(run, longer, data)  # a budget is no part of what a run is
    other = replace(EMBEDDED, student=replace(
        EMBEDDED.student, training=replace(EMBEDDED.student.training, rate=1.0)
    ))  # fmt: skip
    with pytest.raises(DataError, match=r"student\.training\.rate was 0\.0003, is 1\.0"):
        open_plan(run, other, data)
    moved = data.rename(tmp_path / "elsewhere")
    open_plan(run, EMBEDDED, moved)
    audio = moved / "audio.wav"
    audio.write_bytes(audio.read_bytes()[:-2] + b"xy")
    with pytest.raises(DataError, match="begun with other data"):
        open_plan(run, EMBEDDED, moved)
    (run / "plan.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        open_plan(run, EMBEDDED, moved)


def test_teacher_evaluations_are_no_budget() -> None:
    assert settings_of(EMBEDDED)["student.training.steps"] == EMBEDDED.student.training.steps
    assert "student.steps" not in settings_of(EMBEDDED)


def test_a_disk_too_small_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_space(tmp_path, EMBEDDED, frames=10, width=8)
    free = shutil.disk_usage(tmp_path)._replace(free=2_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(DataError, match=r"has 2\.0 GB free, and this training keeps about \d"):
        check_space(tmp_path, EMBEDDED, FRAMES, width=384)


def test_an_estimate_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rehearsal runs every stage for real, and leaves neither plan nor checkpoint."""
    monkeypatch.setattr(cli, "SHORTEST_S", 1.0)
    write_dataset(tmp_path / "data")
    argv = [
        str(tmp_path / "data"), "-o", str(tmp_path / "run"), "--no-export", "--estimate",
        "--config", str(write_recipe(tmp_path / "tiny.toml")), "--minutes", "5",
        "--weights", str(write_lpips(tmp_path / "weights")),
    ]  # fmt: skip
    assert cli.main(argv) == 0
    assert "about 5 min: autoencoder" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"cache"}


def test_the_view_shows_stage_steps_time_and_figures() -> None:
    class Screen:
        text = ""

        def isatty(self) -> bool:
            return False

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

        def flush(self) -> None:
            pass

    screen = Screen()
    view = Terminal(STAGES, screen, every_s=0.0)  # type: ignore[arg-type]
    view.stage("student", later_s=60.0)
    view.held_out({"psnr": 30.0, "ssim": 0.95, "lpips": 0.1})
    view.loss("loss", 0.5)
    for step in range(3):
        view.step(step + 1, 200, samples=24)
    assert "4/5 student: step 3/200" in screen.text
    assert "loss 0.5 · held-out psnr 30, ssim 0.95" in screen.text


def test_caches_are_counted_as_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in the cache already need not fit once more."""
    free = shutil.disk_usage(tmp_path)._replace(free=506_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    few = replace(
        EMBEDDED,
        window=replace(EMBEDDED.window, augmented=0, quiet=0),
        student=replace(EMBEDDED.student, training=replace(EMBEDDED.student.training, ends=16)),
    )
    with pytest.raises(DataError, match="make room"):
        check_space(tmp_path, few, frames=10, width=8)
    (tmp_path / "cache").mkdir()
    np.save(tmp_path / "cache/frames.npy", np.zeros(4_000_000, np.uint8))
    check_space(tmp_path, few, frames=10, width=8)


def test_the_plan_is_readable(tmp_path: Path) -> None:
    made = planned(60)
    made.save(tmp_path)
    assert json.loads((tmp_path / "plan.json").read_text())["steps"] == made.steps
