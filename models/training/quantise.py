"""Int8 arithmetic for the live networks.

The decoder's convolutions compute on 8-bit activations and 7-bit weights, one scale an output
channel (7 bits, because processors without VNNI saturate on 8), calibrated on latents of training
frames; the last one, which paints the pixels, and all of the conditioning stay float32.  The
networks that hear speech do the same in their matrix products, but find the activations' scale
anew in every run, because voices differ in level.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from daetalker.models.training.export import compact


class _Latents(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, latents: NDArray[np.float32]) -> None:
        self._rows = iter(latents)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        row = next(self._rows, None)
        return None if row is None else {"latent": row[None]}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice, which nobody who trains an avatar can follow, off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def quantise_decoder(path: Path, latents: NDArray[np.float32]) -> None:
    """Rewrite the exported decoder at ``path`` in place.

    Args:
        latents: ``[N, D]`` of typical frames; 100 are plenty.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, small = _widened(path, Path(folder)), Path(folder) / "small.onnx"
        convolutions = [n.name for n in onnx.load(str(plain)).graph.node if n.op_type == "Conv"]
        quantize_static(
            str(plain),
            str(small),
            _Latents(latents),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=convolutions[-1:],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(str(small))
    _save(model, path)


def quantise_products(path: Path) -> None:
    """Rewrite an exported network at ``path`` in place: products with constant matrices in int8."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        small = Path(folder) / "small.onnx"
        quantize_dynamic(
            str(_widened(path, Path(folder))),
            str(small),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        model = onnx.load(str(small))
    _save(model, path)


def _widened(path: Path, folder: Path) -> Path:
    """The network with its compact weights unpacked, as the quantiser wants them."""
    plain = folder / "plain.onnx"
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(plain)
    ort.InferenceSession(str(path), options)
    return plain


def _save(model: onnx.ModelProto, path: Path) -> None:
    compact(model, "float16")
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
