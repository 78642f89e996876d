"""Networks to ONNX files: opset, input and output names, compact weights.

Weights are stored as float16 or as int8 with one scale a row, and widened by Cast (and Mul) nodes
that the runtime folds once while loading; all arithmetic stays float32.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

Storage = Literal["float32", "float16", "int8"]
OPSET = 18
SMALLEST = 1024


def export_onnx(
    module: nn.Module,
    inputs: dict[str, Tensor],
    outputs: list[str],
    path: Path,
    storage: Storage = "float16",
    batch: bool = False,
) -> None:
    """Trace ``module`` on ``inputs`` and write it; with ``batch`` the first axis is free."""
    axes = {name: {0: "B"} for name in [*inputs, *outputs]} if batch else None
    module = module.float().eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            opset_version=OPSET,
            dynamic_axes=axes,
            dynamo=False,
        )
    model = onnx.load(str(path))
    if storage != "float32":
        compact(model, storage)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def compact(model: onnx.ModelProto, storage: Storage) -> None:
    """Replace large float32 initialisers by float16 or int8 ones and widening nodes, in place."""
    graph = model.graph
    widen: list[onnx.NodeProto] = []
    kept: list[onnx.TensorProto] = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALLEST:
            kept.append(tensor)
            continue
        small = tensor.name + "_small"
        if storage == "int8" and values.ndim >= 2:
            axis = _output_axis(graph, tensor.name, values)
            others = tuple(i for i in range(values.ndim) if i != axis)
            scale = np.abs(values).max(axis=others, keepdims=True) / 127.0
            scale = np.maximum(scale, 1e-12).astype(np.float32)
            quantised = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
            kept.append(numpy_helper.from_array(quantised, small))
            kept.append(numpy_helper.from_array(scale, tensor.name + "_scale"))
            wide = tensor.name + "_wide"
            widen.append(helper.make_node("Cast", [small], [wide], to=TensorProto.FLOAT))
            widen.append(helper.make_node("Mul", [wide, tensor.name + "_scale"], [tensor.name]))
        else:
            kept.append(numpy_helper.from_array(values.astype(np.float16), small))
            widen.append(helper.make_node("Cast", [small], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*widen, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


def _output_axis(graph: onnx.GraphProto, name: str, values: np.ndarray) -> int:
    for node in graph.node:
        if name in node.input:
            if node.op_type == "MatMul":
                return values.ndim - 1
            if node.op_type == "Gemm":
                transposed = any(a.name == "transB" and a.i for a in node.attribute)
                return 0 if transposed else 1
    return 0
