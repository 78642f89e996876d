"""packaging/: what can be said of the service, the container and the alerts without an engine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from daetalker.streamer.doctor_network import ice
from daetalker.streamer.metrics import Metrics
from daetalker.streamer.settings import Settings
from tests.streamer.coturn import coturn
from tests.streamer.serving import PATIENCE_S, running, settings_for
from tests.tiny import make_tiny_bundle

ROOT = Path(__file__).resolve().parents[1]
PACKAGING = ROOT / "packaging"
UNIT = PACKAGING / "daetalker.service"
CONTAINERFILE = PACKAGING / "Containerfile"
OTHER_VARIABLES = {"DAETALKER_AVATARS"}
"""Read by the avatars' folder, not by the settings."""


@pytest.mark.parametrize("name", ["daetalker.service", "Containerfile", "compose.yaml"])
def test_every_variable_is_a_setting(name: str) -> None:
    text = (PACKAGING / name).read_text()
    used = set(re.findall(r"\bDAETALKER_[A-Z_]+\b", text)) - OTHER_VARIABLES
    assert used
    assert used <= {f"DAETALKER_{field.upper()}" for field in Settings.model_fields}


# The unit of systemd.


def unit() -> dict[str, list[str]]:
    """The unit's lines by key."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_is_shut_and_bounded() -> None:
    lines = unit()
    for key in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices"):
        assert lines[key] == ["yes"], key
    assert lines["ProtectSystem"] == ["strict"]
    assert lines["StateDirectory"] == ["daetalker"] and lines["StateDirectoryMode"] == ["0700"]
    assert lines["CapabilityBoundingSet"] == [""]
    assert {"MemoryMax", "TasksMax", "LimitNOFILE", "SystemCallFilter"} <= set(lines)
    assert lines["Restart"] == ["on-failure"]
    assert 5 < int(lines["TimeoutStopSec"][0]) <= 30, "a stop takes up to 5 s"
    assert "--config" in shlex.split(lines["ExecStart"][0])
    assert not [line for line in lines["Environment"] if "SECRET" in line or "TOKEN" in line]


def test_the_unit_allows_what_the_media_needs() -> None:
    """Each of these has been tried: without it no client connects, or none is admitted rightly."""
    lines = unit()
    assert "MemoryDenyWriteExecute" not in lines, "DTLS makes its callbacks so"
    assert "ProcSubset" not in lines, "admission reads /proc/stat"
    assert {"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"} == set(
        lines["RestrictAddressFamilies"][0].split()
    )


def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    # It wants the program to be there, which here it is under another path.
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/daetalker/bin/daetalker", sys.executable))
    verified = subprocess.run(
        [program, "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60
    )
    assert verified.returncode == 0, verified.stderr
    assert UNIT.name not in verified.stderr, "a line is unknown or ignored"
    looked = subprocess.run(
        [program, "security", "--offline=true", "--no-pager", str(copy)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if "Unknown" in looked.stderr or "unrecognized" in looked.stderr:
        pytest.skip("this systemd-analyze is too old for --offline")
    found = re.search(r"exposure level for \S+: ([\d.]+)", looked.stdout)
    assert found is not None, looked.stdout + looked.stderr
    assert float(found.group(1)) < 2.0, "0 is shut, 10 wide open"


# The container.


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions, continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", "", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines]


def test_the_container_is_built_from_what_is_there() -> None:
    copied = [
        source
        for kind, rest in instructions()
        if kind == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    ]
    assert {"streamer", "models", "plugins", "web_client", "pyproject.toml"} <= set(copied)
    allowed = (PACKAGING / "Containerfile.dockerignore").read_text().splitlines()
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in allowed, f"{source} is kept from the build"


def test_the_container_is_pinned_shut_and_looked_after() -> None:
    kinds = [kind for kind, _ in instructions()]
    lines = dict(instructions())
    bases = [rest for kind, rest in instructions() if kind == "FROM"]
    assert all(base.split()[0] == "${BASE}" for base in bases)
    (base,) = [rest for kind, rest in instructions() if kind == "ARG" and rest.startswith("BASE=")]
    assert re.fullmatch(r"BASE=python:3\.(1[1-9])\.\d+-slim-\w+", base), "a release, not latest"
    assert "ADD" not in kinds, "nothing comes from the network but packages"
    run = " ".join(rest for kind, rest in instructions() if kind == "RUN")
    assert "curl" not in run and "wget" not in run and "--only-binary" in run
    assert lines["USER"].split(":")[0].isdecimal() and int(lines["USER"].split(":")[0]) > 0
    assert kinds.index("USER") > max(i for i, kind in enumerate(kinds) if kind == "RUN")
    assert lines["STOPSIGNAL"] == "SIGTERM"
    environment = dict(part.split("=", 1) for part in shlex.split(lines["ENV"]))
    assert lines["EXPOSE"] == f"{environment['DAETALKER_PORT']}/tcp"
    assert environment["DAETALKER_STATE_FOLDER"] == lines["VOLUME"]
    assert not [name for name in environment if "SECRET" in name or "TOKEN" in name]
    assert "healthcheck.py" in lines["HEALTHCHECK"]
    assert lines["ENTRYPOINT"].startswith("["), "signals reach the server, not a shell"


def healthcheck() -> Any:
    spec = spec_from_file_location("healthcheck", PACKAGING / "healthcheck.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_health_check_tells_a_living_server_from_none(tmp_path: Path) -> None:
    import asyncio

    bundle = make_tiny_bundle(tmp_path / "tiny")
    for values in ({}, {"host": "0.0.0.0", "state_folder": str(tmp_path / "state")}):
        async with running(settings_for(bundle, **values)) as server:
            port = server.url.rpartition(":")[2]
            assert await asyncio.to_thread(healthcheck().alive, port), server.url
    began_s = time.monotonic()
    assert not healthcheck().alive(port)
    assert time.monotonic() - began_s < PATIENCE_S


def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    loaded: dict[str, Any] = yaml.safe_load((PACKAGING / "compose.yaml").read_text())
    return loaded


def test_the_composition_is_whole_and_shut() -> None:
    found = compose()
    for name, service in found["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert service["network_mode"] == "host", name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "mem_limit" in service, name
    ours = found["services"]["daetalker"]
    assert (PACKAGING / ours["build"]["context"] / ours["build"]["dockerfile"]).is_file()
    assert ours["volumes"][0].split(":")[0] in found["volumes"]
    assert re.fullmatch(r"coturn/coturn:[\d.]+(-r\d+)?", found["services"]["turn"]["image"])


def test_the_composition_s_turn_server_serves_us(tmp_path: Path) -> None:
    """Its own flags with the real coturn, and our own way to make credentials."""
    secret = "a secret of at least thirty-two characters"
    values = {"TURN_SECRET": secret, "TURN_HOST": "test", "EXTERNAL_IP": "127.0.0.1"}
    flags = [
        re.sub(r"\$\{(\w+):\?\}", lambda name: values[name.group(1)], flag)
        for flag in compose()["services"]["turn"]["command"]
        if not flag.startswith(("--listening-port", "--log-file", "--realm"))
    ]
    with coturn(tmp_path, *flags) as port:
        server = f"turn:127.0.0.1:{port}"
        (found,) = ice(
            settings_for(tmp_path, turn_servers=server, turn_secret=secret), answer_s=10.0
        )
    assert found.status == "ok", found


def test_alerts_ask_for_figures_that_there_are() -> None:
    metrics = Metrics()
    metrics.plugins({"a": "removed"})
    metrics.refused("wrong_origin")
    there = set(re.findall(r"^(\w+)(?:\{| )", metrics.render()[0].decode(), re.MULTILINE))
    text = (PACKAGING / "alerts.yaml").read_text()
    rules = re.findall(r"^\s+expr: (.+?)(?=^\s+(?:for|annotations):)", text, re.M | re.S)
    assert len(rules) == text.count("- alert:") > 8
    for rule in rules:
        asked = set(re.findall(r"\b(?:daetalker|process)_\w+", re.sub(r'"[^"]*"', "", rule)))
        assert asked - {"process_cpu"} <= there, rule
    docs = (ROOT / "docs" / "operations.md").read_text()
    for name in re.findall(r"- alert: (\w+)", text):
        assert name in docs, f"docs/operations.md does not say what to do about {name}"


def test_the_packaging_is_in_the_source_archive() -> None:
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    assert "packaging" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    assert os.access(UNIT, os.R_OK)
