from __future__ import annotations

import re
import time
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from daetalker.streamer import doctor_machine as machine

ROOT = Path(__file__).resolve().parents[2]


def test_an_old_python_is_an_error_with_a_fix() -> None:
    assert machine.python((3, 12, 1)).status == "ok"
    old = machine.python((3, 10, 4))
    assert (old.status, old.fix) == ("error", "install Python 3.11 or newer")


def test_the_packages_are_those_of_the_project_with_its_lower_bounds() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        lines = tomllib.load(file)["project"]["dependencies"]
    wanted = {}
    for line in lines:
        found = re.match(r"([\w-]+)>=([\d.]+)", line)
        assert found is not None, line
        wanted[found.group(1)] = tuple(int(part) for part in found.group(2).split("."))
    assert wanted == machine.OLDEST


def test_old_and_missing_packages_are_named() -> None:
    assert machine.packages().status == "ok"

    def old(name: str) -> str:
        return "1.9.0.post1" if name == "aiortc" or name == "numpy" else metadata.version(name)

    found = machine.packages(lambda name: "1.14.2" if name == "aiortc" else metadata.version(name))
    assert found.status == "error"
    assert "aiortc 1.14.2 is older than 1.15" in found.message
    assert found.fix == "pip install --upgrade aiortc"
    assert machine.packages(old).fix == "pip install --upgrade aiortc numpy"

    def none(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    assert "missing: aiortc" in machine.packages(none).message


def test_a_pyav_without_a_codec_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.codecs().status == "ok"
    monkeypatch.setattr(machine, "ENCODERS", ("libvpx", "nonsense"))
    found = machine.codecs()
    assert found.status == "error" and "lacks nonsense" in found.message and found.fix


def test_more_threads_than_processors_and_busy_ones_are_warned_of() -> None:
    cpu = ("CPUExecutionProvider",)
    assert machine.processors(2, 2, cpu, 0.3).status == "ok"
    many = machine.processors(8, 2, cpu, 0.3)
    assert (many.status, many.fix) == ("warning", "serve with --threads 2")
    assert machine.processors(2, 2, cpu, 7.5).status == "warning"
    gpu = machine.processors(2, 2, ("CUDAExecutionProvider", *cpu), 0.3)
    assert "GPU is not used" in gpu.message


def meminfo(folder: Path, free_mib: int) -> Path:
    path = folder / "meminfo"
    path.write_text(f"MemTotal: 99 kB\nMemAvailable:   {free_mib * 1024} kB\n")
    return path


def test_memory_says_how_many_clients_fit(tmp_path: Path) -> None:
    assert machine.memory(4, meminfo(tmp_path, 4000)).status == "ok"
    tight = machine.memory(8, meminfo(tmp_path, 360))
    assert (tight.status, tight.fix.startswith("serve with --max-clients 3")) == ("warning", True)
    assert machine.memory(1, meminfo(tmp_path, 100)).status == "error"
    contained = machine.memory(1, meminfo(tmp_path, 4000), limit_mib=128.0)
    assert contained.status == "error" and "128 MiB allowed" in contained.message
    assert machine.memory(1, tmp_path / "nothing").status == "ok"


def test_the_limit_of_a_container_is_found(tmp_path: Path) -> None:
    assert machine.memory_limit_mib(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory_limit_mib(tmp_path) is None
    (tmp_path / "memory.max").write_text(f"{512 << 20}\n")
    assert machine.memory_limit_mib(tmp_path) == 512
    old = tmp_path / "old" / "memory"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert machine.memory_limit_mib(tmp_path / "old") is None


def test_too_few_files_come_with_the_number_that_is_enough() -> None:
    assert machine.files(4, limit=1024).status == "ok"
    few = machine.files(100, limit=1024)
    assert few.status == "warning"
    assert "ulimit -n 1728" in few.fix and "LimitNOFILE=1728" in few.fix


def test_a_clock_that_is_behind_slow_or_alone_is_told() -> None:
    def in_time(seconds: float) -> None:
        """Sleeps not at all, which is no later than asked."""

    def late(seconds: float) -> None:
        time.sleep(seconds + 0.015)

    right = machine.clock(sleep=in_time, synchronised=lambda: True)
    assert right.status == "ok"
    assert machine.clock(sleep=in_time, synchronised=lambda: None).status == "ok"
    behind = machine.clock(now_s=0.0, sleep=in_time)
    assert behind.status == "error" and "timedatectl" in behind.fix
    slow = machine.clock(sleep=late, synchronised=lambda: True)
    assert slow.status == "warning" and "unevenly" in slow.message
    alone = machine.clock(sleep=in_time, synchronised=lambda: False)
    assert alone.status == "warning" and "set-ntp" in alone.fix
