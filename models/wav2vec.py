"""The `paper` acoustic front-end: wav2vec 2.0 features at 50 Hz (section 3.2.1).

Checked on small random configurations only: the weights of XLSR could not be had where this was
written.  `transformers` is imported when a checkpoint is loaded, not before.

Shapes: B batch, N samples at 16 kHz, F = N / 320 feature frames, C feature width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

DEFAULT_CHECKPOINT = "facebook/wav2vec2-large-xlsr-53"
STRIDE_SAMPLES = 320
FIELD_SAMPLES = 400
VARIANCE_FLOOR = 1e-7


class FrontEndError(RuntimeError):
    """A front-end's library or weights are missing; the message says what to do."""


class SamplesToFeatures(nn.Module):
    """Normalisation, margins and the encoder as one module: a bundle's ``acoustic`` network.

    Args:
        model: a `transformers.Wav2Vec2Model`, or any module called the same way.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.width = int(model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def forward(self, samples: Tensor) -> Tensor:
        """``[B, N]`` samples in [-1, 1] to ``[B, F, C]``."""
        centred = samples - samples.mean(dim=1, keepdim=True)
        variance = (centred * centred).mean(dim=1, keepdim=True)
        normal = centred / (variance + VARIANCE_FLOOR).sqrt()
        margin = (FIELD_SAMPLES - STRIDE_SAMPLES) // 2
        features: Tensor = self.model(F.pad(normal, (margin, margin))).last_hidden_state
        return features


class Wav2Vec:
    """A frozen `Wav2Vec2Model` as a front-end: one feature for every 320 samples.

    The window is padded by 40 samples on both sides, so that feature i is centred on samples
    [320 i, 320 (i + 1)) and a 2 s window gives 100 features, not 99.  Each window is
    brought to zero mean and unit variance, as XLSR was trained: these features do not tell a
    quiet room from speech, that is left to the stream's voice gate.

    Args:
        model: a `transformers.Wav2Vec2Model`, or any module called the same way.
    """

    def __init__(self, model: nn.Module) -> None:
        self.network = SamplesToFeatures(model).eval().requires_grad_(False)
        self.width = self.network.width

    @classmethod
    def load(cls, checkpoint: str | Path = DEFAULT_CHECKPOINT, **options: Any) -> Wav2Vec:
        """Load a checkpoint by its hub id or from a local folder.

        Args:
            options: passed to `Wav2Vec2Model.from_pretrained`, such as ``local_files_only``.

        Raises:
            FrontEndError: if `transformers` is not installed or the checkpoint is not there.
        """
        try:
            from transformers import Wav2Vec2Model
        except ImportError as error:
            raise FrontEndError(
                'wav2vec 2.0 needs transformers: pip install "daetalker[train]"'
            ) from error
        try:
            model = Wav2Vec2Model.from_pretrained(str(checkpoint), **options)
        except (OSError, ValueError) as error:
            raise FrontEndError(
                f"no wav2vec 2.0 checkpoint at {str(checkpoint)!r}: give a hub id that can be"
                " reached from here, or a folder with config.json and model.safetensors"
            ) from error
        return cls(model)

    @torch.no_grad()
    def __call__(self, windows: NDArray[np.float32]) -> Tensor:
        """``[B, N]`` samples in [-1, 1] at 16 kHz, N a multiple of 320, to ``[B, F, C]``.

        Raises:
            ValueError: if ``windows`` has another shape.
        """
        if windows.ndim != 2 or windows.shape[1] == 0 or windows.shape[1] % STRIDE_SAMPLES:
            raise ValueError(
                f"windows must be [B, N] with N a multiple of {STRIDE_SAMPLES},"
                f" got {list(windows.shape)}"
            )
        device = next(self.network.parameters()).device
        features: Tensor = self.network(torch.from_numpy(windows).to(device)).cpu()
        return features
