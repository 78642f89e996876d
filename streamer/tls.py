"""TLS: the certificate of the settings, or one of our own making that is kept and renewed."""

from __future__ import annotations

import datetime
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from daetalker.streamer.settings import Settings, SettingsError
from daetalker.streamer.state_folder import read_private, state_folder, write_private

__all__ = ["Certificate", "certificate_of", "fingerprint", "names_in", "names_of_this_machine"]

CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "certificate-key.pem"
VALID_DAYS = 365
"""Browsers and systems of Apple refuse more than 825 days even where the user agrees."""

RENEW_DAYS = 30
_BACKDATED = datetime.timedelta(hours=1)
"""Clocks differ."""


@dataclass(frozen=True)
class Certificate:
    """Files for https.

    Attributes:
        fingerprint: SHA-256 of the certificate as browsers show it: ``AB:CD:...``.
        made_here: True for one that no authority has signed, which browsers warn of.
        renewed: True if it was made just now in the place of another one.
    """

    cert: Path
    key: Path
    fingerprint: str
    expires: datetime.datetime
    made_here: bool
    renewed: bool = False


def certificate_of(
    settings: Settings,
    names: Iterable[str] | None = None,
    now: datetime.datetime | None = None,
) -> Certificate | None:
    """The certificate that the server shows; None if it speaks plain http.

    One of our own making is kept in the state folder, with its key.  It is made again when it has
    less than 30 days to live, or when this machine has a name or an address that is not in it.

    Args:
        names: host names and addresses it must be good for; left out: this machine's.
        now: left out: now.

    Raises:
        SettingsError: if a file cannot be used.
    """
    if not settings.uses_tls:
        return None
    now = now or datetime.datetime.now(datetime.UTC)
    if settings.tls_cert is not None and settings.tls_key is not None:
        return _given(settings.tls_cert, settings.tls_key, now)
    wanted = sorted(set(names_of_this_machine(settings) if names is None else names))
    folder = state_folder(settings)
    cert_path, key_path = folder / CERTIFICATE_FILE, folder / KEY_FILE
    found = _kept(cert_path, key_path)
    if found is not None:
        lives_long = found.not_valid_after_utc - now > datetime.timedelta(days=RENEW_DAYS)
        if lives_long and found.not_valid_before_utc <= now and set(wanted) <= set(names_in(found)):
            return _described(found, cert_path, key_path)
    key = ec.generate_private_key(ec.SECP256R1())
    made = _make(key, wanted, now)
    key_text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(key_path, key_text)
    write_private(cert_path, made.public_bytes(serialization.Encoding.PEM))
    return _described(made, cert_path, key_path, renewed=found is not None)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, as browsers show it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def names_of_this_machine(settings: Settings) -> list[str]:
    """Host names and addresses under which others may reach this machine."""
    host = socket.gethostname()
    names = {"localhost", "127.0.0.1", "::1", host, host.partition(".")[0] + ".local"}
    names |= set(_addresses())
    if settings.host not in ("0.0.0.0", "::"):
        names.add(settings.host)
    return sorted(name for name in names if _is_name(name))


def main_address() -> str | None:
    """This machine's address in its network, as others see it; None without a network."""
    return next(iter(_addresses()), None)


def _addresses() -> list[str]:
    found = []
    for target, family in (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6)):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))  # a datagram socket: nothing is sent
                found.append(str(probe.getsockname()[0]).partition("%")[0])
            except OSError:
                continue
    return found


def _is_name(name: str) -> bool:
    """Whether it may stand in a certificate."""
    try:
        x509.DNSName(name)
    except ValueError:  # not ASCII
        return False
    return bool(name.strip(".")) and not name.startswith(".")


def _make(
    key: ec.EllipticCurvePrivateKey, names: list[str], now: datetime.datetime
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "daetalker on this machine")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .sign(key, hashes.SHA256())
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def names_in(certificate: x509.Certificate) -> list[str]:
    """Host names and addresses that a certificate is good for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return [*extension.value.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _kept(cert_path: Path, key_path: Path) -> x509.Certificate | None:
    """The certificate of an earlier start, if it and its key are whole."""
    cert, key = read_private(cert_path), read_private(key_path)
    if cert is None or key is None:
        return None
    try:
        found = x509.load_pem_x509_certificate(cert)
        private = serialization.load_pem_private_key(key, None)
    except ValueError:
        return None
    return found if private.public_key() == found.public_key() else None


def _given(cert_path: Path, key_path: Path, now: datetime.datetime) -> Certificate:
    try:
        found = x509.load_pem_x509_certificate(cert_path.read_bytes())
        private = serialization.load_pem_private_key(key_path.read_bytes(), None)
    except OSError as error:
        raise SettingsError(f"cannot read {error.filename} ({error.strerror})") from None
    except (ValueError, TypeError):  # TypeError: the key has a password
        raise SettingsError(
            f"{cert_path} and {key_path} must be a PEM certificate and its PEM key without password"
        ) from None
    if private.public_key() != found.public_key():
        raise SettingsError(f"the key {key_path} is not that of the certificate {cert_path}")
    if found.not_valid_after_utc <= now:
        raise SettingsError(
            f"the certificate {cert_path} has expired on {found.not_valid_after_utc:%Y-%m-%d}: "
            "renew it, or leave --tls-cert out to have one made"
        )
    return _described(found, cert_path, key_path, made_here=False)


def _described(
    found: x509.Certificate,
    cert: Path,
    key: Path,
    *,
    made_here: bool = True,
    renewed: bool = False,
) -> Certificate:
    return Certificate(cert, key, fingerprint(found), found.not_valid_after_utc, made_here, renewed)
