from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from daetalker.streamer.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DAETALKER_{name.upper()}", raising=False)
    monkeypatch.delenv("DAETALKER_CONFIG", raising=False)


def test_defaults_stay_on_this_machine() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.avatar) == ("127.0.0.1", 8080, "mira")
    assert settings.ice_servers == []


def test_flags_win_over_environment_over_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("daetalker.toml").write_text('port = 1\nthreads = 3\nprofile = "low_latency"\n')
    monkeypatch.setenv("DAETALKER_PORT", "2")
    monkeypatch.setenv("DAETALKER_THREADS", "4")
    settings = load_settings({"port": "5"})
    assert (settings.port, settings.threads, settings.profile) == (5, 4, "low_latency")


def test_a_named_file_is_read_and_must_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "other.toml"
    file.write_text("max_clients = 9\n")
    assert load_settings(config=file).max_clients == 9
    monkeypatch.setenv("DAETALKER_CONFIG", str(file))
    assert load_settings().max_clients == 9
    with pytest.raises(SettingsError, match=r"no settings file .*missing\.toml"):
        load_settings(config=tmp_path / "missing.toml")


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAETALKER_STUN_SERVERS", "stun:a.example:1, stuns:b.example")
    settings = load_settings({"turn_server": "turn:c.example", "turn_username": "u"})
    assert settings.stun_servers == ("stun:a.example:1", "stuns:b.example")
    assert settings.ice_servers == [
        {"urls": ["stun:a.example:1"]},
        {"urls": ["stuns:b.example"]},
        {"urls": ["turn:c.example"], "username": "u", "credential": ""},
    ]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"port": "x"}, ["port", "--port", "DAETALKER_PORT", "integer"]),
        ({"port": "70000"}, ["port", "65535"]),
        ({"profile": "fast"}, ["profile", "low_latency", "fast"]),
        ({"stun_servers": "example.org"}, ["stun_servers", "stun:"]),
        ({"turn_server": "stun:example.org"}, ["turn_server", "turn:"]),
        ({"allowed_origins": "example.org"}, ["allowed_origins", "https://"]),
        ({"tls_cert": "/nowhere.pem"}, ["tls_cert", "/nowhere.pem"]),
        ({"prot": "1"}, ["prot", "--help"]),
        ({"allowance_ms": "1"}, ["allowance_ms", "10"]),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_setting(
    flags: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(flags)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    file.touch()
    with pytest.raises(SettingsError, match="tls_cert and tls_key"):
        load_settings({"tls_cert": str(file)})


def test_a_broken_file_is_named() -> None:
    Path("daetalker.toml").write_text("port = = 3\n")
    with pytest.raises(SettingsError, match=r"daetalker\.toml is not a readable TOML file"):
        load_settings()


def test_settings_are_frozen_and_described() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.port = 1
    assert all(field.description for field in Settings.model_fields.values())
