"""A tiny person to train on: folders, a recipe, weights; everything small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

TINY = """
base = "embedded"
[front_end]
kind = "logmel"
[autoencoder.network]
encoder_widths = [8, 8, 8, 8]
[autoencoder.network.unet]
size = 128
patch = 8
widths = [8, 16]
up_blocks = [1, 1]
embedding = 16
[autoencoder.training]
batch = 4
diffusion = 1
crop = 64
[speech2latent.network]
width = 16
heads = 2
encoder_blocks = 1
decoder_blocks = 1
pose_channels = 8
[speech2latent.training]
batch = 4
[student.training]
real = 2
predicted = 1
teacher = 1
ends = 12
steps = 2
[student.image]
crop = 64
[window]
step = 25
augmented = 8
quiet = 8
"""

DESCRIPTION = """
name = "box"
label = "Box"
licence = "none"
synthetic = true
attributions = ["nobody"]
[consent]
statement = "The face is drawn; nobody is shown."
"""


class MeanLevel:
    """A front-end whose features are the mean level of each 20 ms, at any length."""

    width = 1

    def __call__(self, windows: NDArray[np.float32]) -> Tensor:
        import torch

        levels = np.abs(windows).reshape(len(windows), -1, 320).mean(-1, keepdims=True)
        features: Tensor = torch.from_numpy(levels.astype(np.float32))
        return features


def face(opening_px: float = 6.0, lids_px: float = 5.0, size: int = 256) -> NDArray[np.float32]:
    """68 landmarks of a plausible frontal face."""
    points: NDArray[np.float32] = np.zeros((68, 2), np.float32)
    points[27], points[33] = (128, 95), (128, 135)
    for first, x in ((36, 105), (42, 150)):
        points[first : first + 6, 0] = x + np.array([-9, -3, 3, 9, 3, -3])
        points[first : first + 6, 1] = 100 + np.array([0, -1, -1, 0, 1, 1]) * lids_px / 2
    points[48:68] = (128, 160)
    points[48:60, 0] += 18 * np.cos(np.linspace(np.pi, 3 * np.pi, 12, endpoint=False))
    points[48:60, 1] += 8 * np.sin(np.linspace(np.pi, 3 * np.pi, 12, endpoint=False))
    for top, bottom, x in ((61, 67, 122), (62, 66, 128), (63, 65, 134)):
        points[top], points[bottom] = (x, 160 - opening_px / 2), (x, 160 + opening_px / 2)
    return points * (size / 256)


def write_person(folder: Path, seconds: int = 3, size: int = 128) -> Path:
    """A training folder: a grey square whose 'mouth' opens with the loudness of a tone."""
    folder.mkdir(parents=True)
    frames = seconds * 25
    rng = np.random.default_rng(0)
    opening = 4 + 4 * np.sin(np.arange(frames) / 3)
    opening[:10] = 0.0
    with av.open(str(folder / "video.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for i in range(frames):
            image = np.full((size, size, 3), 90, np.uint8)
            half = int(opening[i] * size / 256)
            middle = int(160 * size / 256)
            image[middle - half : middle + half + 1, size // 2 - 9 : size // 2 + 9] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    loud = np.repeat(opening / 8, 640)
    sound = (loud * 8000 * np.sin(np.arange(frames * 640) / 9)).astype(np.int16)
    with av.open(str(folder / "audio.wav"), "w") as container:
        voice = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(voice.encode(frame))
        container.mux(voice.encode(None))
    np.savez(
        folder / "truth.npz",
        pose_deg=rng.normal(0, 5, (frames, 3)).astype(np.float32),
        landmarks=np.stack([face(2 * o, size=size) for o in opening]).astype(np.float32),
    )
    return folder


def write_dataset(folder: Path, train_s: int = 4, test_s: int = 3) -> Path:
    """A dataset: train/ and test_a/."""
    write_person(folder / "train", train_s)
    write_person(folder / "test_a", test_s)
    return folder


def write_recipe(path: Path, text: str = TINY) -> Path:
    """The tiny recipe as a file."""
    path.write_text(text, encoding="utf-8")
    return path


def write_lpips(folder: Path) -> Path:
    """A folder of weights that holds a random LPIPS: it judges nothing, but takes its time."""
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(0)
    specs = [(3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3)]
    state = {}
    for number, (inputs, outputs, side) in zip((0, 3, 6, 8, 10), specs, strict=True):
        shape = (outputs, inputs, side, side)
        state[f"features.{number}.weight"] = torch.randn(shape, generator=random) * 0.02
        state[f"features.{number}.bias"] = torch.zeros(outputs)
    for number, (_, outputs, _) in enumerate(specs):
        state[f"lin{number}.model.1.weight"] = torch.rand((1, outputs, 1, 1), generator=random)
    (folder / "lpips").mkdir(parents=True)
    save_file(state, folder / "lpips/lpips_alex_v0.1.safetensors")
    return folder
