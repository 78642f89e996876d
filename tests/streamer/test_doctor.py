from __future__ import annotations

from pathlib import Path

import pytest

from daetalker.streamer.doctor import as_json, examine
from daetalker.streamer.finding import Finding
from daetalker.streamer.server import bind
from tests.streamer.serving import settings_for
from tests.tiny import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("avatar") / "tiny", size=32)


def test_a_healthy_machine_has_no_errors(bundle: Path) -> None:
    findings = {finding.name: finding for finding in examine(settings_for(bundle))}
    assert list(findings)[:8] == [
        "python", "packages", "codecs", "avatar", "speed", "port", "network", "microphone"
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


def test_plain_http_on_a_network_is_a_warning(bundle: Path) -> None:
    found = {f.name: f for f in examine(settings_for(bundle, host="0.0.0.0"))}["microphone"]
    assert found.status == "warning"
    assert "--tls-cert" in found.fix


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
