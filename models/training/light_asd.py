"""Light-ASD (Liao et al., CVPR 2023): does the person in the picture say what is heard?

Active speaker detection, a stand-in for SyncNet under its own name: 1.02 M parameters that the
authors publish under the MIT licence (github.com/Junhua-Liao/Light-ASD, finetuning_TalkSet.model).
The names of the modules below are those of that file, so that it loads strictly.

T video frames at 25 fps, F = 4 T cepstral frames, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from daetalker.models.training.mfcc import mfcc
from daetalker.models.training.state_file import load_state

SIDE = 112
WIDTH = 128
FPS = 25
# Published normalisation of grey levels.
GREY_MEAN, GREY_STD = 0.4161, 0.1688
# Frames beyond its own that an embedding sees: three temporal convolutions reach two each.
REACH = 6
CHUNK = 50
# The published evaluation cuts clips into these lengths and averages the scores.
WINDOWS_S = (1, 2, 3, 4, 5, 6)
QUIET_DB = 30.0


class TwoPaths(nn.Module):
    """Kernels of 3 and of 5 side by side, each split into one over ``first`` and one over time."""

    def __init__(self, first: str, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = first
        for k in (3, 5):
            if first == "s":  # space, [B, C, T, H, W]
                split: nn.Module = nn.Conv3d(
                    inputs, outputs, (1, k, k), (1, stride, stride), (0, k // 2, k // 2), bias=False
                )
                time: nn.Module = nn.Conv3d(
                    outputs, outputs, (k, 1, 1), padding=(k // 2, 0, 0), bias=False
                )
            else:  # mel, [B, C, 13, F]
                split = nn.Conv2d(inputs, outputs, (k, 1), padding=(k // 2, 0), bias=False)
                time = nn.Conv2d(outputs, outputs, (1, k), padding=(0, k // 2), bias=False)
            for name, conv in ((f"{first}_{k}", split), (f"t_{k}", time)):
                self.add_module(name, conv)
                self.add_module(f"bn_{name}", self._norm(outputs))
        conv_class = nn.Conv3d if first == "s" else nn.Conv2d
        self.last = conv_class(outputs, outputs, 1, bias=False)
        self.bn_last = self._norm(outputs)

    def _norm(self, channels: int) -> nn.Module:
        kind = nn.BatchNorm3d if self.first == "s" else nn.BatchNorm2d
        return kind(channels, eps=1e-3, momentum=0.01)

    def _step(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(f"bn_{name}")(self.get_submodule(name)(x)))

    def forward(self, x: Tensor) -> Tensor:
        three, five = (self._step(f"t_{k}", self._step(f"{self.first}_{k}", x)) for k in (3, 5))
        return self._step("last", three + five)


class VisualEncoder(nn.Module):
    """Grey pictures ``[B, 1, T, 112, 112]``, normalised, to ``[B, T, 128]``."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = TwoPaths("s", 1, 32, stride=2)
        self.block2 = TwoPaths("s", 32, 64)
        self.block3 = TwoPaths("s", 64, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        for block in (self.block1, self.block2):
            x = F.max_pool3d(block(x), (1, 3, 3), (1, 2, 2), (0, 1, 1))
        return self.block3(x).amax((3, 4)).transpose(1, 2)


class AudioEncoder(nn.Module):
    """Cepstra ``[B, 1, 13, F]`` to ``[B, F / 4, 128]``."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = TwoPaths("m", 1, 32)
        self.block2 = TwoPaths("m", 32, 64)
        self.block3 = TwoPaths("m", 64, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        for block in (self.block1, self.block2):
            x = F.max_pool2d(block(x), (1, 3), (1, 2), (0, 1))
        return self.block3(x).mean(2).transpose(1, 2)


class ThereAndBack(nn.Module):
    """One GRU forwards, then one backwards over its outputs: ``[B, T, 128]`` to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.gru_backward = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        there = F.gelu(self.gru_forward(x)[0])
        return F.gelu(self.gru_backward(there.flip(1))[0].flip(1))


class Head(nn.Module):
    """Not speaking, speaking: two logits."""

    def __init__(self) -> None:
        super().__init__()
        self.FC = nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.FC(x)


class Trunk(nn.Module):
    """The three parts under the prefix ``model`` of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.visualEncoder = VisualEncoder()
        self.audioEncoder = AudioEncoder()
        self.GRU = ThereAndBack()


class LightAsd(nn.Module):
    """The whole network; pictures and sound are embedded once and compared as often as wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Trunk()
        self.lossAV = Head()
        self.lossV = Head()  # of pictures alone

    @torch.no_grad()
    def see(self, grey: NDArray[np.uint8]) -> Tensor:
        """``[T, 112, 112]`` grey levels of mouth crops to ``[T, 128]``.

        Computed in chunks with their surroundings, which gives what one pass would.
        """
        pieces = []
        for start in range(0, len(grey), CHUNK):
            low = max(start - REACH, 0)
            x = torch.from_numpy(grey[low : start + CHUNK + REACH].astype(np.float32))
            embedded = self.model.visualEncoder((x[None, None] / 255 - GREY_MEAN) / GREY_STD)[0]
            pieces.append(embedded[start - low : start - low + CHUNK])
        return torch.cat(pieces)

    @torch.no_grad()
    def hear(self, samples: NDArray[np.float32]) -> Tensor:
        """``[640 T]`` samples in [-1, 1] at 16 kHz to ``[T, 128]``."""
        frames = samples.size // 640
        cepstra = mfcc(samples)[: 4 * frames]
        cepstra = np.pad(cepstra, ((0, 4 * frames - len(cepstra)), (0, 0)), mode="edge")
        return self.model.audioEncoder(torch.from_numpy(cepstra.T.copy())[None, None])[0]

    @torch.no_grad()
    def compare(
        self, seen: Tensor, heard: Tensor, windows_s: Sequence[int] = WINDOWS_S
    ) -> NDArray[np.float32]:
        """Embeddings ``[T, 128]`` of both to the speaking score ``[T]``; above 0 means speaking.

        The score is the logit, the mean over windows of several lengths.
        """
        both = seen + heard
        total = torch.zeros(len(both))
        for seconds in windows_s:
            size = seconds * FPS
            whole = len(both) // size * size
            parts = [both[:whole].view(-1, size, WIDTH), both[None, whole:]]
            scores = [
                self.lossAV(self.model.GRU(p))[..., 1].reshape(-1) for p in parts if p.numel()
            ]
            total += torch.cat(scores)
        return (total / len(windows_s)).numpy()

    @torch.no_grad()
    def watch(self, seen: Tensor) -> NDArray[np.float32]:
        """Pictures ``[T, 128]`` alone to the speaking score ``[T]``, which sees 6 frames around."""
        return self.lossV(seen)[:, 1].numpy()


def light_asd_figures(
    network: LightAsd, seen: Tensor, audio: NDArray[np.float32]
) -> dict[str, float]:
    """What the network says of pictures ``[T, 128]``, embedded by `LightAsd.see`, and ``[640 T]``.

    The network answers "does this person speak", and a mouth that moves in continuous speech gets
    the same high score for any other speech.  What depends on time is where it sees speaking: its
    judgement of the pictures alone should rise and fall with the sound.

    Returns:
        ``light_asd``: mean score.  ``light_asd_contrast``: mean score of the pictures alone in
        frames with speech, less that in frames without (`speech_frames`); NaN if there are not
        both.
    """
    score, watched = network.compare(seen, network.hear(audio)), network.watch(seen)
    speech = speech_frames(audio)[: len(watched)]
    both = bool(speech.any() and not speech.all())
    return {
        "light_asd": float(score.mean()),
        "light_asd_contrast": (
            float(watched[speech].mean() - watched[~speech].mean()) if both else float("nan")
        ),
    }


def speech_frames(audio: NDArray[np.float32]) -> NDArray[np.bool_]:
    """``[640 T]`` to ``[T]``: True where a frame is at most 30 dB below the loudest twentieth."""
    power = (audio[: len(audio) // 640 * 640].reshape(-1, 640).astype(np.float64) ** 2).mean(1)
    level_db = 10.0 * np.log10(power + 1e-12)
    speech: NDArray[np.bool_] = level_db > np.quantile(level_db, 0.95) - QUIET_DB
    return speech


def load_light_asd(path: Path) -> LightAsd:
    """Read ``finetuning_TalkSet.model``.

    Raises:
        MeasureError: if the file is missing or holds something else.
    """
    network = LightAsd()
    load_state(network, path, "Light-ASD (finetuning_TalkSet.model)")
    return network
