"""Front-ends as a recipe asks for them, for training and for export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from daetalker.models.acoustic import FrontEnd, LogMel, Whisper, WhisperEncoder, round_to_int8
from daetalker.models.training.configs import FrontEndConfig
from daetalker.models.training.data import DataError
from daetalker.models.training.team import best_device
from daetalker.models.wav2vec import DEFAULT_CHECKPOINT, FrontEndError, Wav2Vec

WHISPER_POSITIONS = 1500


class WholeWhisper:
    """Whisper tiny.en on speech of any length up to 30 s, with as many positions as it needs."""

    def __init__(self, folder: Path) -> None:
        self._encoder = WhisperEncoder.load(folder, WHISPER_POSITIONS)
        round_to_int8(self._encoder)
        self._positions = self._encoder.positions
        self.width = self._encoder.width

    def __call__(self, windows: NDArray[np.float32]) -> Tensor:
        """``[B, N]`` samples, N a multiple of 320, to ``[B, N / 320, C]``.

        Raises:
            ValueError: beyond 30 s.
        """
        frames = windows.shape[1] // 320
        if frames > WHISPER_POSITIONS:
            raise ValueError("Whisper hears 30 s at most")
        self._encoder.positions = self._positions[:frames]
        return Whisper(self._encoder, bf16=True)(windows)


def make_front_end(
    cfg: FrontEndConfig, whisper: Path | None, frames: int = 50, whole: bool = False
) -> FrontEnd:
    """The front-end of a recipe.

    Args:
        whisper: folder of Whisper tiny.en's encoder; needed for that kind only.
        frames: of a window, at 25 frames a second.
        whole: for speech of any length up to 30 s instead of windows.

    Raises:
        DataError: if weights or a library are missing; the message says what to do.
    """
    if cfg.kind == "logmel":
        return LogMel()
    if cfg.kind == "wav2vec":
        try:
            wav2vec = Wav2Vec.load(cfg.checkpoint or DEFAULT_CHECKPOINT)
        except FrontEndError as error:
            raise DataError(str(error)) from error
        round_to_int8(wav2vec.network)
        wav2vec.network.to(best_device())
        return wav2vec
    if whisper is None:
        raise DataError("the Whisper front-end needs the folder of its weights")
    if whole:
        return WholeWhisper(whisper)
    encoder = WhisperEncoder.load(whisper, 2 * frames)
    round_to_int8(encoder)
    return Whisper(encoder, bf16=True)
