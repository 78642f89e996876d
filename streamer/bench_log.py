"""Reading what `MediaTap` and the client wrote: the raw times and voices of one session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Log", "read_log", "read_voice_log"]

Log = dict[str, NDArray[Any]]


def read_log(folder: Path) -> Log:
    """A session's log.

    Returns:
        ``heard`` rows of time, position, samples; ``heard_pcm``; ``voice_start``; ``voice_pcm``;
        ``taken`` and ``sent`` rows of time, frame; and the further numbers by name.  Voices stay
        on the disk until they are looked at.
    """
    log: Log = {
        "heard": _table(folder / "heard.f64", np.float64).reshape(-1, 3),
        "heard_pcm": read_voice_log(folder / "heard.s16"),
        "voice_start": _table(folder / "voice.i64", np.int64),
        "voice_pcm": read_voice_log(folder / "voice.s16"),
        "taken": _table(folder / "taken.f64", np.float64).reshape(-1, 2),
        "sent": _table(folder / "sent.f64", np.float64).reshape(-1, 2),
    }
    numbers = json.loads((folder / "session.json").read_text())
    return log | {name: np.array(value) for name, value in numbers.items()}


def read_voice_log(path: Path) -> NDArray[np.int16]:
    """A voice ``[N]`` int16, left on the disk."""
    if not path.stat().st_size:
        return np.zeros(0, np.int16)
    return np.memmap(path, np.int16, "r")


def _table(path: Path, dtype: type) -> NDArray[Any]:
    return np.fromfile(path, dtype)
