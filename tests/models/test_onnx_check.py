"""Networks of strangers: what is refused before ONNX Runtime sees it."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from daetalker.models.archive import import_archive
from daetalker.models.bundle import (
    BundleError,
    embedded_avatars,
    load_bundle,
    rewrite_manifest,
)
from daetalker.models.onnx_check import NetworkError, check_network
from daetalker.models.verify import check_networks
from tests.tiny import make_tiny_bundle


def network(*nodes: Any, weights: Any = (), opset: int = 18) -> onnx.ModelProto:
    """``x [1, 4] -> y [1, 4]`` of these nodes."""
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Relu", ["x"], ["y"])],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        list(weights),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def check(model: onnx.ModelProto) -> None:
    check_network(model.SerializeToString())


def whole(name: str, *values: int) -> Any:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def inner() -> Any:
    return helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])],
        "inner",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4])],
    )


def test_a_plain_network_is_described() -> None:
    found = check_network(network().SerializeToString())
    assert found.inputs["x"].dtype == "tensor(float)" and found.inputs["x"].shape == (1, 4)
    assert list(found.outputs) == ["y"]


def test_the_embedded_avatars_pass() -> None:
    for folder in embedded_avatars():
        bundle = load_bundle(folder)
        assert all(bundle.read_network(name) for name in bundle.networks)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("If", ["x"], ["y"], then_branch=inner(), else_branch=inner()),
        helper.make_node("Loop", ["", "x", "x"], ["y"], body=inner()),
        helper.make_node("NonZero", ["x"], ["y"]),
        helper.make_node("RandomNormalLike", ["x"], ["y"]),
        helper.make_node("StringConcat", ["x", "x"], ["y"]),
        helper.make_node("Relu", ["x"], ["y"], domain="evil.custom"),
        helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft"),
        helper.make_node("Sampling", ["x"], ["y"], domain="com.microsoft"),
    ],
)
def test_operators_that_no_avatar_needs_are_refused_by_name(node: Any) -> None:
    with pytest.raises(NetworkError, match=rf"operator '[\w.]*{node.op_type}'"):
        check(network(node))


@pytest.mark.parametrize(
    ("kind", "domain"),
    [("MatMulInteger", ""), ("DynamicQuantizeLinear", ""), ("QLinearConv", ""),
     ("DynamicQuantizeMatMul", "com.microsoft"), ("MatMulNBits", "com.microsoft")],
)  # fmt: skip
def test_what_quantisers_write_is_allowed(kind: str, domain: str) -> None:
    check(network(helper.make_node(kind, ["x"], ["y"], domain=domain)))


def test_data_outside_the_file_is_refused() -> None:
    model = network(weights=[whole("w", 1)])
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(NetworkError, match="data outside itself"):
        check(model)
    hidden = network(helper.make_node("Constant", [], ["y"], value=tensor))
    with pytest.raises(NetworkError, match="data outside itself"):
        check(hidden)


def test_sizes_may_follow_from_sizes_but_not_from_what_is_heard() -> None:
    shape = helper.make_node("Shape", ["x"], ["s"])
    check(network(shape, helper.make_node("Expand", ["x", "s"], ["y"])))
    check(network(helper.make_node("Expand", ["x", "n"], ["y"]), weights=[whole("n", 1, 4)]))
    heard = helper.make_node("Cast", ["x"], ["n"], to=TensorProto.INT64)
    for node in (
        helper.make_node("Expand", ["x", "n"], ["y"]),
        helper.make_node("Tile", ["x", "n"], ["y"]),
        helper.make_node("ConstantOfShape", ["n"], ["y"]),
        helper.make_node("Reshape", ["x", "n"], ["y"]),
        helper.make_node("Range", ["n", "n", "n"], ["y"]),
    ):
        with pytest.raises(NetworkError, match="depends on what is heard"):
            check(network(heard, node))


def repeat(model: onnx.ModelProto, count: int) -> None:
    """The first operator so many times more."""
    copy = onnx.NodeProto()
    copy.CopyFrom(model.graph.node[0])
    model.graph.node.extend([copy] * count)


def change(edit: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    model = network(weights=[whole("w", 1, 2)])
    edit(model)
    return model


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, 2**40), "impossible shape"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, -1), "impossible shape"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, 3), "not as long as it says"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", 8), "of a kind"),
        (lambda m: m.functions.add(name="f"), "does not need"),
        (lambda m: m.training_info.add(), "does not need"),
        (lambda m: m.graph.sparse_initializer.add(), "does not need"),
        (lambda m: setattr(m.opset_import[0], "version", 99), "operator set"),
        (lambda m: setattr(m, "ir_version", 99), "version of ONNX"),
        (lambda m: m.ClearField("graph"), "holds no network"),
        (lambda m: repeat(m, 1), "same value twice"),
        (lambda m: repeat(m, 20_000), "more than 20000"),
        (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), "the shape of 'x'"),
    ],
)
def test_what_is_odd_is_refused(edit: Callable[[onnx.ModelProto], object], words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        check(change(edit))


def test_what_other_readers_would_join_or_skip_is_refused() -> None:
    data = network().SerializeToString()
    second = network(helper.make_node("Loop", ["", "x", "x"], ["y"], body=inner()))
    with pytest.raises(NetworkError, match="twice"):
        check_network(data + second.SerializeToString())
    with pytest.raises(NetworkError, match="does not need"):
        check_network(data + b"\xfa\x7f\x01x")
    for end in (1, 7, len(data) // 2):
        with pytest.raises(NetworkError):
            check_network(data[:-end])
    with pytest.raises(NetworkError, match="not an ONNX file"):
        check_network(b"\x08\x08\x12\x0aORTM" + data)
    with pytest.raises(NetworkError, match="not a whole ONNX file"):
        check_network(b"\xff" * 100)


def spoil(folder: Path, name: str, model: onnx.ModelProto) -> None:
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    rewrite_manifest(folder)


def test_a_network_that_asks_for_all_memory_ends_in_its_trial(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny")
    model = onnx.load(folder / "latent.onnx")
    for count in (2**30, 2**36):  # 4 GB, made while loading; and more than any computer has
        bomb = onnx.ModelProto.FromString(model.SerializeToString())
        bomb.graph.initializer.append(whole("count", count))
        zero = numpy_helper.from_array(np.zeros(1, np.float32), "")
        bomb.graph.node.insert(0, helper.make_node("ReduceSum", ["many"], ["sum"], keepdims=0))
        bomb.graph.node.insert(
            0, helper.make_node("ConstantOfShape", ["count"], ["many"], value=zero)
        )
        bomb.graph.node[-1].output[0] = "almost"
        bomb.graph.node.append(helper.make_node("Add", ["almost", "sum"], ["latents"]))
        spoil(folder, "latent", bomb)
        with pytest.raises(BundleError, match=r"latent\.onnx (fails|cannot)|broke off"):
            check_networks(load_bundle(folder))


def test_outputs_are_what_they_say_when_it_runs(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny")
    model = onnx.load(folder / "encoder.onnx")
    for side in model.graph.output[0].type.tensor_type.shape.dim:
        side.ClearField("dim_value")
        side.dim_param = "free"
    kept = model.graph.node[-1].output[0]
    model.graph.node[-1].output[0] = "wide"
    model.graph.node.append(helper.make_node("Concat", ["wide", "wide"], [kept], axis=1))
    spoil(folder, "encoder", model)
    load_bundle(folder).read_network("encoder")  # nothing to see from outside
    with pytest.raises(BundleError, match=r"encoder\.onnx must give .*\[B, 512\].* 1024\]"):
        check_networks(load_bundle(folder))


def test_what_is_opened_is_what_was_checked(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "tiny"))
    (bundle.path / "student.onnx").write_bytes(network().SerializeToString())
    with pytest.raises(BundleError, match=r"student\.onnx does not match its checksum"):
        bundle.read_network("student")


def test_nothing_waits_for_a_pipe(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny")
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    with pytest.raises(BundleError):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["con.onnx", "NUL", "x .", "a.", "speech.ONNX"])
def test_names_that_other_systems_read_otherwise_are_refused(tmp_path: Path, name: str) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny")
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    document["files"][name] = "0" * 64
    path.write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"must stay inside|capital letters"):
        load_bundle(folder)


def test_a_field_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny")
    path = folder / "manifest.json"
    path.write_text(re.sub(r"^\{", '{"name": "other",', path.read_text()))
    with pytest.raises(BundleError, match="there twice"):
        load_bundle(folder)


def test_an_archive_with_a_table_of_contents_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(15_000):
            archive.writestr(f"{number:050}", b"")
    with pytest.raises(BundleError, match="not a whole ZIP file: its table of contents"):
        import_archive(path, check=lambda bundle: None)
