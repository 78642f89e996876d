"""The MQTT plugin and brokers that speak TLS: a real mosquitto, an authority of our own."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiomqtt", reason="the MQTT plugin needs the extra mqtt (aiomqtt)")
pytest.importorskip("cryptography", reason="the certificates are made with cryptography")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from daetalker.plugins.mqtt import MqttPlugin, MqttSettings
from daetalker.plugins.mqtt.broker import check
from daetalker.plugins.mqtt.loopback import BrokerError, LocalBroker, find_mosquitto
from daetalker.streamer.finding import Finding
from daetalker.streamer.plugin import PluginError
from tests.plugins.serving import served
from tests.plugins.watching import watching

try:
    find_mosquitto()
except BrokerError as error:
    pytest.skip(str(error), allow_module_level=True)


class Authority:
    """Signs certificates; everything lies in one folder as PEM."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        self.file = self._write("ca", self._certify(self._name, self._key, None))

    def issue(self, name: str, hosts: Sequence[str] = ()) -> tuple[Path, Path]:
        """A certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._write(name, self._certify(subject, key, hosts))
        place = self.folder / f"{name}.key"
        place.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, place

    def _certify(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, hosts: Sequence[str] | None
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=hosts is None, path_length=None), True)
        )
        if hosts:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            builder = builder.add_extension(names, False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        place = self.folder / f"{name}.pem"
        place.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return place


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls_lines(authority: Authority, *more: str) -> list[str]:
    certificate, key = authority.issue("localhost", ["localhost"])
    return [
        "allow_anonymous true",
        f"cafile {authority.file}",
        f"certfile {certificate}",
        f"keyfile {key}",
        *more,
    ]


async def examine(**values: Any) -> list[Finding]:
    settings = MqttSettings.model_validate({"host": "localhost", "tls": True, **values})
    return await asyncio.to_thread(lambda: list(MqttPlugin.examine(settings)))


async def test_a_broker_with_a_certificate(
    bundle: Path, tmp_path: Path, authority: Authority
) -> None:
    async with LocalBroker.running(tmp_path, tls_lines(authority)) as broker:
        own = {"url": f"mqtts://localhost:{broker.port}", "ca_file": authority.file, "node": "desk"}
        trusting = ssl.create_default_context(cafile=authority.file)
        async with (
            served(bundle, [MqttPlugin], {"mqtt": own}, presets=tmp_path / "presets.toml"),
            watching(broker.port, tls=trusting) as watcher,
        ):
            await watcher.until_text("daetalker/desk/status", "online")

        (fine,) = await examine(port=broker.port, ca_file=authority.file)
        assert fine.status == "ok" and "TLS" in fine.message
        (unknown,) = await examine(port=broker.port)
        assert unknown.status == "error" and "not trusted" in unknown.message and unknown.fix
        (other,) = await examine(port=broker.port, ca_file=authority.file, host="127.0.0.1")
        assert other.status == "error" and "not trusted" in other.message
        anybody, warning = await examine(port=broker.port, host="127.0.0.1", insecure=True)
        assert anybody.status == "ok" and warning.status == "warning"
        (plain,) = await examine(port=broker.port, tls=False)
        assert plain.status == "error"


async def test_a_broker_that_asks_for_ours(tmp_path: Path, authority: Authority) -> None:
    ours, key = authority.issue("daetalker")
    lines = tls_lines(authority, "require_certificate true")
    async with LocalBroker.running(tmp_path, lines) as broker:
        known = {"port": broker.port, "ca_file": authority.file}
        (fine,) = await examine(**known, cert_file=ours, key_file=key)
        assert fine.status == "ok"
        (without,) = await examine(**known)
        assert without.status == "error"


def test_files_that_are_no_certificates_are_refused_at_once(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    with pytest.raises(PluginError, match="ca_file"):
        check(MqttSettings.model_validate({"tls": True, "ca_file": junk}))
