"""Avatar bundles: a folder with the networks, their configuration, x_T, presets and checksums.

A bundle is data only, and nothing in it is trusted.  Loading parses ``manifest.json``, checks every
file's size and SHA-256 and never unpickles anything.  A network's bytes are handed out after they
have been compared with their checksum and examined (`onnx_check.py`): what the caller opens is what
was examined, whatever happens to the file meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.consent import lacking
from daetalker.models.manifest import (
    AXES,
    FORMAT,
    LIVE_NETWORKS,
    MAX_HOLD_S,
    MAX_MANIFEST_BYTES,
    NATURAL_STEP_DEG,
    SAFE_NAME,
    BundleError,
    Manifest,
    Preset,
    decode_manifest,
    parse_manifest,
)
from daetalker.models.noise import read_noise
from daetalker.models.onnx_check import NetworkError, check_network
from daetalker.models.plain_file import open_plain, sha256_of
from daetalker.models.signature import SIGNED, check_signature

__all__ = [
    "AXES",
    "EMBEDDED",
    "FORMAT",
    "LIVE_NETWORKS",
    "MAX_FILE_BYTES",
    "MAX_HOLD_S",
    "MAX_TOTAL_BYTES",
    "NATURAL_STEP_DEG",
    "PREVIEW",
    "SAFE_NAME",
    "AvatarBundle",
    "BundleError",
    "Manifest",
    "Preset",
    "avatars_folder",
    "embedded_avatars",
    "find_avatar",
    "list_avatars",
    "load_bundle",
    "read_manifest",
    "rewrite_manifest",
    "sha256_of",
    "write_manifest",
]

EMBEDDED = Path(__file__).resolve().parent / "avatars"
PREVIEW = "preview.png"
MAX_FILE_BYTES = 1024**3
MAX_TOTAL_BYTES = 3 * 1024**3
FOLDER_ENVIRONMENT = "DAETALKER_AVATARS"


@dataclass(frozen=True)
class AvatarBundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks that it holds."""
        return tuple(name for name in SIGNED if f"{name}.onnx" in self.manifest.files)

    def network(self, name: str) -> Path:
        """Path of ``NAME.onnx``.

        Raises:
            BundleError: if the bundle does not hold that network.
        """
        file = f"{name}.onnx"
        if file not in self.manifest.files:
            raise BundleError(f"avatar '{self.manifest.name}' has no network '{name}'")
        return self.path / file

    def read_network(self, name: str) -> bytes:
        """The bytes of ``NAME.onnx``, examined: ready to be opened.

        Raises:
            BundleError: if the bundle does not hold that network, or it is none that it may hold.
        """
        path = self.network(name)
        data = _read_checked(self.manifest, path)
        try:
            check_signature(name, self.manifest, check_network(data))
        except NetworkError as error:
            raise BundleError(f"avatar '{self.manifest.name}': {path.name} {error}") from error
        return data

    def noise(self) -> NDArray[np.float32]:
        """The shared x_T of section 3.3, ``[1, 3, S, S]`` standard normal.

        Raises:
            BundleError: if the file holds anything else.
        """
        data = _read_checked(self.manifest, self.path / "x_T.npy")
        try:
            return read_noise(data, self.manifest.size)
        except ValueError as error:
            raise BundleError(f"avatar '{self.manifest.name}': x_T.npy: {error}") from error

    @property
    def preview(self) -> Path | None:
        """A small still picture, PNG, if the bundle has one."""
        return self.path / PREVIEW if PREVIEW in self.manifest.files else None

    @property
    def size_bytes(self) -> int:
        """All files but the manifest."""
        return sum((self.path / name).stat().st_size for name in self.manifest.files)

    def require_consent(self) -> None:
        """Refuse to hand the avatar on while nothing is said about who agreed to what.

        Raises:
            BundleError: naming what to say and where.
        """
        problem = lacking(self.manifest.consent, self.manifest.synthetic)
        if problem:
            raise BundleError(
                f"avatar '{self.manifest.name}' does not say {problem}: write it into the file "
                "given to `daetalker train --stage export --text FILE` and export again "
                "(docs/your-avatar.md shows one)"
            )


def write_manifest(folder: Path, values: dict[str, Any]) -> None:
    """Write ``manifest.json`` with the checksums of every other file in ``folder``, hidden ones
    aside.

    Raises:
        BundleError: if a value is missing or wrong.
    """
    files = {
        p.name: sha256_of(p)
        for p in sorted(folder.iterdir())
        if p.is_file() and p.name != "manifest.json" and not p.name.startswith(".")
    }
    document = {"format": FORMAT, **values, "files": files}
    document["consent"] = parse_manifest(document, folder).consent.as_json()
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    partial = folder / ".manifest.part"
    partial.write_text(text, encoding="utf-8")
    partial.replace(folder / "manifest.json")


def rewrite_manifest(folder: Path, **changes: Any) -> None:
    """Write the manifest again, in this format, after files or values have changed.

    Args:
        changes: values of manifest fields; the others keep theirs.

    Raises:
        BundleError: if there is no manifest, or the result is wrong.
    """
    document = _read_document(folder)
    values = {k: v for k, v in document.items() if k not in ("format", "files")}
    write_manifest(folder, {**values, **changes})


def read_manifest(folder: Path) -> Manifest:
    """What ``manifest.json`` says; the other files are not looked at.

    Raises:
        BundleError: if it is missing or wrong.
    """
    return parse_manifest(_read_document(folder), folder)


def load_bundle(path: Path) -> AvatarBundle:
    """Read and verify a bundle.

    Raises:
        BundleError: naming the file and what is wrong with it.
    """
    manifest = read_manifest(path)
    total = 0
    for name, digest in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise BundleError(f"avatar '{manifest.name}' is incomplete: {name} is missing")
        try:
            with open_plain(file) as (opened, size):
                total += size
                if size > MAX_FILE_BYTES or total > MAX_TOTAL_BYTES:
                    raise BundleError(
                        f"avatar '{manifest.name}': {name} is larger than a bundle may hold"
                    )
                same = hashlib.file_digest(opened, "sha256").hexdigest() == digest
        except OSError as error:
            raise _unreadable(manifest, file, error) from error
        if not same:
            raise _damaged(manifest, name)
    return AvatarBundle(path, manifest)


def _read_checked(manifest: Manifest, path: Path) -> bytes:
    """A file's bytes, which are those that the manifest names.

    Raises:
        BundleError: if they are not, or there are too many.
    """
    try:
        with open_plain(path) as (file, size):
            data = file.read(min(size, MAX_FILE_BYTES) + 1)
    except OSError as error:
        raise _unreadable(manifest, path, error) from error
    if len(data) > MAX_FILE_BYTES or hashlib.sha256(data).hexdigest() != manifest.files[path.name]:
        raise _damaged(manifest, path.name)
    return data


def _damaged(manifest: Manifest, name: str) -> BundleError:
    return BundleError(
        f"avatar '{manifest.name}' is damaged: {name} does not match its checksum; "
        "install or export it again"
    )


def _unreadable(manifest: Manifest, path: Path, error: OSError) -> BundleError:
    reason = error.strerror or error
    return BundleError(f"avatar '{manifest.name}': {path.name} cannot be read: {reason}")


def avatars_folder() -> Path:
    """Where imported avatars lie: ``$DAETALKER_AVATARS``, else the user's data folder."""
    if named := os.environ.get(FOLDER_ENVIRONMENT):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local/share") / "daetalker/avatars"


def find_avatar(name_or_path: str) -> Path:
    """Folder of an avatar by name, an embedded one before an imported one, or of a bundle by path.

    Raises:
        BundleError: naming the avatars there are.
    """
    places = [Path(name_or_path)]
    if SAFE_NAME.fullmatch(name_or_path):
        places = [EMBEDDED / name_or_path, avatars_folder() / name_or_path, *places]
    for folder in places:
        if (folder / "manifest.json").is_file():
            return folder
    names = ", ".join(p.name for p in list_avatars()) or "none"
    raise BundleError(
        f"no avatar '{name_or_path}': not a bundle folder, and embedded or imported are: {names}"
    )


def embedded_avatars() -> list[Path]:
    """Folders of the avatars that are part of this package."""
    return _bundles_in(EMBEDDED)


def list_avatars() -> list[Path]:
    """Folders of all avatars that have a name: embedded, then imported."""
    embedded = embedded_avatars()
    taken = {p.name for p in embedded}
    return [*embedded, *(p for p in _bundles_in(avatars_folder()) if p.name not in taken)]


def _bundles_in(folder: Path) -> list[Path]:
    found = (p.parent for p in folder.glob("*/manifest.json"))
    return sorted(p for p in found if SAFE_NAME.fullmatch(p.name))


def _read_document(folder: Path) -> Any:
    target = folder / "manifest.json"
    if not target.is_file():
        raise BundleError(f"{folder} is not an avatar bundle: manifest.json is missing")
    try:
        with open_plain(target) as (file, _):
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{target} cannot be read: {error.strerror}") from error
    return decode_manifest(data, target)
