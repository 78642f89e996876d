"""Several processes train one avatar: same weights in all of them, one log, a falling loss."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("accelerate", reason="needs the training extra")
pytest.importorskip("safetensors")

from daetalker.models.training.loop import Run  # noqa: E402
from daetalker.models.training.team import Team, half_type  # noqa: E402
from tests.models.small_person import write_dataset, write_lpips, write_recipe  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def test_one_process_averages_nothing() -> None:
    team, layer = Team(), torch.nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    team.average_gradients(layer)
    team.wait()
    assert team.main and layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[1.0, 1.0]]
    assert not team.scaler().is_enabled()
    assert half_type(torch.device("cpu")) is torch.bfloat16


def test_the_processes_share_a_batch_and_draw_differently(tmp_path: Path) -> None:
    assert [Team(0, 4).share(count) for count in (24, 6, 1)] == [6, 2, 1]
    one, two = (Run(tmp_path, team=Team(rank, 2)) for rank in (0, 1))
    assert one.rng("student", 3).random() != two.rng("student", 3).random()
    assert one.rng("student").random() == two.rng("student").random(), "preparations are shared"


@pytest.mark.slow
def test_two_processes_end_with_the_same_weights(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data")
    told = tmp_path / "told"
    told.mkdir()
    steps = {"autoencoder": 30, "speech2latent": 30, "student": 12}
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        "-m", "tests.models.pair", str(told), str(tmp_path / "data"), "-o", str(tmp_path / "run"),
        "--config", str(write_recipe(tmp_path / "tiny.toml")), "--no-export",
        "--weights", str(write_lpips(tmp_path / "weights")),
        *(f"--steps-{name}={count}" for name, count in steps.items()),
    ]  # fmt: skip
    paths = os.pathsep.join([str(ROOT / ".dev"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, count in steps.items():
        ends = {file.read_text() for file in told.glob(f"{name}-*-of-2")}
        assert len(list(told.glob(f"{name}-*-of-2"))) == 2 and len(ends) == 1, name
        lines = (tmp_path / "run" / f"{name}.jsonl").read_text().splitlines()
        rows = [row for row in map(json.loads, lines) if "rate" in row]
        assert [row["step"] for row in rows] == [*range(10, count, 10), count], "one process logs"
        loss = "latent" if name == "speech2latent" else "loss"
        if name != "student":
            assert rows[-1][loss] < rows[0][loss]
