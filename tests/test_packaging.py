"""What is installed is what is on disk: sdist, then a wheel from that sdist, then compare."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("models", "plugins", "streamer", "web_client")
CACHES = {"__pycache__", "node_modules", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def _on_disk(room: str) -> set[str]:
    """Files of a room as they should appear in the wheel, without caches."""
    return {
        f"daetalker/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / room).rglob("*")
        if path.is_file() and not CACHES.intersection(path.parts) and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the sdist makes; built without isolation, so nothing is downloaded."""
    for module in ("build", "hatchling"):
        if find_spec(module) is None:
            pytest.skip(f'{module} is not installed: pip install "daetalker[dev]"')
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def sdist(wheel: Path) -> Path:
    (built,) = wheel.parent.glob("*.tar.gz")
    return built


@pytest.mark.parametrize("room", ROOMS)
def test_the_wheel_holds_every_file_of_the_room_and_no_other(wheel: Path, room: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith(f"daetalker/{room}/")}
    assert packed == _on_disk(room)


def test_nothing_lies_beside_the_namespace(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"daetalker"}
    assert "daetalker/__init__.py" not in names


def test_the_wheel_carries_licence_entry_point_and_a_base_without_torch(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = {
            name.split(".dist-info/")[1]: name for name in archive.namelist() if ".dist-" in name
        }
        metadata = Parser().parsestr(archive.read(info["METADATA"]).decode())
        entry_points = archive.read(info["entry_points.txt"]).decode()
    assert {"licenses/LICENSE", "licenses/NOTICE"} <= set(info)
    assert "daetalker = daetalker.streamer.cli:main" in entry_points
    assert metadata["Name"] == "daetalker"
    assert metadata["License-Expression"] == "Apache-2.0"
    base = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert base
    assert not [need for need in base if need.startswith(("torch", "transformers", "mediapipe"))]


def test_the_sdist_holds_what_tests_need_and_nothing_private(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "tests/test_packaging.py"} <= names
    private = (".venv", "node_modules", ".git/", "data/", "runs/")
    assert not [name for name in names if name.startswith(private)]


def test_the_wheel_is_small(wheel: Path) -> None:
    """The embedded bundle is the only large thing in it, and stays under 40 MB."""
    assert wheel.stat().st_size < 45e6
