"""The certificate: made, kept, renewed, checked; and what is said of it at the start."""

from __future__ import annotations

import datetime
import hashlib
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest

from daetalker.streamer.opening import base_url, opening_lines
from daetalker.streamer.settings import SettingsError
from daetalker.streamer.tls import Certificate, certificate_of, names_of_this_machine
from daetalker.streamer.tokens import open_tokens
from tests.streamer.serving import settings_for

NAMES = ("box", "192.0.2.7", "2001:db8::7", "localhost")
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


def made(tmp_path: Path, names: tuple[str, ...] = NAMES, days: float = 0.0) -> Certificate:
    settings = settings_for(tmp_path / "avatar", host="0.0.0.0")
    found = certificate_of(settings, names, NOW + datetime.timedelta(days=days))
    assert found is not None
    return found


def test_a_certificate_is_made_for_this_machines_names(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert found.made_here and not found.renewed
    assert stat.S_IMODE(found.key.stat().st_mode) == 0o600
    der = ssl.PEM_cert_to_DER_cert(found.cert.read_text())
    assert found.fingerprint.replace(":", "") == hashlib.sha256(der).hexdigest().upper()
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(found.cert, found.key)
    told: Any = ssl._ssl._test_decode_cert(str(found.cert))  # type: ignore[attr-defined]
    names = {value for _, value in told["subjectAltName"]}
    assert names == {"box", "192.0.2.7", "2001:DB8:0:0:0:0:0:7", "localhost"}


def test_it_is_kept_until_it_is_near_its_end_or_the_machine_has_another_name(
    tmp_path: Path,
) -> None:
    first = made(tmp_path)
    assert made(tmp_path, days=300).fingerprint == first.fingerprint
    assert made(tmp_path, NAMES[:2]).fingerprint == first.fingerprint
    renewed = made(tmp_path, days=340)
    assert renewed.renewed and renewed.fingerprint != first.fingerprint
    assert renewed.expires - NOW > datetime.timedelta(days=700)
    moved = made(tmp_path, (*NAMES, "198.51.100.1"), days=340)
    assert moved.renewed and moved.fingerprint != renewed.fingerprint


@pytest.mark.parametrize("name", ["certificate.pem", "certificate-key.pem"])
def test_a_damaged_one_is_made_again(tmp_path: Path, name: str) -> None:
    first = made(tmp_path)
    (first.cert.parent / name).write_text("rubbish")
    assert made(tmp_path).fingerprint != first.fingerprint


def test_the_names_of_this_machine_go_into_a_certificate(tmp_path: Path) -> None:
    names = names_of_this_machine(settings_for(tmp_path, host="talk.example.org"))
    assert {"localhost", "127.0.0.1", "::1", "talk.example.org"} <= set(names)
    assert made(tmp_path, tuple(names))


def test_plain_http_needs_none(tmp_path: Path) -> None:
    assert certificate_of(settings_for(tmp_path)) is None
    assert certificate_of(settings_for(tmp_path, host="0.0.0.0", tls="off")) is None


def test_an_own_certificate_is_used_and_checked(tmp_path: Path) -> None:
    own = made(tmp_path)
    flags = {"host": "0.0.0.0", "tls_cert": str(own.cert), "tls_key": str(own.key)}
    found = certificate_of(settings_for(tmp_path, **flags), now=NOW)
    assert found is not None and not found.made_here and found.fingerprint == own.fingerprint
    with pytest.raises(SettingsError, match="expired on 2027"):
        certificate_of(settings_for(tmp_path, **flags), now=NOW + datetime.timedelta(days=400))
    other = made(tmp_path / "other")
    with pytest.raises(SettingsError, match="not that of the certificate"):
        certificate_of(settings_for(tmp_path, **{**flags, "tls_key": str(other.key)}), now=NOW)
    with pytest.raises(SettingsError, match="PEM"):
        certificate_of(settings_for(tmp_path, **{**flags, "tls_cert": str(own.key)}), now=NOW)


def test_the_start_says_how_to_come_in(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "avatar", host="192.0.2.7")
    lines = opening_lines(settings, 8080, made(tmp_path), open_tokens(settings))
    text = "\n".join(lines)
    assert made(tmp_path).fingerprint in text
    assert "https://192.0.2.7:8080/?token=" in text
    assert "once" in text and "daetalker link" in text and "Warning" not in text
    assert opening_lines(settings_for(tmp_path), 8080, None, None) == []


def test_the_start_warns_of_what_was_switched_off(tmp_path: Path) -> None:
    bare = settings_for(tmp_path, host="192.0.2.7", access="open", tls="off")
    text = "\n".join(opening_lines(bare, 80, None, None))
    assert "without any token" in text and "plain http" in text
    flags = {"host": "192.0.2.7", "tls": "off", "public_url": "https://talk.example.org/face/"}
    proxied = settings_for(tmp_path / "avatar", **flags)
    text = "\n".join(opening_lines(proxied, 80, None, open_tokens(proxied)))
    assert "https://talk.example.org/face/?token=" in text and "Warning" not in text


def test_addresses_for_others_are_those_of_the_network(tmp_path: Path) -> None:
    assert base_url(settings_for(tmp_path, host="::1"), 80) == "http://[::1]:80"
    everywhere = base_url(settings_for(tmp_path, host="0.0.0.0"), 8443)
    assert everywhere.startswith("https://") and "0.0.0.0" not in everywhere
