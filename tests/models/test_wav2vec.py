"""The wav2vec 2.0 front-end on a small random configuration; no published weights are used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from daetalker.models.acoustic import FrontEnd
from daetalker.models.bundle import load_bundle, write_manifest
from daetalker.models.training.export import export_onnx
from daetalker.models.wav2vec import FIELD_SAMPLES, STRIDE_SAMPLES, FrontEndError, Wav2Vec
from daetalker.streamer.engine import Engine
from tests.tiny import make_tiny_bundle, tiny_manifest, tiny_speech

transformers = pytest.importorskip("transformers")

WIDTH = 32


def tiny_wav2vec() -> Any:
    """The published strides and kernels, so the frame rate is the real one; all widths small."""
    torch.manual_seed(0)
    return transformers.Wav2Vec2Model(
        transformers.Wav2Vec2Config(
            hidden_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=48,
            conv_dim=(16,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
        )
    )


def _speech(seconds: float, seed: int = 1, level: float = 0.1) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal((2, round(seconds * 16_000)))
    return (level * noise).astype(np.float32)


@pytest.fixture(scope="module")
def front_end() -> Wav2Vec:
    return Wav2Vec(tiny_wav2vec())


@pytest.mark.parametrize("seconds", [0.4, 2.0])
def test_fifty_features_a_second(front_end: Wav2Vec, seconds: float) -> None:
    as_protocol: FrontEnd = front_end
    features = as_protocol(_speech(seconds))
    assert features.shape == (2, round(50 * seconds), WIDTH)
    assert not features.requires_grad
    assert bool(torch.isfinite(features).all())


def test_deterministic_and_independent_of_the_batch(front_end: Wav2Vec) -> None:
    windows = _speech(0.4)
    both = front_end(windows)
    assert torch.equal(both, front_end(windows))
    torch.testing.assert_close(both[:1], front_end(windows[:1]), atol=1e-5, rtol=1e-5)


def test_level_and_offset_do_not_matter(front_end: Wav2Vec) -> None:
    loud = front_end(_speech(0.4, level=0.3))
    soft = front_end(_speech(0.4, level=0.03) + np.float32(0.1))
    torch.testing.assert_close(loud, soft, atol=1e-3, rtol=1e-3)


def test_digital_silence_gives_finite_features(front_end: Wav2Vec) -> None:
    assert bool(torch.isfinite(front_end(np.zeros((1, 6400), np.float32))).all())


@pytest.mark.parametrize("shape", [(6400,), (1, 0), (1, 6401)])
def test_wrong_shapes_are_refused(front_end: Wav2Vec, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiple of 320"):
        front_end(np.zeros(shape, np.float32))


def test_a_saved_checkpoint_loads_from_its_folder(tmp_path: Path) -> None:
    model = tiny_wav2vec()
    model.save_pretrained(tmp_path)
    loaded = Wav2Vec.load(tmp_path)
    windows = _speech(0.4)
    assert torch.equal(loaded(windows), Wav2Vec(model)(windows))


def test_a_missing_checkpoint_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(FrontEndError, match=r"no wav2vec 2.0 checkpoint at .*config\.json"):
        Wav2Vec.load(tmp_path / "nowhere", local_files_only=True)


def test_missing_transformers_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(FrontEndError, match=r"pip install \"daetalker\[train\]\""):
        Wav2Vec.load()


def test_the_exported_network_takes_raw_samples(front_end: Wav2Vec, tmp_path: Path) -> None:
    path = tmp_path / "acoustic.onnx"
    export_onnx(front_end.network, {"samples": torch.zeros(1, 32_000)}, ["features"], path,
                "float32")  # fmt: skip
    windows = _speech(2.0)[:1]
    (features,) = ort.InferenceSession(str(path)).run(None, {"samples": windows})
    np.testing.assert_allclose(features, front_end(windows).numpy(), atol=1e-4)


class _ToTinySpeech(torch.nn.Module):
    """Widens the features to what the tiny bundle's speech network takes."""

    def __init__(self, front_end: Wav2Vec) -> None:
        super().__init__()
        self.network = front_end.network
        self.widen = torch.nn.Linear(WIDTH, 384)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        widened: torch.Tensor = self.widen(self.network(samples))
        return widened


def test_the_engine_feeds_samples_to_an_avatar_that_takes_them(
    front_end: Wav2Vec, tmp_path: Path
) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny")
    export_onnx(_ToTinySpeech(front_end), {"samples": torch.zeros(1, 32_000)}, ["features"],
                folder / "acoustic.onnx", "float32")  # fmt: skip
    write_manifest(folder, tiny_manifest())
    engine = Engine(load_bundle(folder), threads=1)
    samples = tiny_speech(2.0)
    heard = engine.speech(samples)
    np.testing.assert_allclose(engine.speech(samples * 0.25).hidden, heard.hidden, atol=1e-3)
    assert np.abs(engine.silence().hidden - heard.hidden).max() > 1e-2
    assert engine.warm_up(rounds=1)["acoustic"] > 0


def test_strides_and_field_are_those_of_the_published_feature_extractor() -> None:
    config = transformers.Wav2Vec2Config()
    stride, field = 1, 1
    for kernel, step in zip(config.conv_kernel, config.conv_stride, strict=True):
        field += (kernel - 1) * stride
        stride *= step
    assert (stride, field) == (STRIDE_SAMPLES, FIELD_SAMPLES) == (320, 400)
