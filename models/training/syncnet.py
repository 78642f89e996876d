"""SyncNet v2 (Chung and Zisserman 2016) and the lip-sync errors LSE-D and LSE-C made with it.

The weights (``syncnet_v2.model`` of the Visual Geometry Group) are not ours to pass on and were
not at hand: the figures are "not measured" without a path to them.  Module names and sizes are
those of the public file; distances and offsets follow the public evaluation
(github.com/joonson/syncnet_python), which is what Table 1 of DAE-Talker used.

T frames at 25 fps; n = T - 5 windows of five frames, as many as the public evaluation looks at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from daetalker.models.training.mfcc import mfcc
from daetalker.models.training.state_file import load_state

WINDOW = 5
CEPSTRA_PER_FRAME = 4
REACH = 15
WIDTH = 1024
BATCH = 10


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, WIDTH))


class SyncNet(nn.Module):
    """Two networks that put five frames of lips and 0.2 s of sound near each other if they agree.

    The order of the layers is that of the public file, whose names are their numbers.
    """

    def __init__(self) -> None:
        super().__init__()

        def heard(inputs: int, outputs: int, kernel: tuple[int, int], pad: int) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, outputs, kernel, padding=pad)
            return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

        def seen(
            inputs: int, outputs: int, kernel: tuple[int, int, int], stride: int, pad: int
        ) -> list[nn.Module]:
            conv = nn.Conv3d(inputs, outputs, kernel, (1, stride, stride), (0, pad, pad))
            return [conv, nn.BatchNorm3d(outputs), nn.ReLU()]

        self.netcnnaud = nn.Sequential(
            *heard(1, 64, (3, 3), 1),
            nn.Identity(),  # a pooling over one cell, which only takes up a number
            *heard(64, 192, (3, 3), 1),
            nn.MaxPool2d(3, (1, 2)),
            *heard(192, 384, (3, 3), 1),
            *heard(384, 256, (3, 3), 1),
            *heard(256, 256, (3, 3), 1),
            nn.MaxPool2d(3, 2),
            *heard(256, 512, (5, 4), 0),
        )
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = nn.Sequential(
            *seen(3, 96, (5, 7, 7), 2, 0),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *seen(96, 256, (1, 5, 5), 2, 1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *seen(256, 256, (1, 3, 3), 1, 1),
            *seen(256, 256, (1, 3, 3), 1, 1),
            *seen(256, 256, (1, 3, 3), 1, 1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *seen(256, 512, (1, 6, 6), 1, 0),
        )

    def lips(self, pictures: Tensor) -> Tensor:
        """``[B, 3, 5, 224, 224]`` BGR levels 0 to 255 to ``[B, 1024]``."""
        return self.netfclip(self.netcnnlip(pictures).flatten(1))

    def sound(self, cepstra: Tensor) -> Tensor:
        """``[B, 1, 13, 20]`` to ``[B, 1024]``."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))

    @torch.no_grad()
    def hear(self, samples: NDArray[np.float32]) -> Tensor:
        """``[640 T]`` samples in [-1, 1] at 16 kHz to ``[n, 1024]``."""
        cepstra = torch.from_numpy(mfcc(samples))  # [4 T - 1, 13]
        windows = cepstra.unfold(
            0, CEPSTRA_PER_FRAME * WINDOW, CEPSTRA_PER_FRAME
        )  # [n + 1, 13, 20]
        count = max(samples.size // 640 - WINDOW, 0)
        return torch.cat([self.sound(w[:, None]) for w in windows[:count].split(128)])


class LipWindows:
    """Embeds the five-frame windows of a video as it comes; holds at most ``BATCH + 4`` crops."""

    def __init__(self, network: SyncNet) -> None:
        self._network = network
        self._crops: list[Tensor] = []
        self._done: list[Tensor] = []

    def add(self, crop: NDArray[np.uint8]) -> None:
        """The next face crop, ``[224, 224, 3]`` RGB."""
        bgr = np.ascontiguousarray(crop[..., ::-1].transpose(2, 0, 1))
        self._crops.append(torch.from_numpy(bgr))
        if len(self._crops) == BATCH + WINDOW - 1:
            self._embed()

    def finish(self) -> Tensor:
        """``[T - 4, 1024]`` of all T crops."""
        self._embed()
        return torch.cat(self._done) if self._done else torch.zeros(0, WIDTH)

    @torch.no_grad()
    def _embed(self) -> None:
        if len(self._crops) >= WINDOW:
            clip = torch.stack(self._crops, 1).float()  # [3, frames, 224, 224]
            windows = clip.unfold(1, WINDOW, 1).permute(1, 0, 4, 2, 3)
            self._done.append(self._network.lips(windows.contiguous()))
            self._crops = self._crops[len(windows) :]


@dataclass(frozen=True)
class LipSync:
    """Lip-sync errors of one clip.

    Attributes:
        distance: LSE-D, the mean distance at the best offset; lower is better.
        confidence: LSE-C, the median over offsets minus the least; higher is better.
        offset_frames: the best offset; positive if the picture is late.
    """

    distance: float
    confidence: float
    offset_frames: int


def lip_sync(lips: Tensor, sound: Tensor, reach: int = REACH) -> LipSync:
    """Compare window embeddings ``[n, D]`` of picture and sound at offsets -reach to reach.

    Beyond the ends the sound counts as zero, as in the public evaluation.

    Raises:
        ValueError: if there is no window.
    """
    count = min(len(lips), len(sound))
    if not count:
        raise ValueError(f"lip_sync needs at least one window, that is {WINDOW + 1} frames")
    lips, sound = lips[:count], F.pad(sound[:count], (0, 0, reach, reach))
    means = torch.stack(
        [F.pairwise_distance(lips, sound[k : k + count]).mean() for k in range(2 * reach + 1)]
    )
    least = int(means.argmin())
    return LipSync(
        distance=float(means[least]),
        confidence=float(means.median() - means[least]),
        offset_frames=reach - least,
    )


def load_syncnet(path: Path | None) -> SyncNet | None:
    """Read ``syncnet_v2.model``; None without a path, and what it measures is "not measured".

    Raises:
        MeasureError: if the file is missing or holds something else.
    """
    if path is None:
        return None
    network = SyncNet()
    # Files as old as this one do not count batches.
    load_state(
        network,
        path,
        "SyncNet v2 (syncnet_v2.model)",
        may_miss=lambda name: name.endswith("num_batches_tracked"),
    )
    return network
