"""What a video file says of itself, read back with other people's readers: FFmpeg's and C2PA's."""

from __future__ import annotations

import datetime
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from daetalker.models.bundle import AvatarBundle
from daetalker.streamer import credentials as module
from daetalker.streamer.cli import main
from daetalker.streamer.credentials import Credentials, CredentialsError, find_credentials
from daetalker.streamer.media import VideoFrame
from daetalker.streamer.movie import MovieError, write_mp4
from daetalker.streamer.provenance import SOURCE_TYPE, Provenance
from tests.tiny import tiny_speech, to_pcm

c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")

ABOUT = Provenance("Ann & <Bob>")
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@pytest.fixture(autouse=True)
def own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(home))
        yield home / "daetalker"


def frames(count: int = 10) -> Iterator[VideoFrame]:
    for index in range(count):
        rgb = np.full((64, 64, 3), 8 * index + 20, np.uint8)
        yield VideoFrame(index, rgb, (0.0, 0.0, 0.0), False, np.zeros(1, np.float32))


def movie(path: Path, credentials: Credentials | None = None) -> Path:
    def sign(finished: Path) -> None:
        assert credentials is not None
        credentials.sign(finished, ABOUT)

    voice = to_pcm(tiny_speech(0.39, rate=48_000))
    write_mp4(path, frames(), voice, about=ABOUT, sign=sign if credentials else None)
    return path


def manifest_of(path: Path) -> tuple[str, list[str], dict[str, Any]]:
    """What the C2PA reader says: state, what it complains of, and the manifest."""
    with path.open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
        document = json.loads(reader.json())
        results = reader.get_validation_results()["activeManifest"]
        complaints = [entry["code"] for entry in results["failure"]]
        state = reader.get_validation_state()
    return state, complaints, document["manifests"][document["active_manifest"]]


def certificate(
    key: PrivateKey,
    *,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
    organisation: str = "Example Studio",
) -> bytes:
    """A certificate as an authority would give it, signed by one made up on the spot."""
    now = datetime.datetime.now(datetime.UTC)
    root = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])
    usage = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"], False
    )  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=9))
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False)
        .sign(root, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def pem(key: PrivateKey, password: bytes | None = None) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL
        if isinstance(key, ec.EllipticCurvePrivateKey)
        else serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


def test_ffmpeg_reads_the_tags_and_the_xmp(tmp_path: Path) -> None:
    path = movie(tmp_path / "out.mp4")
    with av.open(str(path), options={"export_xmp": "1"}) as read:
        said = dict(read.metadata)
        assert len(list(read.decode(video=0))) == 10
    assert said["title"] == "Ann & <Bob> (synthetic)"
    assert said["comment"] == said["description"] == ABOUT.text
    assert said["comment"].startswith("Synthetic media") and SOURCE_TYPE in said["comment"]
    element = f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
    assert element in said["xmp"] and "Ann &amp; &lt;Bob&gt;" in said["xmp"]


def test_a_signed_file_says_created_by_a_trained_algorithm(tmp_path: Path) -> None:
    plain, signed = movie(tmp_path / "a.mp4"), movie(tmp_path / "b.mp4", find_credentials())
    state, complaints, manifest = manifest_of(signed)
    assert (state, complaints) == ("Valid", ["signingCredential.untrusted"])
    (actions,) = (a for a in manifest["assertions"] if a["label"].startswith("c2pa.actions"))
    (action,) = actions["data"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", SOURCE_TYPE)
    assert action["softwareAgent"]["name"] == "daetalker"
    assert manifest["title"] == "Ann & <Bob> (synthetic)"
    for kind in ("video", "audio"):
        with av.open(str(plain)) as a, av.open(str(signed)) as b:
            times = [[frame.pts for frame in read.decode(**{kind: 0})] for read in (a, b)]
        assert times[0] == times[1] and times[0]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_changed_file_is_found_out(tmp_path: Path) -> None:
    path = movie(tmp_path / "out.mp4", find_credentials())
    data = bytearray(path.read_bytes())
    data[data.index(b"mdat") + 400] ^= 1
    path.write_bytes(data)
    state, complaints, _ = manifest_of(path)
    assert state == "Invalid" and "assertion.bmffHash.mismatch" in complaints


def test_our_own_certificate_is_made_once_and_private(own_state_folder: Path) -> None:
    first, again = find_credentials(), find_credentials()
    assert first is not None and again is not None and first.generated
    assert first._chain == again._chain
    (kept,) = own_state_folder.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.write_bytes(b"damaged")
    kept.chmod(0o600)
    other = find_credentials()
    assert other is not None and other._chain != first._chain
    kept_now = find_credentials()
    assert kept_now is not None and kept_now._chain == other._chain


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "Ed25519", "RSA"],
)
def test_the_users_own_certificate_signs(tmp_path: Path, key: PrivateKey) -> None:
    cert, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(certificate(key))
    secret.write_bytes(pem(key))
    credentials = find_credentials(cert, secret)
    assert credentials is not None and not credentials.generated
    assert credentials.holder == "Example Studio"
    state, _, manifest = manifest_of(movie(tmp_path / "out.mp4", credentials))
    assert state == "Valid" and manifest["signature_info"]["issuer"] == "Example Studio"


def test_certificates_that_cannot_sign_say_why(tmp_path: Path) -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    good = certificate(key)
    web = certificate(key, purpose=ExtendedKeyUsageOID.SERVER_AUTH)
    curve = ec.generate_private_key(ec.SECP256K1())
    cases = [
        (good, pem(other), "key is not that of the certificate"),
        (good, pem(key, b"secret"), "without a password"),
        (b"hm", pem(key), "must be a PEM certificate"),
        (web, pem(key), r"it cannot sign \(.*e-mail protection"),
        (certificate(curve), pem(curve), "must be of P-256"),
    ]
    for chain, secret, problem in cases:
        (tmp_path / "cert.pem").write_bytes(chain)
        (tmp_path / "key.pem").write_bytes(secret)
        with pytest.raises(CredentialsError, match=rf"cert\.pem.*{problem}"):
            find_credentials(tmp_path / "cert.pem", tmp_path / "key.pem")
    with pytest.raises(CredentialsError, match="given together"):
        find_credentials(tmp_path / "cert.pem")
    with pytest.raises(CredentialsError, match=r"none\.pem cannot be read: No such file"):
        find_credentials(tmp_path / "none.pem", tmp_path / "key.pem")


def test_without_the_extra_files_are_not_signed_unless_that_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert find_credentials() is None
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "cert.pem").write_bytes(certificate(key))
    (tmp_path / "key.pem").write_bytes(pem(key))
    with pytest.raises(CredentialsError, match=r'pip install "daetalker\[c2pa\]"'):
        find_credentials(tmp_path / "cert.pem", tmp_path / "key.pem")


def test_what_cannot_be_signed_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = find_credentials()
    assert credentials is not None
    path = tmp_path / "out.mp4"
    path.write_bytes(b"no movie at all")
    with pytest.raises(CredentialsError, match="cannot be signed"):
        credentials.sign(path, ABOUT)
    real_open = Path.open

    def full(self: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        if "w" in mode:
            raise OSError(28, "No space left on device")
        return real_open(self, mode, *more, **named)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(CredentialsError, match="No space left"):
        credentials.sign(path, ABOUT)
    monkeypatch.undo()
    assert path.read_bytes() == b"no movie at all" and len(list(tmp_path.iterdir())) == 1


def test_a_render_whose_signing_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(_: Path) -> None:
        raise CredentialsError("no")

    with pytest.raises(CredentialsError):
        write_mp4(tmp_path / "out.mp4", frames(), np.zeros(0, np.int16), sign=fail)
    with pytest.raises(MovieError):
        write_mp4(tmp_path / "no" / "out.mp4", frames(), np.zeros(0, np.int16))
    assert list(tmp_path.iterdir()) == []


def test_render_marks_tags_and_signs(
    tiny_bundle: AvatarBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = tmp_path / "speech.wav"
    with av.open(str(speech), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=48_000, layout="mono")
        pcm = to_pcm(tiny_speech(0.2, rate=48_000)).reshape(1, -1)
        sound = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        sound.sample_rate = 48_000
        file.mux(stream.encode(sound))
        file.mux(stream.encode(None))
    avatar = ["--avatar", str(tiny_bundle.path)]
    for more, signed in (([], True), (["--c2pa", "off"], False)):
        out = tmp_path / "out.mp4"
        assert main(["render", str(speech), "-o", str(out), *avatar, *more]) == 0
        with av.open(str(out)) as read:
            assert "synthetic" in read.metadata["title"]
        if signed:
            assert manifest_of(out)[0] == "Valid"
        else:
            assert b"c2pa" not in out.read_bytes()
    assert main(["render", str(speech), *avatar, "--c2pa-cert", str(speech)]) == 2
    assert "must be given together" in capsys.readouterr().err
