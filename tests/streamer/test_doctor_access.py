from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from daetalker.streamer import doctor_access as access
from daetalker.streamer.finding import Finding
from daetalker.streamer.tls import certificate_of
from tests.streamer.serving import settings_for

NOW = datetime.datetime.now(datetime.UTC)


def signed(folder: Path, *names: str, days: float = 90) -> dict[str, Any]:
    """Settings with a certificate for these names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - datetime.timedelta(days=9))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return {"tls_cert": cert, "tls_key": private}


@pytest.mark.parametrize(
    ("values", "status", "word"),
    [
        ({}, "ok", "localhost"),
        ({"host": "0.0.0.0"}, "ok", "https"),
        ({"host": "0.0.0.0", "tls": "off"}, "warning", "plain http"),
        ({"host": "0.0.0.0", "tls": "off", "public_url": "https://a.example"}, "ok", "a.example"),
        ({"public_url": "http://a.example"}, "error", "plain http"),
    ],
)
def test_where_browsers_lend_the_microphone(
    tmp_path: Path, values: dict[str, Any], status: str, word: str
) -> None:
    found = access.microphone(settings_for(tmp_path, **values))
    assert found.status == status and word in found.message
    assert bool(found.fix) == (status != "ok")


def certificate(folder: Path, **values: Any) -> Finding:
    found = access.certificate(settings_for(folder, **values), NOW)
    assert found is not None
    return found


def test_a_certificate_is_held_against_the_name_and_the_clock(tmp_path: Path) -> None:
    url = {"public_url": "https://talk.example.org"}
    good = signed(tmp_path, "talk.example.org", "example.org")
    assert certificate(tmp_path, **good, **url).status == "ok"
    assert "expires in 89 days" in certificate(tmp_path, **good).message
    wide = signed(tmp_path, "*.example.org")
    assert certificate(tmp_path, **wide, **url).status == "ok"
    deep = certificate(tmp_path, **wide, public_url="https://a.b.example.org")
    assert deep.status == "error"
    other = certificate(tmp_path, **signed(tmp_path, "other.example"), **url)
    assert other.status == "error"
    assert "other.example" in other.message and "talk.example.org" in other.fix
    soon = certificate(tmp_path, **signed(tmp_path, "talk.example.org", days=3.5), **url)
    assert soon.status == "warning" and "3 days" in soon.message
    over = certificate(tmp_path, **signed(tmp_path, "talk.example.org", days=-1), **url)
    assert over.status == "error" and "expired" in over.message
    mixed = signed(tmp_path, "talk.example.org")
    key = tmp_path / "other-key.pem"
    key.write_bytes(mixed["tls_key"].read_bytes())
    mixed = {**signed(tmp_path, "talk.example.org"), "tls_key": key}
    assert certificate(tmp_path, **mixed).status == "error"
    assert access.certificate(settings_for(tmp_path)) is None, "plain http on this machine"


def test_looking_makes_no_certificate(tmp_path: Path) -> None:
    values = {"host": "0.0.0.0", "state_folder": tmp_path / "state"}
    assert "will be made" in certificate(tmp_path, **values).message
    assert not (tmp_path / "state").exists()
    certificate_of(settings_for(tmp_path, **values))
    assert "made here" in certificate(tmp_path, **values).message


def doubts(folder: Path, **values: Any) -> list[str]:
    found = list(access.access(settings_for(folder, **values)))
    assert all(finding.fix for finding in found if finding.status != "ok")
    return [finding.message for finding in found if finding.status == "warning"]


def test_an_open_or_badly_locked_door_is_warned_of(tmp_path: Path) -> None:
    assert doubts(tmp_path) == []
    assert doubts(tmp_path, host="0.0.0.0") == []
    assert doubts(tmp_path, host="0.0.0.0", control_token="x" * 32) == []
    (is_open,) = doubts(tmp_path, host="0.0.0.0", access="open")
    assert "whoever reaches it" in is_open
    (plain,) = doubts(tmp_path, host="0.0.0.0", tls="off")
    assert "tokens travel over plain http" in plain
    assert doubts(tmp_path, host="0.0.0.0", tls="off", public_url="https://a.example") == []
    (short,) = doubts(tmp_path, control_token="guess me")
    assert "guess me" not in short and "guessed" in short
    (fixed,) = doubts(tmp_path, turn_servers="turn:a.example", turn_username="ann")
    assert "every client is told" in fixed


def test_the_folder_of_secrets_is_for_us_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    settings = settings_for(tmp_path, state_folder=folder)
    assert "will be made" in access.state(settings).message
    folder.mkdir(mode=0o700)
    assert access.state(settings).status == "ok"
    folder.chmod(0o755)
    seen = access.state(settings)
    assert (seen.status, seen.fix) == ("warning", f"chmod 700 {folder}")
    folder.chmod(0o700)
    key = folder / "certificate-key.pem"
    key.write_text("a key")
    key.chmod(0o644)
    told = access.state(settings)
    assert told.status == "error" and "certificate-key.pem" in told.message and told.fix
    key.chmod(0o600)
    (folder / "presets.toml").touch(mode=0o644)
    assert access.state(settings).status == "ok"
    file = settings_for(tmp_path, state_folder=key)
    assert access.state(file).status == "error"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    inside = settings_for(tmp_path, state_folder=closed / "state")
    assert access.state(inside).status == "error"
    assert access.state(settings_for(tmp_path, state_folder=closed)).status == "error"
