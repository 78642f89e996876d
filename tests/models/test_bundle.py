"""Loading bundles: what is verified, and what a damaged one says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daetalker.models.bundle import BundleError, find_avatar, list_avatars, load_bundle
from tests.tiny import make_tiny_bundle

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "tiny")


def edit(folder: Path, change: Change) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_a_good_bundle_loads(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.noise().shape == (1, 3, bundle.manifest.size, bundle.manifest.size)
    assert bundle.network("student").is_file()
    name = bundle.manifest.presets[0].name
    assert bundle.preset(name).name == name


def test_one_flipped_bit_is_noticed(folder: Path) -> None:
    file = folder / "student.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"student\.onnx does not match its checksum"):
        load_bundle(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "speech.onnx").unlink()
    with pytest.raises(BundleError, match=r"speech\.onnx is missing"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(format=99), "format must be 1"),
        (lambda d: d.pop("size"), "missing field 'size'"),
        (lambda d: d.update(extra=1), "unknown field 'extra'"),
        (lambda d: d.update(fps="25"), "fps must be a positive whole number"),
        (lambda d: d["files"].update({"../escape": "0"}), "must stay inside the bundle"),
        (lambda d: d["files"].pop("latent.onnx"), r"files must list latent\.onnx"),
        (lambda d: d["presets"][0].update(yaw=170.0), "yaw is outside"),
        (lambda d: d["pose_range_deg"].update(roll=[5, -5]), "roll must rise"),
        (lambda d: d["pose_range_deg"].pop("yaw"), "pose_range_deg"),
    ],
)
def test_bad_manifests_name_the_field(folder: Path, change: Change, words: str) -> None:
    edit(folder, change)
    with pytest.raises(BundleError, match=words):
        load_bundle(folder)


def test_not_json_and_not_a_bundle(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="not readable JSON"):
        load_bundle(folder)
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        load_bundle(tmp_path)


def test_unknown_names_list_what_there_is(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"embedded are:.*mira"):
        find_avatar("nobody")
    with pytest.raises(BundleError, match="unknown preset 'wink'"):
        load_bundle(folder).preset("wink")


def test_the_embedded_avatar_is_whole_and_small() -> None:
    assert [p.name for p in list_avatars()] == ["mira"]
    bundle = load_bundle(find_avatar("mira"))
    size = sum(p.stat().st_size for p in bundle.path.iterdir())
    assert size < 40 * 10**6
    assert bundle.manifest.synthetic and bundle.manifest.consent and bundle.manifest.attributions
    assert len(bundle.manifest.presets) >= 5
    assert {"encoder", "teacher"} <= {n.removesuffix(".onnx") for n in bundle.manifest.files}
