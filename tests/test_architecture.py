"""What the running interpreter sees of the import rules; the graph itself is in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "mediapipe", "onnx", "safetensors")


def _modules(room: str) -> list[str]:
    return sorted(
        ".".join(["daetalker", *path.relative_to(ROOT).with_suffix("").parts])
        for path in (ROOT / room).rglob("*.py")
        if path.stem != "__init__"
    )


def _run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh interpreter that finds the package as this one does."""
    path = [str(ROOT / ".dev"), *sys.path]
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_serving_loads_no_training_library() -> None:
    done = _run(
        "import importlib\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])",
        *_modules("streamer"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_live_modules_of_models_load_numpy_at_most() -> None:
    live = [f"daetalker.models.{name}" for name in ("bundle", "ddim_numpy", "mel")]
    done = _run(
        "import importlib\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(*[name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules])",
        *live,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_import_contracts_hold() -> None:
    if find_spec("importlinter") is None:
        pytest.skip('import-linter is not installed: pip install "daetalker[dev]"')
    done = _run(
        "import os; os.chdir(sys.argv[1])\n"
        "from importlinter.cli import lint_imports\n"
        "sys.exit(lint_imports(no_cache=True))",
        str(ROOT),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_namespace_has_no_init_of_its_own() -> None:
    """Another distribution may add to `daetalker`; an `__init__.py` would hide it."""
    links = ROOT / ".dev" / "daetalker"
    assert sorted(link.name for link in links.iterdir()) == [
        "models",
        "plugins",
        "streamer",
        "web_client",
    ]
    assert all(link.resolve() == ROOT / link.name for link in links.iterdir())
