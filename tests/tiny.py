"""A tiny seeded avatar bundle: the real signatures, a few small random matrices inside.

Outputs depend on every input, on its place in the window and on its neighbours, so tests that
compare live with offline mean something.  Nothing here looks like a face.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from daetalker.models.bundle import write_manifest

HIDDEN = 8
LATENT = 512
WINDOW = 50
_RANK = 16
_OPSET = 17


class _Graph:
    """Collects nodes and seeded weights of one network."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._rng = np.random.default_rng(seed)

    def constant(self, values: Any, dtype: type = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def matrix(self, rows: int, columns: int, scale: float = 1.0) -> str:
        values = self._rng.standard_normal((rows, columns)) * scale / np.sqrt(rows)
        return self.constant(values)

    def blur(self, rows: int) -> str:
        """``[rows, rows]`` average over neighbours in time, the future ones included."""
        distance = np.abs(np.subtract.outer(np.arange(rows), np.arange(rows)))
        weights = np.exp(-distance / 2.0)
        return self.constant(weights / weights.sum(axis=1, keepdims=True))

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"step{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def reshape(self, value: str, *shape: int) -> str:
        return self.add("Reshape", value, self.constant(shape, np.int64))

    def save(self, path: Path, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        graph = helper.make_graph(
            self.nodes, path.stem, _values(inputs), _values(outputs), self.weights
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())


def _values(specs: dict[str, Any]) -> list[Any]:
    return [
        helper.make_tensor_value_info(name, kind, shape) for name, (kind, *shape) in specs.items()
    ]


def make_tiny_bundle(folder: Path, size: int = 32) -> Path:
    """Write the bundle into ``folder``, made if needed; frames are ``size`` pixels square."""
    folder.mkdir(parents=True, exist_ok=True)
    _acoustic(folder / "acoustic.onnx")
    _speech(folder / "speech.onnx")
    _latent(folder / "latent.onnx")
    _student(folder / "student.onnx", size)
    _encoder(folder / "encoder.onnx", size)
    _teacher(folder / "teacher.onnx", size)
    noise = np.random.default_rng(7).standard_normal((1, 3, size, size))
    np.save(folder / "x_T.npy", noise.astype(np.float32))
    write_manifest(folder, tiny_manifest(size))
    return folder


def tiny_manifest(size: int = 32) -> dict[str, Any]:
    """The manifest's values, for tests that want to spoil one."""
    return {
        "name": "tiny",
        "label": "Tiny",
        "size": size,
        "fps": 25,
        "window_frames": WINDOW,
        "hop_frames": 4,
        "lookahead_frames": 3,
        "latent": LATENT,
        "hidden": HIDDEN,
        "diffusion_steps": 1000,
        "pose_range_deg": {"yaw": [-30, 30], "pitch": [-18, 18], "roll": [-12, 12]},
        "presets": [
            {"name": "front", "label": "Front", "yaw": 0, "pitch": 0, "roll": 0},
            {"name": "left", "label": "Left", "yaw": 20, "pitch": 0, "roll": 0},
            {"name": "right", "label": "Right", "yaw": -20, "pitch": 0, "roll": 0},
            {"name": "up", "label": "Up", "yaw": 0, "pitch": 10, "roll": 0},
            {"name": "tilt", "label": "Tilt", "yaw": 5, "pitch": -3, "roll": 8},
        ],
        "figures": {},
        "licence": "Apache-2.0",
        "attributions": [],
        "synthetic": True,
        "consent": "random numbers need none",
    }


def _acoustic(path: Path) -> None:
    g = _Graph(1)
    rows = g.reshape(g.add("Transpose", "mel", perm=[0, 2, 1]), 1, 100, 160)
    g.add("Tanh", g.add("MatMul", rows, g.matrix(160, 384)), output="features")
    g.save(
        path,
        {"mel": (TensorProto.FLOAT, 1, 80, 200)},
        {"features": (TensorProto.FLOAT, 1, 100, 384)},
    )


def _speech(path: Path) -> None:
    g = _Graph(2)
    rows = g.reshape("features", 1, WINDOW, 2 * 384)
    mixed = g.add("MatMul", g.blur(WINDOW), rows)
    g.add("Tanh", g.add("MatMul", mixed, g.matrix(768, HIDDEN, 3.0)), output="hidden")
    g.add("MatMul", "hidden", g.matrix(HIDDEN, 3, 6.0), output="pose")
    g.save(
        path,
        {"features": (TensorProto.FLOAT, 1, 100, 384)},
        {
            "hidden": (TensorProto.FLOAT, 1, WINDOW, HIDDEN),
            "pose": (TensorProto.FLOAT, 1, WINDOW, 3),
        },
    )


def _latent(path: Path) -> None:
    g = _Graph(3)
    scaled = g.add("Mul", "control", g.constant([0.05, 0.05, 0.05, 1.0]))
    joined = g.add("Concat", "hidden", scaled, axis=2)
    mixed = g.add("MatMul", g.blur(WINDOW), joined)
    g.add("Tanh", g.add("MatMul", mixed, g.matrix(HIDDEN + 4, LATENT, 2.0)), output="latents")
    g.save(
        path,
        {
            "hidden": (TensorProto.FLOAT, 1, WINDOW, HIDDEN),
            "control": (TensorProto.FLOAT, 1, WINDOW, 4),
        },
        {"latents": (TensorProto.FLOAT, 1, WINDOW, LATENT)},
    )


def _student(path: Path, size: int) -> None:
    g = _Graph(4)
    low = g.add("MatMul", "latent", g.matrix(LATENT, _RANK, 4.0))
    full = g.add("MatMul", low, g.matrix(_RANK, size * size * 3))
    bright = g.add("Mul", g.add("Sigmoid", full), g.constant(255.0))
    g.add("Cast", g.reshape(bright, -1, size, size, 3), to=TensorProto.UINT8, output="frame")
    g.save(
        path,
        {"latent": (TensorProto.FLOAT, "B", LATENT)},
        {"frame": (TensorProto.UINT8, "B", size, size, 3)},
    )


def _encoder(path: Path, size: int) -> None:
    g = _Graph(5)
    pixels = g.reshape("image", -1, 3 * size * size)
    low = g.add("MatMul", pixels, g.matrix(3 * size * size, _RANK))
    g.add("Tanh", g.add("MatMul", low, g.matrix(_RANK, LATENT)), output="latent")
    g.save(
        path,
        {"image": (TensorProto.FLOAT, "B", 3, size, size)},
        {"latent": (TensorProto.FLOAT, "B", LATENT)},
    )


def _teacher(path: Path, size: int) -> None:
    g = _Graph(6)
    low = g.add("MatMul", "latent", g.matrix(LATENT, _RANK, 4.0))
    clean = g.reshape(g.add("MatMul", low, g.matrix(_RANK, 3 * size * size)), -1, 3, size, size)
    time = g.add("Mul", g.add("Cast", "t", to=TensorProto.FLOAT), g.constant(1e-3))
    noisy = g.add("Mul", "x_t", g.reshape(time, -1, 1, 1, 1))
    g.add("Tanh", g.add("Add", clean, noisy), output="x0")
    g.save(
        path,
        {
            "x_t": (TensorProto.FLOAT, "B", 3, size, size),
            "t": (TensorProto.INT64, "B"),
            "latent": (TensorProto.FLOAT, "B", LATENT),
        },
        {"x0": (TensorProto.FLOAT, "B", 3, size, size)},
    )


def tiny_speech(seconds: float, seed: int = 0, rate: int = 16_000) -> NDArray[np.float32]:
    """Something a voice detector takes for speech: a gliding, syllable-like buzz, seeded.

    ``[N]`` float32 at ``rate``, about -20 dB.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 130.0 + 25.0 * np.sin(2 * np.pi * 0.7 * time) + 5.0 * rng.standard_normal()
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formant = 600.0 + 250.0 * np.sin(2 * np.pi * 2.3 * time + rng.uniform(0, 6))
    voice = np.zeros_like(time)
    for harmonic in range(1, 26):
        hertz = harmonic * pitch
        gain = np.exp(-(((hertz - formant) / 300.0) ** 2)) + 0.3 * np.exp(
            -(((hertz - 3.0 * formant) / 500.0) ** 2)
        )
        voice += gain * np.sin(harmonic * phase)
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 4.0 * time + rng.uniform(0, 6))
    sound = voice * syllables
    return (0.1 * sound / max(float(np.std(sound)), 1e-9)).astype(np.float32)


def to_pcm(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Float samples in [-1, 1] as int16."""
    return np.asarray(np.rint(np.clip(samples, -1.0, 1.0) * 32767.0), np.int16)
