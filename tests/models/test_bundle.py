"""Loading bundles: what is verified, and what a damaged one says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daetalker.models.bundle import (
    FORMAT,
    BundleError,
    avatars_folder,
    embedded_avatars,
    find_avatar,
    list_avatars,
    load_bundle,
    rewrite_manifest,
    write_manifest,
)
from daetalker.models.consent import Consent, lacking
from daetalker.models.still import add_preview, render_still
from daetalker.models.verify import check_networks
from tests.tiny import make_tiny_bundle, tiny_manifest

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
        (lambda d: d.update(format=99), "format must be 1 or 2"),
        (lambda d: d.pop("size"), "missing field 'size'"),
        (lambda d: d.update(extra=1), "unknown field 'extra'"),
        (lambda d: d.update(fps="25"), "fps must be a positive whole number"),
        (lambda d: d["files"].update({"../escape": "0"}), "must stay inside the bundle"),
        (lambda d: d["files"].pop("latent.onnx"), r"files must list latent\.onnx"),
        (lambda d: d["presets"][0].update(yaw=170.0), "yaw is outside"),
        (lambda d: d["pose_range_deg"].update(roll=[5, -5]), "roll must rise"),
        (lambda d: d["pose_range_deg"].pop("yaw"), "pose_range_deg"),
        (lambda d: d["pose_range_deg"].update(yaw=[10**400, 0]), "pose_range_deg"),
        (lambda d: d["presets"][0].update(yaw="wide"), "yaw must be a number"),
        (lambda d: d["presets"][0].update(ease_s=0), "ease_s must be above 0"),
        (lambda d: d["presets"][0].update(hold_s=-1), "hold_s must be 0 to 3600"),
        (lambda d: d["presets"][0].update(hold_s="long"), "hold_s must be a number"),
        (lambda d: d.update(natural_step_deg=0.01), r"natural_step_deg must be .* 0\.1 to 10"),
        (lambda d: d.update(natural_step_deg=True), "natural_step_deg must be a number"),
        (lambda d: d.update(natural_step_deg=float("nan")), "natural_step_deg must be a number"),
        (lambda d: d.update(name="../up"), "name must be letters"),
        (lambda d: d.update(synthetic="no"), "synthetic must be true or false"),
        (lambda d: d.update(attributions="us"), "attributions must be a list"),
        (lambda d: d["files"].update({"speech.onnx": "0"}), r"speech\.onnx needs a SHA-256"),
        (lambda d: d["consent"].update(mood="good"), "unknown field consent.'mood'"),
        (lambda d: d["consent"].update(date="yesterday"), "a day as YYYY-MM-DD"),
        (lambda d: d["consent"].update(uses="all"), "consent.uses must be a list"),
    ],
)
def test_bad_manifests_name_the_field(folder: Path, change: Change, words: str) -> None:
    edit(folder, change)
    with pytest.raises(BundleError, match=words):
        load_bundle(folder)


def test_not_json_and_not_a_bundle(folder: Path, tmp_path: Path) -> None:
    for text in ("{", "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass").decode("latin1")):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(BundleError, match="not readable JSON"):
            load_bundle(folder)
    (folder / "manifest.json").write_text(" " * 2**21)
    with pytest.raises(BundleError, match="larger than a manifest"):
        load_bundle(folder)
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        load_bundle(tmp_path)


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(BundleError, match=r"embedded or imported are:.*mira"):
        find_avatar("nobody")


def test_the_embedded_avatar_is_whole_and_small() -> None:
    assert [p.name for p in embedded_avatars()] == ["mira"]
    bundle = load_bundle(find_avatar("mira"))
    size = sum(p.stat().st_size for p in bundle.path.iterdir())
    assert size < 40 * 10**6
    assert bundle.manifest.synthetic and bundle.manifest.attributions
    bundle.require_consent()
    assert bundle.manifest.consent.person.startswith("nobody")
    assert bundle.preview is not None and bundle.preview.read_bytes().startswith(b"\x89PNG")
    assert len(bundle.manifest.presets) >= 5
    assert bundle.manifest.natural_step_deg == 1.887
    assert {"encoder", "teacher"} <= {n.removesuffix(".onnx") for n in bundle.manifest.files}


def test_format_1_with_consent_in_one_string_still_loads(folder: Path) -> None:
    edit(folder, lambda d: d.update(format=1, consent="nobody is shown"))
    assert load_bundle(folder).manifest.consent == Consent(statement="nobody is shown")
    rewrite_manifest(folder, label="Tiny again")
    document = json.loads((folder / "manifest.json").read_text())
    assert document["format"] == FORMAT == 2
    assert document["consent"]["statement"] == "nobody is shown"
    assert document["label"] == load_bundle(folder).manifest.label == "Tiny again"


def test_a_manifest_that_does_not_say_the_natural_step_is_taken_to_be_calm(folder: Path) -> None:
    edit(folder, lambda d: d.pop("natural_step_deg", None))
    assert load_bundle(folder).manifest.natural_step_deg == 1.5
    rewrite_manifest(folder, natural_step_deg=0.8)
    assert load_bundle(folder).manifest.natural_step_deg == 0.8


def test_a_preset_may_be_held_for_a_while(folder: Path) -> None:
    assert load_bundle(folder).manifest.presets[0].hold_s is None
    edit(folder, lambda d: d["presets"][0].update(hold_s=2.5))
    assert load_bundle(folder).manifest.presets[0].hold_s == 2.5


def test_a_rewritten_manifest_knows_the_files_as_they_are(folder: Path) -> None:
    (folder / "latent.onnx").write_bytes(b"new weights")
    with pytest.raises(BundleError, match=r"latent\.onnx does not match"):
        load_bundle(folder)
    rewrite_manifest(folder)
    load_bundle(folder)
    with pytest.raises(BundleError, match="size must be"):
        rewrite_manifest(folder, size=-1)
    load_bundle(folder)  # a refused change leaves the manifest as it was


GIVEN = Consent(
    "Ann Example",
    "Ann Example",
    "I agree that my face may be shown saying what I say.",
    ("my own calls",),
    "2026-11-23",
)


@pytest.mark.parametrize(
    ("consent", "synthetic", "word"),
    [
        (GIVEN, False, None),
        (Consent(statement="a rendered face"), True, None),
        (Consent(statement="a rendered face"), False, "consent.person"),
        (Consent(), True, "consent.statement"),
        (Consent(statement="  \n"), True, "consent.statement"),
        (Consent(statement="TODO: ask her"), True, "consent.statement"),
        (Consent(statement="<what the person agreed to>"), False, "consent.statement"),
        (Consent(statement="N/A."), True, "consent.statement"),
        (Consent("Ann", "", "I agree.", ("calls",), "2026-11-23"), False, "consent.agreed_by"),
        (Consent("Ann", "Ann", "I agree.", (), "2026-11-23"), False, "consent.uses"),
        (Consent("Ann", "Ann", "I agree.", ("<uses>",), "2026-11-23"), False, "consent.uses"),
        (Consent("Ann", "Ann", "I agree.", ("calls",), ""), False, "consent.date"),
    ],
)
def test_what_is_left_unsaid_is_named(consent: Consent, synthetic: bool, word: str | None) -> None:
    problem = lacking(consent, synthetic)
    assert problem is None if word is None else problem and problem.startswith(word)


def test_consent_survives_the_manifest(folder: Path) -> None:
    write_manifest(folder, {**tiny_manifest(), "synthetic": False, "consent": GIVEN})
    bundle = load_bundle(folder)
    assert bundle.manifest.consent == GIVEN
    bundle.require_consent()
    rewrite_manifest(folder, consent={"statement": "I agree."})
    with pytest.raises(BundleError, match=r"does not say consent\.person.*--text"):
        load_bundle(folder).require_consent()


def test_imported_avatars_are_found_by_name_after_embedded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAETALKER_AVATARS", str(tmp_path / "mine"))
    assert avatars_folder() == tmp_path / "mine"
    mine = make_tiny_bundle(tmp_path / "mine/tiny")
    make_tiny_bundle(tmp_path / "mine/mira")
    assert find_avatar("tiny") == mine
    assert find_avatar("mira") in embedded_avatars()
    assert [p.name for p in list_avatars()] == ["mira", "tiny"]
    assert find_avatar(str(mine)) == mine
    monkeypatch.delenv("DAETALKER_AVATARS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert avatars_folder() == tmp_path / "data/daetalker/avatars"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert avatars_folder() == tmp_path / ".local/share/daetalker/avatars"


def test_networks_that_do_not_fit_together_are_named(folder: Path, tmp_path: Path) -> None:
    networks = ["acoustic", "speech", "latent", "student", "encoder", "teacher"]
    assert check_networks(load_bundle(folder)) == networks

    def spoilt(file: str, data: bytes) -> Path:
        made = make_tiny_bundle(tmp_path / f"spoilt-{len(list(tmp_path.iterdir()))}")
        (made / file).write_bytes(data)
        rewrite_manifest(made)
        return made

    for made, words in [
        (spoilt("student.onnx", b"junk"), r"student\.onnx is not a whole ONNX file"),
        (spoilt("speech.onnx", (folder / "latent.onnx").read_bytes()), "must have the inputs"),
        (
            spoilt("student.onnx", make_student(tmp_path, 16)),
            r"student\.onnx must have tensor\(uint8\) \[B, 32, 32, 3\] as output 'frame'",
        ),
        (spoilt("x_T.npy", b"junk"), r"x_T\.npy"),
        (spoilt("x_T.npy", npy_header("(1, 3, 32, 99999999)")), r"x_T\.npy"),
    ]:
        with pytest.raises(BundleError, match=words):
            check_networks(load_bundle(made))


def make_student(tmp_path: Path, size: int) -> bytes:
    return (make_tiny_bundle(tmp_path / f"size-{size}", size) / "student.onnx").read_bytes()


def npy_header(shape: str) -> bytes:
    text = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_a_preview_is_what_the_avatar_shows_at_rest(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.preview is None
    picture = render_still(bundle)
    assert picture.shape == (32, 32, 3) and picture.std() > 1
    path = add_preview(bundle)
    again = load_bundle(folder)
    assert again.preview == path and path.read_bytes().startswith(b"\x89PNG")
