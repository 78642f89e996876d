"""Bundles as files to hand on: export to a ZIP, import of one that somebody else has made.

An imported archive is untrusted.  Nothing of it is written outside a working folder, nothing more
than its manifest lists and the limits below allow, and it gets its name when whole and checked.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from daetalker.models.bundle import (
    MAX_FILE_BYTES,
    MAX_TOTAL_BYTES,
    AvatarBundle,
    BundleError,
    Manifest,
    avatars_folder,
    embedded_avatars,
    load_bundle,
)
from daetalker.models.manifest import (
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    SAFE_NAME,
    decode_manifest,
    is_safe_file,
    parse_manifest,
)
from daetalker.models.plain_file import open_plain

MAX_RATIO = 50
"""How much smaller than its contents an archive may be; weights hardly shrink to a half."""

_CHUNK = 1 << 20
_MANIFEST = "manifest.json"
# The first moment a ZIP can name: archives of the same bundle are equal to the last bit.
_NO_TIME = (1980, 1, 1, 0, 0, 0)

Check = Callable[[AvatarBundle], object]


def export_archive(bundle: AvatarBundle, target: Path, *, replace: bool = False) -> Path:
    """Write the bundle as one ZIP; the same bundle always gives the same bytes.

    Args:
        replace: whether an existing file may be overwritten.

    Raises:
        BundleError: if nobody has said who agreed to what, or the file cannot be written.
    """
    bundle.require_consent()
    if target.is_dir():
        target = target / f"{bundle.manifest.name}.zip"
    if target.exists() and not replace:
        raise BundleError(f"{target} is there already; choose another name or pass --replace")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as work:
            partial = Path(work) / target.name
            # Stored, not packed: weights hardly shrink, and packers differ from one to the next.
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
                for name in (_MANIFEST, *sorted(bundle.manifest.files)):
                    entry = zipfile.ZipInfo(f"{bundle.manifest.name}/{name}", _NO_TIME)
                    entry.external_attr = (stat.S_IFREG | 0o644) << 16
                    entry.create_system = 3  # Unix, wherever this runs
                    entry.file_size = (bundle.path / name).stat().st_size
                    with (bundle.path / name).open("rb") as source, archive.open(entry, "w") as out:
                        shutil.copyfileobj(source, out, _CHUNK)
            partial.replace(target)
    except OSError as error:
        raise BundleError(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def import_archive(source: Path, *, check: Check, replace: bool = False) -> AvatarBundle:
    """Take a ZIP or a folder over into `avatars_folder`, under the name its manifest gives.

    Args:
        check: looks into the networks of the copy before it is moved into place; raises if they
            are no avatar.
        replace: whether an imported avatar of that name may be replaced.

    Raises:
        BundleError: naming what is wrong with the source, or the name that is taken.
    """
    if not source.exists():
        raise BundleError(f"there is no file or folder {source}")
    place = avatars_folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place, prefix=".part-") as work:
            opened = _open_folder(source) if source.is_dir() else _open_zip(source)
            with opened as files:
                manifest, text = _manifest_of(files, source)
                _require_free(place, manifest.name, replace)
                copy = Path(work) / manifest.name
                copy.mkdir()
                # As it was read, whatever the source says now; all else has a checksum in it.
                (copy / _MANIFEST).write_bytes(text)
                _copy(files, manifest.files, copy, source)
            bundle = load_bundle(copy)
            check(bundle)
            final = place / manifest.name
            _move(copy, final, aside=Path(work) / "replaced")
    except OSError as error:
        raise BundleError(
            f"{source} cannot be imported into {place}: {error.strerror or error}"
        ) from error
    return AvatarBundle(final, bundle.manifest)


def _move(copy: Path, final: Path, *, aside: Path) -> None:
    """Give ``copy`` its place; what was there goes to ``aside``, or back if that fails."""
    there = final.exists()
    if there:
        final.replace(aside)
    try:
        copy.replace(final)
    except OSError:
        if there:
            aside.replace(final)
        raise


def _require_free(place: Path, name: str, replace: bool) -> None:
    if name.casefold() in {p.name.casefold() for p in embedded_avatars()}:
        raise BundleError(
            f"'{name}' is the name of an embedded avatar; export the bundle under another name, "
            "or use it by its path"
        )
    # Letters of either case are one name to some file systems.
    taken = {p.name.casefold(): p.name for p in place.iterdir()}
    there = taken.get(name.casefold())
    if there is not None and (there != name or not replace):
        advice = "pass --replace to replace it" if there == name else "remove that one first"
        raise BundleError(f"an avatar '{there}' has been imported already; {advice}")


# A source is its files: name, announced size in bytes, and how to open it.
_Files = dict[str, tuple[int, Callable[[], contextlib.AbstractContextManager[IO[bytes]]]]]


@contextlib.contextmanager
def _open_folder(folder: Path) -> Iterator[_Files]:
    files: _Files = {}
    for path in folder.iterdir():
        if len(files) == MAX_FILES:
            raise BundleError(f"{folder} holds more than {MAX_FILES} files, so it is not an avatar")
        there = path.lstat()
        if not stat.S_ISREG(there.st_mode):
            raise BundleError(f"{folder}: {path.name!r} is not a plain file, so it is not a bundle")
        files[path.name] = (there.st_size, lambda path=path: _opened(path))  # type: ignore[misc]
    yield files


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with open_plain(path, follow=False) as (file, _):
        yield file


@contextlib.contextmanager
def _open_zip(path: Path) -> Iterator[_Files]:
    try:
        with open_plain(path) as (file, size), zipfile.ZipFile(_Sips(file)) as archive:
            entries = _entries(archive, path, size)
            yield {
                name: (entry.file_size, lambda entry=entry: archive.open(entry))  # type: ignore[misc]
                for name, entry in entries.items()
            }
    except (BundleError, OSError):
        raise
    except Exception as error:  # crafted files make zipfile raise errors of many kinds
        raise BundleError(f"{path} is not a whole ZIP file: {error}") from error


class _Sips(io.BufferedIOBase):
    """A file of which nobody reads more than a sip at once.

    `zipfile` reads the whole table of contents, however long it says it is, before anyone can ask
    how many entries there are.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._file.read(_CHUNK + 1 if size is None or size < 0 else min(size, _CHUNK + 1))
        if len(data) > _CHUNK:
            raise ValueError("its table of contents is too long")
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _entries(archive: zipfile.ZipFile, path: Path, size: int) -> dict[str, zipfile.ZipInfo]:
    """Entries by plain name; all lie at the top or all in one folder.

    Args:
        size: of the archive, in bytes.
    """
    entries: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    if len(archive.infolist()) > MAX_FILES:
        raise BundleError(f"{path} holds more than {MAX_FILES} files, so it is not an avatar")
    for entry in archive.infolist():
        folder, slash, name = entry.filename.rpartition("/")
        kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == 3 else 0
        if kind not in (0, stat.S_IFREG if name else stat.S_IFDIR):
            raise BundleError(f"{path}: {entry.filename!r} is a link or a device, not a file")
        safe_folder = SAFE_NAME.fullmatch(folder) if slash else True
        # `zipfile` cuts a name at its first NUL and keeps what was there.
        cut = entry.orig_filename != entry.filename
        if cut or not safe_folder or (name and not is_safe_file(name)):
            raise BundleError(f"{path}: {entry.filename!r} has no place in a bundle")
        folders.add(folder)
        if not name:
            continue
        if entry.flag_bits & 0x1:
            raise BundleError(f"{path} is encrypted; ask for one that is not")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleError(f"{path}: {entry.filename!r} is packed in a way not read here")
        if name in entries:
            raise BundleError(f"{path} holds {name!r} twice")
        entries[name] = entry
    # One piece of the file may not serve several entries, nor a small one become a large one.
    if sum(entry.compress_size for entry in entries.values()) > size:
        raise BundleError(f"{path} holds entries that overlap")
    if sum(entry.file_size for entry in entries.values()) > MAX_RATIO * size:
        raise BundleError(f"{path} is packed more than {MAX_RATIO} times; no avatar shrinks so")
    if len(folders) > 1:
        raise BundleError(f"{path} must hold one bundle, at its top or in one folder")
    return entries


def _manifest_of(files: _Files, source: Path) -> tuple[Manifest, bytes]:
    """What the manifest says, and its bytes."""
    if _MANIFEST not in files:
        raise BundleError(f"{source} is not an avatar bundle: {_MANIFEST} is missing")
    with files[_MANIFEST][1]() as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    manifest = parse_manifest(decode_manifest(data, source / _MANIFEST), source)
    listed = {_MANIFEST, *manifest.files}
    if extra := sorted(files.keys() - listed):
        raise BundleError(f"{source} holds {extra[0]!r}, which its manifest does not list")
    if missing := sorted(listed - files.keys()):
        raise BundleError(f"{source} is incomplete: {missing[0]} is missing")
    total = sum(size for size, _ in files.values())
    if total > MAX_TOTAL_BYTES or max(size for size, _ in files.values()) > MAX_FILE_BYTES:
        raise BundleError(f"{source} is larger than a bundle may be ({total / 1e6:.0f} MB)")
    return manifest, data


def _copy(files: _Files, names: Iterable[str], target: Path, source: Path) -> None:
    """Copy the named files, none longer than it announced."""
    for name in sorted(names):
        announced, open_file = files[name]
        count = 0
        with open_file() as file, (target / name).open("xb") as out:
            while chunk := file.read(_CHUNK):
                count += len(chunk)
                if count > announced:
                    raise BundleError(f"{source}: {name} is longer than it says")
                out.write(chunk)
        os.chmod(target / name, 0o644)
