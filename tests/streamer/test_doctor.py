from __future__ import annotations

from pathlib import Path

import pytest

from daetalker.streamer.doctor import as_json, examine, low_latency
from daetalker.streamer.finding import Finding
from daetalker.streamer.server import bind
from tests.streamer.serving import settings_for
from tests.tiny import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("avatar") / "tiny", size=32)


def test_a_healthy_machine_has_no_errors(bundle: Path) -> None:
    findings = {finding.name: finding for finding in examine(settings_for(bundle))}
    assert list(findings)[:16] == [
        "python", "packages", "codecs", "processors", "avatar", "speed", "low latency", "memory",
        "open files", "clock", "port", "network", "udp", "microphone", "access", "state folder",
    ]  # fmt: skip
    assert as_json(list(findings.values()))["ok"]
    assert "tier" in findings["speed"].message
    assert not findings["avatar"].fix


def test_each_fault_comes_with_a_fix_and_the_rest_is_still_examined(tmp_path: Path) -> None:
    taken = bind(settings_for(tmp_path))
    try:
        settings = settings_for(tmp_path / "nobody", port=taken.getsockname()[1])
        findings = {finding.name: finding for finding in examine(settings)}
    finally:
        taken.close()
    for name in ("avatar", "port"):
        assert findings[name].status == "error"
        assert findings[name].fix
    assert "speed" not in findings
    assert findings["microphone"].status == "ok"


def test_a_damaged_avatar_is_told_apart(bundle: Path, tmp_path: Path) -> None:
    broken = make_tiny_bundle(tmp_path / "broken", size=32)
    (broken / "student.onnx").write_bytes(b"junk")
    findings = {finding.name: finding for finding in examine(settings_for(broken))}
    assert findings["avatar"].status == "error"
    assert "student.onnx" in findings["avatar"].message


def test_the_profile_low_latency_is_held_against_the_warm_up(bundle: Path) -> None:
    fast = {"acoustic": 10.0, "speech": 3.0, "latent": 2.0, "student": 8.0}
    slow = fast | {"student": 60.0}
    default, wanted = settings_for(bundle), settings_for(bundle, profile="low_latency")
    assert low_latency(fast, default).status == low_latency(fast, wanted).status == "ok"
    assert "works here" in low_latency(fast, default).message
    assert low_latency(slow, default).status == "ok", "nobody has asked for it"
    assert low_latency(slow, wanted).status == "warning"
    assert low_latency(slow, wanted).fix == "serve with --profile default"


def test_one_error_makes_the_whole_not_ok() -> None:
    good, bad = Finding("a", "ok", "fine"), Finding("b", "error", "broken", "mend it")
    assert as_json([good])["ok"] is True
    assert as_json([good, bad]) == {
        "ok": False,
        "findings": [
            {"name": "a", "status": "ok", "message": "fine", "fix": ""},
            {"name": "b", "status": "error", "message": "broken", "fix": "mend it"},
        ],
    }
