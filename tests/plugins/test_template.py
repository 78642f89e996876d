"""The template plugin, installed as the separate distribution that it is."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daetalker.streamer.plugin import PluginError, find_plugin, plugin_names
from tests.streamer.serving import PATIENCE_S, buzz, running, settings_for

TEMPLATE = Path(__file__).resolve().parents[2] / "examples" / "plugin_template"


def test_without_it_the_name_is_unknown() -> None:
    if "glance" in plugin_names():
        pytest.skip("it is installed in this environment")
    with pytest.raises(PluginError, match="there is no plugin 'glance'"):
        find_plugin("glance")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the import path that holds the template, installed by pip."""
    pytest.importorskip("hatchling", reason='hatchling builds it: pip install "daetalker[dev]"')
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin"
    source.mkdir()
    for file in TEMPLATE.iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", str(folder), str(source)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        yield folder
    sys.modules.pop("daetalker_glance", None)


def test_the_template_is_short() -> None:
    lines = (TEMPLATE / "daetalker_glance.py").read_text().splitlines()
    assert len(lines) < 40


async def test_it_is_found_by_its_name_and_does_what_it_says(
    bundle: Path, installed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "glance" in plugin_names()
    own = {"glance": {"quiet_s": 0.5, "yaw": 6.0}}
    settings = settings_for(bundle, plugins=("glance",), plugin=own)
    async with running(settings) as server:
        module = sys.modules["daetalker_glance"].__file__
        assert module is not None and Path(module).parent == installed
        session = await server.hub.open_session()
        async with asyncio.timeout(PATIENCE_S):
            while abs(session.state().pose.yaw - 6.0) > 2.0:
                await asyncio.sleep(0.05)
            await session.speak(buzz(4.0), 48_000)
            while session.session.control.pose is not None:
                await asyncio.sleep(0.05)
        assert [row["state"] for row in server.plugins.report()] == ["running"]
