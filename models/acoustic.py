"""Acoustic front-ends: 16 kHz speech to features for speech2latent (section 3.2.1).

Every front-end maps one analysis window to features at 50 Hz, exactly as the stream will compute
them: the encoders are not causal, so features of a whole file would differ.

Shapes: B batch, N samples, F = N / 320 feature frames, C feature width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from daetalker.models.mel import log_mel


class FrontEnd(Protocol):
    """What speech2latent needs to know of a front-end."""

    width: int

    def __call__(self, windows: NDArray[np.float32]) -> Tensor:
        """``[B, N]`` samples in [-1, 1] at 16 kHz to ``[B, F, C]``."""


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.self_attn_layer_norm(x)
        batch, frames, width = h.shape

        def split(y: Tensor) -> Tensor:
            return y.view(batch, frames, self.heads, width // self.heads).transpose(1, 2)

        q, k, v = split(self.q_proj(h)), split(self.k_proj(h)), split(self.v_proj(h))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, frames, width)
        x = x + self.out_proj(h)
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return out


class WhisperEncoder(nn.Module):
    """The encoder of Whisper tiny.en (Radford et al. 2022) for short windows.

    Args:
        feature_frames: frames of one window at 50 Hz; only that many positions are kept.
    """

    positions: Tensor

    def __init__(
        self, feature_frames: int = 100, width: int = 384, heads: int = 6, layers: int = 4
    ) -> None:
        super().__init__()
        self.width = width
        self.conv1 = nn.Conv1d(80, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positions", torch.zeros(feature_frames, width))
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, mel: Tensor) -> Tensor:
        """``[B, 80, 2 F]`` log-mel to ``[B, F, C]``."""
        h = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2) + self.positions
        for layer in self.layers:
            h = layer(h)
        out: Tensor = self.layer_norm(h)
        return out

    @classmethod
    def load(cls, folder: Path, feature_frames: int = 100) -> WhisperEncoder:
        """Read ``model.safetensors`` with transformers' names of ``WhisperEncoder``.

        Raises:
            FileNotFoundError: if the weights are not in ``folder``.
        """
        path = folder / "model.safetensors"
        if not path.is_file():
            raise FileNotFoundError(f"Whisper encoder weights not found at {path}")
        state = {k.replace("self_attn.", ""): v.float() for k, v in load_file(path).items()}
        state["positions"] = state.pop("embed_positions.weight")[:feature_frames]
        model = cls(feature_frames)
        model.load_state_dict(state)
        return model.eval()


@torch.no_grad()
def round_to_int8(module: nn.Module) -> None:
    """Give every matrix the values it has after int8 storage, one scale an output row.

    Training features then come from the very weights that a bundle ships.
    """
    for parameter in module.parameters():
        if parameter.dim() >= 2:
            rows = parameter.flatten(1)
            scale = rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127.0
            parameter.copy_(((rows / scale).round() * scale).view_as(parameter))


class Whisper:
    """Whisper tiny.en features of each window (the `embedded` front-end).

    Args:
        bf16: compute in bfloat16, for extracting training features fast.
    """

    def __init__(self, encoder: WhisperEncoder, bf16: bool = False) -> None:
        self.encoder = encoder
        self.bf16 = bf16
        self.width = encoder.width

    @torch.no_grad()
    def __call__(self, windows: NDArray[np.float32]) -> Tensor:
        mel = torch.from_numpy(np.stack([log_mel(window) for window in windows]))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            out: Tensor = self.encoder(mel)
        return out.float()


class LogMel:
    """Plain log-mel, two spectrogram frames a feature frame: the baseline to beat."""

    width = 160

    def __call__(self, windows: NDArray[np.float32]) -> Tensor:
        mel = np.stack([log_mel(window) for window in windows])
        batch, bands, frames = mel.shape
        pairs = mel.transpose(0, 2, 1).reshape(batch, frames // 2, 2 * bands)
        return torch.from_numpy(np.ascontiguousarray(pairs))
