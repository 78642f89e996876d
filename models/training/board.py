"""TensorBoard events of one stage; a silent nothing where `tensorboard` is not installed."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Board:
    """Scalars and sample frames of one stage.

    Args:
        folder: of this stage's event files; None for a board that keeps nothing.
        step: the run goes on from here: what an interrupted run wrote later is struck out.
    """

    def __init__(self, folder: Path | None, step: int = 0) -> None:
        self._writer: Any = None
        if folder is None or importlib.util.find_spec("tensorboard") is None:
            return
        with warnings.catch_warnings():  # tensorboard's own imports, not ours
            warnings.simplefilter("ignore", DeprecationWarning)
            from torch.utils.tensorboard.writer import SummaryWriter

            writer: Any = SummaryWriter
            self._writer = writer(str(folder), purge_step=step + 1)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point of every curve."""
        if self._writer is not None:
            for key, value in values.items():
                self._writer.add_scalar(key, value, step)

    def frames(self, tag: str, rows: list[Tensor], step: int) -> None:
        """Sample frames: every row ``[B, 3, S, S]`` in [-1, 1] becomes one row of the picture."""
        if self._writer is None:
            return
        lines = [row.detach().float().cpu().clamp(-1, 1).unbind(0) for row in rows]
        picture = torch.cat([torch.cat(list(line), 2) for line in lines], 1)
        self._writer.add_image(tag, (picture + 1) / 2, step)

    def flush(self) -> None:
        """Everything so far to disk: a checkpoint must not know of steps that the board lost."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flush and end; further calls do nothing."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
