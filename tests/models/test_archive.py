"""Handing avatars on: what comes out is the same, and nothing bad comes in."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from daetalker.models.archive import export_archive, import_archive
from daetalker.models.bundle import (
    AvatarBundle,
    BundleError,
    load_bundle,
    read_manifest,
    rewrite_manifest,
)
from daetalker.models.verify import check_networks
from tests.tiny import make_tiny_bundle

Entries = dict[str, bytes]


@pytest.fixture
def bundle(tmp_path: Path) -> AvatarBundle:
    return load_bundle(make_tiny_bundle(tmp_path / "tiny"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "avatars"
    monkeypatch.setenv("DAETALKER_AVATARS", str(folder))
    return folder


def contents(folder: Path) -> Entries:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def write_zip(path: Path, entries: Entries, kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def take(source: Path, replace: bool = False) -> AvatarBundle:
    return import_archive(source, check=check_networks, replace=replace)


def nothing_in(place: Path) -> bool:
    return not place.exists() or not list(place.iterdir())


def test_an_exported_avatar_comes_in_again_unchanged(
    bundle: AvatarBundle, place: Path, tmp_path: Path
) -> None:
    path = export_archive(bundle, tmp_path / "out.zip")
    taken = take(path)
    assert taken.path == place / "tiny"
    assert contents(taken.path) == contents(bundle.path)
    assert [p.name for p in place.iterdir()] == ["tiny"]
    check_networks(load_bundle(taken.path))


def test_an_archive_is_the_same_whenever_and_from_wherever_it_is_made(
    bundle: AvatarBundle, tmp_path: Path
) -> None:
    first = export_archive(bundle, tmp_path / "a.zip").read_bytes()
    other = make_tiny_bundle(tmp_path / "elsewhere/named_otherwise")
    (other / "student.onnx").touch()
    (other / "student.onnx").chmod(0o600)
    assert export_archive(load_bundle(other), tmp_path / "b.zip").read_bytes() == first


def test_export_needs_consent_and_overwrites_only_if_told(
    bundle: AvatarBundle, tmp_path: Path
) -> None:
    path = export_archive(bundle, tmp_path)
    assert path == tmp_path / "tiny.zip"
    with pytest.raises(BundleError, match=r"tiny\.zip is there already.*--replace"):
        export_archive(bundle, path)
    export_archive(bundle, path, replace=True)
    with pytest.raises(BundleError, match="cannot be written"):
        export_archive(bundle, tmp_path / "no/folder.zip")
    rewrite_manifest(bundle.path, consent={"statement": "TODO"})
    with pytest.raises(BundleError, match=r"does not say consent\.statement"):
        export_archive(load_bundle(bundle.path), tmp_path / "other.zip")
    assert not (tmp_path / "other.zip").exists()
    assert not list(tmp_path.glob(".part-*"))


def test_archives_packed_by_other_tools_are_taken(
    bundle: AvatarBundle, place: Path, tmp_path: Path
) -> None:
    flat = write_zip(tmp_path / "flat.zip", contents(bundle.path))
    assert take(flat).path == place / "tiny"
    entries = {"any_name/": b"", **{f"any_name/{n}": d for n, d in contents(bundle.path).items()}}
    take(write_zip(tmp_path / "nested.zip", entries), replace=True)
    take(bundle.path, replace=True)
    assert contents(place / "tiny") == contents(bundle.path)


def test_a_taken_name_is_refused_unless_replaced(
    bundle: AvatarBundle, place: Path, tmp_path: Path
) -> None:
    take(bundle.path)
    before = contents(place / "tiny")
    rewrite_manifest(bundle.path, label="Newer")
    with pytest.raises(BundleError, match="imported already; pass --replace"):
        take(bundle.path)
    assert contents(place / "tiny") == before
    take(bundle.path, replace=True)
    assert read_manifest(place / "tiny").label == "Newer"
    for name, words in [("mira", "embedded"), ("Mira", "embedded"), ("TINY", "remove that one")]:
        rewrite_manifest(bundle.path, name=name)
        with pytest.raises(BundleError, match=words):
            take(bundle.path, replace=True)
    assert [p.name for p in place.iterdir()] == ["tiny"]


def test_a_replacement_that_is_bad_leaves_the_old_one(bundle: AvatarBundle, place: Path) -> None:
    take(bundle.path)
    before = contents(place / "tiny")
    (bundle.path / "student.onnx").write_bytes(b"junk")
    rewrite_manifest(bundle.path)
    with pytest.raises(BundleError, match=r"student\.onnx is not a whole ONNX file"):
        take(bundle.path, replace=True)
    assert contents(place / "tiny") == before
    assert [p.name for p in place.iterdir()] == ["tiny"]


def add(name: str, data: bytes = b"x") -> Callable[[Entries], object]:
    return lambda entries: entries.update({name: data})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add("../escape"), "has no place"),
        (add("/etc/passwd"), "has no place"),
        (add("a/b/c"), "has no place"),
        (add("..\\escape"), "has no place"),
        (add("other/file"), "one bundle"),
        (add("notes.txt"), r"'notes\.txt', which its manifest does not list"),
        (add(".hidden"), "has no place"),
        (add("speech.onnx"), r"speech\.onnx does not match its checksum"),
        (lambda e: e.pop("speech.onnx"), r"speech\.onnx is missing"),
        (lambda e: e.pop("manifest.json"), r"manifest\.json is missing"),
        (add("manifest.json", b"{"), "not readable JSON"),
        (add("manifest.json", b" " * 2**21), "larger than a manifest"),
        (lambda e: e.update({f"file{i}": b"" for i in range(100)}), "more than 100 files"),
    ],
)
def test_a_crafted_archive_is_refused_and_leaves_nothing(
    bundle: AvatarBundle,
    place: Path,
    tmp_path: Path,
    change: Callable[[Entries], object],
    words: str,
) -> None:
    entries = contents(bundle.path)
    change(entries)
    around = set(tmp_path.iterdir())
    with pytest.raises(BundleError, match=words):
        take(write_zip(tmp_path / "bad.zip", entries))
    assert nothing_in(place)
    assert set(tmp_path.iterdir()) - around <= {place, tmp_path / "bad.zip"}


def test_links_are_refused(bundle: AvatarBundle, place: Path, tmp_path: Path) -> None:
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents(bundle.path).items():
            entry = zipfile.ZipInfo(name)
            if name == "x_T.npy":
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                data = b"/etc/passwd"
            archive.writestr(entry, data)
    with pytest.raises(BundleError, match=r"'x_T\.npy' is a link"):
        take(path)
    moved = tmp_path / "noise.npy"
    (bundle.path / "x_T.npy").rename(moved)
    (bundle.path / "x_T.npy").symlink_to(moved)
    with pytest.raises(BundleError, match="not a plain file"):
        take(bundle.path)
    assert nothing_in(place)


def test_the_same_name_twice_is_refused(bundle: AvatarBundle, place: Path, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "twice.zip", contents(bundle.path))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("speech.onnx", b"other")
    with pytest.raises(BundleError, match=r"holds 'speech\.onnx' twice"):
        take(path)
    assert nothing_in(place)


def test_bombs_are_refused_before_they_are_unpacked(
    bundle: AvatarBundle, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = contents(bundle.path)
    entries["speech.onnx"] = bytes(20_000_000)
    path = write_zip(tmp_path / "bomb.zip", entries)
    assert path.stat().st_size < 4_000_000
    for limit in ("MAX_TOTAL_BYTES", "MAX_FILE_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(f"daetalker.models.archive.{limit}", 10_000_000)
            with pytest.raises(BundleError, match="larger than a bundle may be"):
                take(path)
    assert nothing_in(place)


def test_an_archive_that_lies_about_sizes_is_refused(
    bundle: AvatarBundle, place: Path, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "liar.zip", contents(bundle.path), zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"speech.onnx")  # in the central directory, which decides
    data[entry - 22 : entry - 18] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(BundleError):
        take(path)
    assert nothing_in(place)


@pytest.mark.parametrize("size", [0, 100, -100, -22])
def test_a_cut_archive_is_refused(
    bundle: AvatarBundle, place: Path, tmp_path: Path, size: int
) -> None:
    whole = export_archive(bundle, tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:size])
    with pytest.raises(BundleError, match="not a whole ZIP file"):
        take(tmp_path / "cut.zip")
    assert nothing_in(place)


def test_a_flipped_bit_is_noticed(bundle: AvatarBundle, place: Path, tmp_path: Path) -> None:
    path = export_archive(bundle, tmp_path / "flipped.zip")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="not a whole ZIP file"):
        take(path)
    assert nothing_in(place)


def test_mistakes_are_one_sentence(
    bundle: AvatarBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BundleError, match="there is no file or folder"):
        take(tmp_path / "nowhere.zip")
    (tmp_path / "plain").write_text("a file where a folder should be")
    monkeypatch.setenv("DAETALKER_AVATARS", str(tmp_path / "plain"))
    with pytest.raises(BundleError, match="cannot be imported into"):
        take(bundle.path)
    monkeypatch.setenv("DAETALKER_AVATARS", str(tmp_path / "empty"))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        take(tmp_path / "nothing")


def test_the_manifest_decides_the_name_not_the_archive(
    bundle: AvatarBundle, place: Path, tmp_path: Path
) -> None:
    entries = contents(bundle.path)
    document = json.loads(entries["manifest.json"])
    entries["manifest.json"] = json.dumps({**document, "name": "../up"}).encode()
    with pytest.raises(BundleError, match="name must be letters"):
        take(write_zip(tmp_path / "up.zip", entries))
    assert nothing_in(place)
