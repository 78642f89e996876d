"""Int8 arithmetic for the live decoder, calibrated on latents of training frames.

Convolutions compute on 8-bit activations and 7-bit weights, one scale an output channel (7 bits,
because processors without VNNI saturate on 8); the last one, which paints the pixels, and all of
the conditioning stay float32.
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
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "small.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(plain)
        ort.InferenceSession(str(path), options)
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
    compact(model, "float16")
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
