"""Content credentials: a signed C2PA manifest in a finished MP4 that says how it came about.

Needs the extra ``c2pa``.  Who signs is the user's certificate, or one of our own making that is
kept in the state folder: with that one a checker still sees what is claimed and that nothing was
changed since, but not who vouches for it ("untrusted").  docs/honest-media.md has the details.
"""

from __future__ import annotations

import datetime
import io
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from daetalker.models.still import encode_png
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.provenance import UNNAMED, Provenance
from daetalker.streamer.settings import SettingsError, load_settings
from daetalker.streamer.state_folder import read_private, state_folder, write_private

__all__ = ["Credentials", "CredentialsError", "find_credentials"]

GENERATED_FILE = "content-credentials.pem"
VALID_DAYS = 3650
"""Long, because nothing else proves when a file was signed: we ask no time-stamping service."""

_BACKDATED = datetime.timedelta(hours=1)
_CURVES = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}


class CredentialsError(StreamerError):
    """A certificate cannot sign, or a file cannot be signed."""


class Credentials:
    """A certificate with its key.  Any thread may sign, several at a time too.

    Attributes:
        holder: whose certificate it is, as checkers show it.
        generated: True for one of our own making, which checkers call untrusted.
    """

    def __init__(self, chain: bytes, key: bytes, *, generated: bool = False) -> None:
        """Check that they fit together and can sign.

        Args:
            chain: PEM certificates, the signer's first, the authority's own last or left out.
            key: PEM private key without a password.

        Raises:
            CredentialsError: if they cannot be used, or the extra ``c2pa`` is not installed.
        """
        if not installed():
            raise CredentialsError(
                'c2pa-python is not installed: pip install "daetalker[c2pa]", or leave the '
                "certificate out"
            )
        try:
            leaf = x509.load_pem_x509_certificates(chain)[0]
            private = serialization.load_pem_private_key(key, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: there is a password
            raise CredentialsError(
                "it must be a PEM certificate and its PEM key without a password"
            ) from None
        if private.public_key() != leaf.public_key():
            raise CredentialsError("the key is not that of the certificate")
        self.generated = generated
        self.holder = _holder(leaf)
        self._chain = chain
        self._algorithm = _algorithm(private)
        self._key = private.private_bytes(  # the library reads no other form
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        # The library looks at a certificate's purposes only when it signs.
        picture = io.BytesIO(encode_png(np.zeros((16, 16, 3), np.uint8)))
        try:
            self._sign("image/png", picture, io.BytesIO(), UNNAMED)
        except CredentialsError as error:
            raise CredentialsError(
                f"it cannot sign ({error}); C2PA wants the key usage digitalSignature and the "
                "purpose e-mail protection or document signing"
            ) from error

    def sign(self, path: Path, about: Provenance) -> None:
        """Put a signed manifest into an MP4, fragmented or not; all or nothing.

        Raises:
            CredentialsError: if it cannot be done; the file is as it was.
        """
        partial = path.with_name(f".{path.name}.signed")
        try:
            with path.open("rb") as source, partial.open("w+b") as target:
                self._sign("video/mp4", source, target, about)
            partial.replace(path)
        except (OSError, CredentialsError) as error:
            raise CredentialsError(f"{path} cannot be signed: {error}") from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _sign(self, kind: str, source: io.IOBase, target: io.IOBase, about: Provenance) -> None:
        import c2pa

        info = c2pa.C2paSignerInfo(self._algorithm, self._chain, self._key, None)
        try:
            with c2pa.Signer.from_info(info) as signer, c2pa.Builder(about.manifest()) as builder:
                builder.sign(signer, kind, source, target)
        except c2pa.C2paError as error:
            raise CredentialsError(str(error)) from error


def installed() -> bool:
    """Whether the extra ``c2pa`` is there."""
    return find_spec("c2pa") is not None


def find_credentials(cert: Path | None = None, key: Path | None = None) -> Credentials | None:
    """The user's certificate if files are named, else one of our own making.

    None if none is named and the extra ``c2pa`` is not installed: files are not signed then.

    Args:
        cert: PEM file, the signer's certificate first, then those that vouch for it.
        key: PEM file.

    Raises:
        CredentialsError: if the files cannot be used.
    """
    if cert is None and key is None:
        return _kept_or_made() if installed() else None
    if cert is None or key is None:
        raise CredentialsError("a certificate and its key must be given together")
    try:
        chain, secret = cert.read_bytes(), key.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{error.filename} cannot be read: {error.strerror}") from None
    try:
        return Credentials(chain, secret)
    except CredentialsError as error:
        raise CredentialsError(f"{cert}: {error}") from None


def _kept_or_made() -> Credentials:
    """The certificate of an earlier time, or a new one, which is kept if there is room."""
    path = None
    with suppress(SettingsError):
        path = state_folder(load_settings()) / GENERATED_FILE
        if (kept := read_private(path)) is not None:
            with suppress(CredentialsError):
                return _generated(kept)
    made = _make(datetime.datetime.now(datetime.UTC))
    if path is not None:
        with suppress(SettingsError):
            write_private(path, made)
    return _generated(made)


def _generated(pem: bytes) -> Credentials:
    return Credentials(pem, pem, generated=True)


def _make(now: datetime.datetime) -> bytes:
    """Key and certificate, with that of an authority made for it alone, whose key is thrown away.

    C2PA wants a signer's certificate that did not sign itself.
    """
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, name = _name("daetalker, made on this computer"), _name("daetalker, untrusted")

    def begun(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        )

    root = (
        begun(root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_usage(signs_files=False), True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        begun(name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(_usage(signs_files=True), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False
        )
        .sign(root_key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    return leaf.public_bytes(pem) + root.public_bytes(pem) + secret


def _usage(*, signs_files: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs_files,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs_files,
        crl_sign=not signs_files,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "daetalker user"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _holder(leaf: x509.Certificate) -> str:
    for kind in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        for attribute in leaf.subject.get_attributes_for_oid(kind):
            return str(attribute.value)
    return "nobody by name"


def _algorithm(key: object) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return b"ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return b"ps256"
    raise CredentialsError(
        "its key must be of P-256, P-384, P-521, Ed25519 or RSA, which C2PA knows"
    )
