"""A training killed at any moment and begun again is the training it would have been."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("safetensors")

from daetalker.models.training import store  # noqa: E402
from daetalker.models.training.loop import Loop, Run, TrainingError, rate_at  # noqa: E402
from daetalker.models.training.store import cached_rows, digest, write_whole  # noqa: E402
from tests.models.small_person import write_dataset, write_lpips, write_recipe  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LEARNING = ("autoencoder", "speech2latent", "student")


def rows_of(run: Path, name: str) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]
    for row in rows:
        del row["minutes"]
    return rows


@pytest.mark.slow
def test_twenty_deaths_change_nothing(tmp_path: Path) -> None:
    """SIGKILL at random moments of every stage: same losses, same weights, no row twice."""
    write_dataset(tmp_path / "data")
    write_recipe(tmp_path / "tiny.toml")
    write_lpips(tmp_path / "weights")
    command = [sys.executable, "-m", "tests.models.kill_and_resume", str(tmp_path), "20", "0"]
    paths = os.pathsep.join([str(ROOT / ".dev"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert len(report["stages"]) == 20
    assert set(report["stages"]) >= set(LEARNING), report
    for number in range(report["rounds"]):
        war, peace = tmp_path / f"war{number}", tmp_path / "peace"
        assert not list(war.rglob("*.part*"))
        for name in LEARNING:
            rows = rows_of(war, name)
            losses = [row["step"] for row in rows if "rate" in row]
            assert losses == list(range(1, 25))
            assert rows == rows_of(peace, name)
            ours, theirs = (
                torch.load(run / f"{name}.pt", weights_only=True) for run in (war, peace)
            )
            torch.testing.assert_close(ours["modules"], theirs["modules"])
            torch.testing.assert_close(ours["ema"]["shadow"], theirs["ema"]["shadow"])
            steps = report["board"][f"war{number}/{name}"]
            assert steps == list(range(1, 25)), name


def line(run: Run, steps: int, stop_after: int | None = None, loss: float = 1.0) -> Loop:
    """A loop over two random numbers a step; a kill after ``stop_after`` steps if given."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(2, 1)
    loop = Loop("line", run, layer, torch.optim.Adam(layer.parameters()), steps, rate=0.01)
    for step in loop:
        x = torch.from_numpy(step.rng.standard_normal((4, 2)).astype(np.float32))
        error = (layer(x + torch.randn(4, 2)) - 3.0).pow(2).mean() * loss
        loop.learn(error)
        loop.log(loss=error)
        if stop_after is not None and step.number + 1 >= stop_after:
            break
    return loop


def test_a_resumed_loop_makes_the_same_steps(tmp_path: Path) -> None:
    whole = line(Run(tmp_path / "whole"), 40)
    run = Run(tmp_path / "parts", save_every_s=0.0)
    line(run, 40, stop_after=27)
    again = line(run, 40)
    assert again.spent_s > 0
    torch.testing.assert_close(whole.modules.state_dict(), again.modules.state_dict())
    assert whole.ema.updates == again.ema.updates == 40
    assert rows_of(tmp_path / "parts", "line") == rows_of(tmp_path / "whole", "line")
    before = (tmp_path / "parts/line.pt").read_bytes()
    line(run, 40)  # nothing is left to do
    assert torch.load(tmp_path / "parts/line.pt", weights_only=True)["step"] == 40
    assert len(before) == (tmp_path / "parts/line.pt").stat().st_size


def test_rows_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    line(Run(tmp_path, save_every_s=0.0), 40, stop_after=21)
    log = tmp_path / "line.jsonl"
    with log.open("a") as file:
        file.write('{"step": 30, "minutes": 1, "loss": 7}\n{"step": 20, "lo')
    line(Run(tmp_path), 40)
    assert [row["step"] for row in rows_of(tmp_path, "line")] == [10, 20, 30, 40]
    assert 7.0 not in {row["loss"] for row in rows_of(tmp_path, "line")}


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    one, two = (line(Run(tmp_path / str(seed), seed=seed), 20) for seed in (0, 1))
    assert not torch.equal(one.modules.weight, two.modules.weight)


def test_a_loss_that_is_no_number_names_the_checkpoint(tmp_path: Path) -> None:
    line(Run(tmp_path, save_every_s=0.0), 40, stop_after=21)
    with pytest.raises(TrainingError, match=r"not a number at step 30; .*line\.pt holds step 20"):
        line(Run(tmp_path), 40, loss=float("nan"))
    state = torch.load(tmp_path / "line.pt", weights_only=True)
    assert torch.isfinite(state["modules"]["weight"]).all()
    with pytest.raises(TrainingError, match="no checkpoint"):
        line(Run(tmp_path / "new"), 40, loss=float("nan"))


def test_the_rate_follows_the_steps() -> None:
    rates = [rate_at(step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == rates[200] == 1.0
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)
    assert rates[650] == pytest.approx(0.51, abs=0.01)


def squares(start: int, stop: int) -> NDArray[np.float32]:
    return (np.arange(start, stop, dtype=np.float32) ** 2)[:, None]


def test_cached_rows_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "FLUSH_EVERY_S", 0.0)
    path = tmp_path / "x.npy"
    asked: list[int] = []

    def compute(start: int, stop: int) -> NDArray[np.float32]:
        if start >= 6 and len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(start)
        return squares(start, stop)

    with pytest.raises(KeyboardInterrupt):
        cached_rows(path, (10, 1), np.float32, compute, 2)
    assert not path.exists()
    asked.append(-1)
    made = cached_rows(path, (10, 1), np.float32, compute, 2)
    assert asked == [0, 2, 4, -1, 6, 8]
    np.testing.assert_array_equal(made, squares(0, 10))
    assert not list(tmp_path.glob("*.part*"))
    cached_rows(path, (10, 1), np.float32, compute, 2)
    assert len(asked) == 6, "a finished file is not computed again"
    cached_rows(path, (4, 1), np.float32, compute, 2)
    assert len(asked) == 8, "a file of another shape is made anew"


def test_half_a_file_is_never_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for partial in (b"", b"\x93NUMPY half a header"):
        path.with_suffix(".part.npy").write_bytes(partial)
        path.with_suffix(".part.count").write_text("4")
        made = cached_rows(path, (10, 1), np.float32, squares, 4)
        np.testing.assert_array_equal(made, squares(0, 10))
        path.unlink()


def test_superseded_caches_are_deleted(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "cache").mkdir()
    for name in ("ends-aaa.npy", "ends-aaa.part.npy", "train-256.npy"):
        (tmp_path / "cache" / name).write_bytes(b"")
    run.rows("ends-bbb", (10, 1), np.float32, squares, 4, lambda done, total: None)
    assert {path.name for path in run.cache.iterdir()} == {"ends-bbb.npy", "train-256.npy"}


def test_a_write_that_dies_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.pt"
    write_whole(path, b"old")

    def die(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_digest_changes_with_any_weight() -> None:
    state = {"a": torch.zeros(3), "b": torch.ones(2, dtype=torch.long)}
    changed = {**state, "a": torch.tensor([0.0, 0.0, 1e-7])}
    assert digest(state) == digest(dict(reversed(state.items())))
    assert len({digest(state), digest(changed), digest(state, "20"), digest(state["a"])}) == 4
