"""Commands and checks that other packages add, by entry points."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from daetalker.streamer import doctor
from daetalker.streamer.cli import main
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.extensions import command_names
from daetalker.streamer.plugin import Finding, MissingExtra, Plugin, PluginSettings
from tests.streamer.serving import settings_for

CALLS: list[list[str]] = []


def hello(arguments: list[str]) -> int:
    CALLS.append(arguments)
    return 7


def refuse(arguments: list[str]) -> int:
    raise StreamerError("there is no camera; plug one in")


class Checked(Plugin):
    """Says what its settings say."""

    name = "checked"

    class Settings(PluginSettings):
        say: str = "fine"

    @classmethod
    def examine(cls, settings: Any) -> Iterable[Finding]:
        match settings.say:
            case "fine":
                yield Finding("checked", "ok", "all is well")
            case "error":
                yield Finding("checked", "error", "no device", "plug one in")
            case "hang":
                time.sleep(5)
            case "raise":
                raise RuntimeError("a bug")


class Lacking(Plugin):
    name = "lacking"

    @classmethod
    def examine(cls, settings: Any) -> Iterable[Finding]:
        raise MissingExtra("lacking", "somepackage")


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have these entry points and no others."""

    def have(group: str, **values: str) -> None:
        points = [metadata.EntryPoint(name, value, group) for name, value in values.items()]

        def select(**wanted: str) -> list[metadata.EntryPoint]:
            return [
                point for point in points if all(getattr(point, k) == v for k, v in wanted.items())
            ]

        monkeypatch.setattr(metadata, "entry_points", select)

    return have


def test_added_commands_run_with_the_rest_of_the_arguments(
    entry_points: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    here = f"{__name__}:"
    entry_points(
        "daetalker.commands",
        hello=here + "hello",
        **{"bench-hello": here + "hello", "refuse": here + "refuse", "gone": "nowhere.at_all:x"},
    )
    CALLS.clear()
    assert main(["hello", "--loud", "you"]) == 7
    assert main(["bench", "hello", "--json"]) == 7
    assert CALLS == [["--loud", "you"], ["--json"]]
    assert command_names() == ["bench-hello", "gone", "hello", "refuse"]
    assert main(["refuse"]) == 2
    assert capsys.readouterr().err == "daetalker: there is no camera; plug one in\n"
    assert main(["gone"]) == 2
    assert "'gone' cannot be imported" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "Added by plugins: bench hello, gone, hello, refuse" in " ".join(
        capsys.readouterr().out.split()
    )


def test_our_own_commands_cannot_be_taken(entry_points: Callable[..., None]) -> None:
    entry_points("daetalker.commands", **{"avatars": f"{__name__}:hello", "bench-live": "x:y"})
    CALLS.clear()
    assert main(["avatars", "list"]) == 0
    assert CALLS == []


@pytest.mark.parametrize(
    ("say", "wanted", "status", "words"),
    [
        ("fine", False, "ok", "all is well"),
        ("error", False, "warning", "no device"),
        ("error", True, "error", "no device"),
        ("raise", True, "error", "its check failed"),
        ("hang", True, "error", "took longer"),
    ],
)
def test_doctor_asks_every_plugin(
    bundle: Path,
    entry_points: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    say: str,
    wanted: bool,
    status: str,
    words: str,
) -> None:
    here = f"{__name__}:"
    entry_points("daetalker.plugins", checked=here + "Checked", lacking=here + "Lacking")
    monkeypatch.setattr(doctor, "PLUGIN_CHECK_S", 0.5)
    settings = settings_for(
        bundle, plugins=("checked",) if wanted else (), plugin={"checked": {"say": say}}
    )
    found = {finding.name: finding for finding in doctor.examine(settings)}
    assert found["plugin checked"].status == status
    assert words in found["plugin checked"].message
    assert (not found["plugin checked"].fix) == (status == "ok")
    lacking = found["plugin lacking"]
    assert lacking.status == "warning" and 'pip install "daetalker[lacking]"' in lacking.message


def test_wrong_settings_of_a_plugin_are_a_finding(
    bundle: Path, entry_points: Callable[..., None]
) -> None:
    entry_points("daetalker.plugins", checked=f"{__name__}:Checked")
    settings = settings_for(bundle, plugins=("checked",), plugin={"checked": {"sey": "fine"}})
    found = {finding.name: finding for finding in doctor.examine(settings)}["plugin checked"]
    assert found.status == "error" and "there is no such setting; there are: say" in found.message
