"""Fit the read-out of `offset`.

``python -m daetalker.models.training.prepare.offset_fit DEMO/train``

To be run again if the embedded avatar gets another acoustic front-end; the tests notice.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.data import FPS, lip_opening, read_audio
from daetalker.models.training.prepare.offset import READER, speech_features, with_context

RIDGE = 0.003


def fit_offset_reader(
    audio: NDArray[np.float32], opening: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """Ridge regression of lip opening on the features of speech.

    Args:
        audio: ``[N]`` at 16 kHz, many voices.
        opening: ``[T]`` at 25 frames a second, in step with ``audio``.

    Returns:
        Weight ``[5 C]`` and bias for `with_context` features.
    """
    features = with_context(speech_features(audio)).astype(np.float64)
    times = (np.arange(len(features)) + 0.5) / (2 * FPS)
    target = np.interp(times, (np.arange(len(opening)) + 0.5) / FPS, opening)
    mean, spread = features.mean(0), features.std(0) + 1e-3
    normal = (features - mean) / spread
    gram = normal.T @ normal + RIDGE * len(normal) * np.eye(normal.shape[1])
    weight = np.linalg.solve(gram, normal.T @ (target - target.mean())) / spread
    return weight.astype(np.float32), float(target.mean() - mean @ weight)


def main() -> None:
    """Fit on a demo folder and write the read-out beside this file."""
    parser = argparse.ArgumentParser(description="Fit the read-out of the audio-video offset.")
    parser.add_argument("data", type=Path, help="folder with audio.wav and truth.npz, many voices")
    data = parser.parse_args().data
    with np.load(data / "truth.npz") as truth:
        opening = lip_opening(truth["landmarks"])
    weight, bias = fit_offset_reader(read_audio(data / "audio.wav"), opening)
    np.savez(READER, weight=weight, bias=np.float32(bias))


if __name__ == "__main__":
    main()
