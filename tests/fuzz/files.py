"""Targets: what bundles are made of: manifests, ONNX files, the noise, archives."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
import warnings
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from daetalker.models.archive import import_archive
from daetalker.models.bundle import FOLDER_ENVIRONMENT, BundleError
from daetalker.models.manifest import decode_manifest, is_safe_file, parse_manifest
from daetalker.models.noise import read_noise
from daetalker.models.onnx_check import NetworkError, check_network
from daetalker.models.onnx_ops import OPERATORS
from tests.fuzz.target import Target, as_json, damaged, json_values, texts
from tests.tiny import make_tiny_bundle, tiny_manifest

_DIGEST = hashlib.sha256(b"").hexdigest()
_FILES = ["acoustic.onnx", "speech.onnx", "latent.onnx", "student.onnx", "x_T.npy"]


def _manifest(**changes: Any) -> dict[str, Any]:
    return {"format": 2, **tiny_manifest(), "files": dict.fromkeys(_FILES, _DIGEST), **changes}


GOOD = _manifest()


@st.composite
def manifests(draw: st.DrawFn) -> str:
    """A manifest with mistakes anywhere in it."""
    document = json.loads(json.dumps(GOOD))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = document
        key: Any = draw(st.sampled_from(sorted(document)))
        while isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            keys = sorted(place) if isinstance(place, dict) else range(len(place))
            key = draw(st.sampled_from(list(keys)))
        match draw(st.integers(0, 2)):
            case 0:
                del place[key]
                if not document:
                    break
            case 1:
                place[key] = draw(json_values)
            case _ if isinstance(place, dict):
                place[draw(texts)] = place[key]
    return as_json(document)


def manifest(text: str) -> None:
    """Read or refused; and no name in it leads anywhere."""
    where = Path("there")
    try:
        document = decode_manifest(text.encode(errors="surrogatepass"), where)
        found = parse_manifest(document, where)
    except BundleError as error:
        assert str(error)
        return
    for name in (found.name, *found.files):
        assert is_safe_file(name) and Path(name).name == name and name not in (".", "..")


@cache
def networks() -> list[bytes]:
    """Small networks that are good."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_tiny_bundle(Path(folder) / "tiny", 2)
        return [_without_weights(path) for path in sorted(bundle.glob("*.onnx"))]


def _without_weights(path: Path) -> bytes:
    """The network with small tensors, so that damage falls on what matters."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 64:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros((2, 2), np.float32), tensor.name))
    data: bytes = model.SerializeToString()
    return data


def network(data: bytes) -> None:
    """Refused; or the library that opens such files reads it as we did, and as harmless."""
    try:
        found = check_network(data)
    except NetworkError as error:
        assert str(error)
        return
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        return  # it refuses more than we do
    graph = model.graph
    assert {value.name for value in graph.input} == found.inputs.keys()
    assert {value.name for value in graph.output} == found.outputs.keys()
    assert not model.functions and not model.training_info and not graph.sparse_initializer
    tensors = list(graph.initializer)
    for node in graph.node:
        assert node.op_type in OPERATORS[node.domain]
        for attribute in node.attribute:
            assert not attribute.HasField("g") and not attribute.graphs
            tensors += [attribute.t, *attribute.tensors]
    for tensor in tensors:
        assert not tensor.external_data and tensor.data_location == onnx.TensorProto.DEFAULT


def noise(data: bytes) -> None:
    """The noise, or a refusal; never room for more than is there."""
    try:
        found = read_noise(data, 4)
    except ValueError as error:
        assert str(error)
        return
    assert found.shape == (1, 3, 4, 4) and np.isfinite(found).all()


def _npy(**changes: Any) -> bytes:
    header = {"descr": "<f4", "fortran_order": False, "shape": (1, 3, 4, 4), **changes}
    text = repr(header).encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(192)


NOISES = (
    _npy(),
    _npy(descr="<f2"),
    _npy(descr="|O"),
    _npy(shape=(2**40, 2**40)),
    _npy(shape=(-1, 3, 4, 4)),
    _npy(descr=[("a", "<f4")]),
)

_names = st.sampled_from(
    [
        "../up", "/etc/passwd", "a/../../b", "con", "nul.onnx", "x_T.npy", "X_t.npy", "a\0b",
        "a\\..\\b", "dir/", "speech.onnx ", "C:evil", "ä.onnx", "manifest.json", "MANIFEST.JSON",
        "tiny/speech.onnx", "other/speech.onnx",
    ]
) | st.sampled_from(_FILES)  # fmt: skip


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """A ZIP of a small bundle with entries, links and sizes that do not belong there."""
    contents = {name: draw(st.sampled_from([b"", b"data", bytes(5000)])) for name in _FILES}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    if draw(st.booleans()):
        digests[draw(_names)] = _DIGEST
    text = as_json(_manifest(files=digests))
    entries = [("manifest.json", text.encode()), *contents.items()]
    for _ in range(draw(st.integers(0, 2))):
        entries.insert(
            draw(st.integers(0, len(entries))), (draw(_names), draw(st.binary(max_size=20)))
        )
    packed = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", packed) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, data in entries:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = packed
            kind = draw(st.sampled_from([stat.S_IFREG] * 8 + [stat.S_IFLNK, stat.S_IFIFO, 0]))
            entry.external_attr = (kind | 0o644) << 16
            archive.writestr(entry, data)
    whole = stream.getvalue()
    return draw(st.just(whole) | damaged([whole]))


@cache
def _place() -> Path:
    """A folder of this process's own, with one avatar's place in it."""
    folder = Path(tempfile.mkdtemp(prefix="daetalker-fuzz-"))
    os.environ[FOLDER_ENVIRONMENT] = str(folder / "avatars")
    return folder


def archive(data: bytes) -> None:
    """Taken over whole or not at all, and nothing is written anywhere else."""
    folder = _place()
    (folder / "given.zip").write_bytes(data)
    try:
        taken = import_archive(folder / "given.zip", check=lambda bundle: None, replace=True)
    except BundleError as error:
        assert str(error)
    else:
        assert taken.path.parent == folder / "avatars"
        assert {p.name for p in taken.path.iterdir()} == {"manifest.json", *taken.manifest.files}
        assert all(p.is_file() and not p.is_symlink() for p in taken.path.iterdir())
        shutil.rmtree(taken.path)
    assert {p.name for p in folder.iterdir()} <= {"given.zip", "avatars"}
    assert not (folder / "avatars").exists() or not list((folder / "avatars").iterdir())


def _small_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("manifest.json", as_json(GOOD))
        for name in _FILES:
            made.writestr(name, b"")
    return stream.getvalue()


TARGETS = (
    Target(
        "manifest",
        manifests() | damaged([as_json(GOOD).encode()]).map(lambda d: d.decode(errors="replace")),
        manifest,
        1.5,
        (as_json(GOOD).encode(),),
        lambda data: data.decode(errors="replace"),
    ),
    Target("onnx", damaged(networks()), network, 3.0, tuple(networks()), bytes),
    Target("noise", damaged(list(NOISES)), noise, 1.5, NOISES, bytes),
    Target("archive", archives(), archive, 0.1, (_small_zip(),), bytes),
)
