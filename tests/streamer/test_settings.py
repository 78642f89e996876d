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
    assert not settings.beyond_loopback and not settings.needs_token and not settings.uses_tls
    assert settings.stun_servers == settings.turn_servers == ()


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
    settings = load_settings({"turn_servers": "turn:c.example,turns:d.example:443?transport=tcp"})
    assert settings.stun_servers == ("stun:a.example:1", "stuns:b.example")
    assert settings.turn_servers == ("turn:c.example", "turns:d.example:443?transport=tcp")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"port": "x"}, ["port", "--port", "DAETALKER_PORT", "integer"]),
        ({"port": "70000"}, ["port", "65535"]),
        ({"profile": "fast"}, ["profile", "low_latency", "fast"]),
        ({"stun_servers": "example.org"}, ["stun_servers", "stun:"]),
        ({"turn_servers": "stun:example.org"}, ["turn_servers", "turn:"]),
        ({"turn_servers": "turn:a.example?transport=sctp"}, ["turn_servers", "transport=tcp"]),
        ({"trusted_proxies": "proxy.example"}, ["trusted_proxies", "127.0.0.1"]),
        ({"public_url": "talk.example.org"}, ["public_url", "https://"]),
        ({"access_secret": "short"}, ["access_secret", "32 characters"]),
        ({"turn_secret": "s"}, ["turn_secret", "turn_servers"]),
        ({"access": "maybe"}, ["access", "token", "open"]),
        ({"token_hours": "0"}, ["token_hours", "greater than 0"]),
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


@pytest.mark.parametrize(
    ("flags", "needs_token", "uses_tls"),
    [
        ({}, False, False),
        ({"host": "localhost"}, False, False),
        ({"host": "127.0.0.2"}, False, False),
        ({"host": "::1"}, False, False),
        ({"host": "0.0.0.0"}, True, True),
        ({"host": "::"}, True, True),
        ({"host": "192.0.2.7"}, True, True),
        ({"host": "talk.example.org"}, True, True),
        ({"host": "0.0.0.0", "access": "open"}, False, True),
        ({"host": "0.0.0.0", "tls": "off"}, True, False),
        ({"access": "token"}, True, False),
    ],
)
def test_beyond_this_machine_a_token_and_https_are_the_default(
    flags: dict[str, str], needs_token: bool, uses_tls: bool
) -> None:
    settings = load_settings(flags)
    assert (settings.needs_token, settings.uses_tls) == (needs_token, uses_tls)


def test_secrets_are_not_shown() -> None:
    secrets = {
        "access_secret": "a" * 32,
        "control_token": "b" * 32,
        "turn_secret": "c" * 32,
        "turn_servers": "turn:a.example",
    }
    settings = load_settings(secrets)
    for name in ("access_secret", "control_token", "turn_secret"):
        assert secrets[name] not in repr(settings)
        assert secrets[name] in settings.secrets()


def test_turn_has_one_kind_of_password() -> None:
    flags = {"turn_servers": "turn:a.example", "turn_secret": "s"}
    with pytest.raises(SettingsError, match="turn_username"):
        load_settings({**flags, "turn_username": "ann"})
    with pytest.raises(SettingsError, match="turn_hours"):
        load_settings({**flags, "turn_hours": "1", "session_minutes": "61"})
