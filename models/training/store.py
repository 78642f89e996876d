"""Files that are whole or not there: checkpoints, plans and caches survive a kill at any moment."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from daetalker.models.training.data import DataError, reserve

FLUSH_EVERY_S = 5.0


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write beside ``path``, flush to disk and rename: readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """`torch.save`, whole or not at all.

    Raises:
        OSError: if the disk is full (torch itself would hide that behind a RuntimeError).
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_whole(path, buffer.getbuffer())


def load_state(path: Path, stage: str) -> Any:
    """What :func:`save_state` wrote, on the CPU.

    Raises:
        DataError: if it is not there; ``stage`` is what makes it.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: run the stage '{stage}' first")
    return torch.load(path, map_location="cpu", weights_only=True)


def digest(*parts: Mapping[str, Tensor] | Tensor | str) -> str:
    """Twelve hex digits that change with any weight or word of ``parts``."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode())
            continue
        tensors = {"": part} if isinstance(part, Tensor) else part
        for name, tensor in sorted(tensors.items()):
            total.update(name.encode())
            total.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return total.hexdigest()[:12]


def cached_rows(
    path: Path,
    shape: tuple[int, ...],
    dtype: type,
    rows: Callable[[int, int], NDArray[Any]],
    chunk: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[Any]:
    """An array file computed ``chunk`` rows at a time, once; a killed run goes on where it was.

    Args:
        shape: ``[N, ...]`` of the whole; a file of another shape is made anew.
        rows: computes rows start to stop, ``[stop - start, ...]``.
        progress: told the rows done and N after every chunk.

    Returns:
        The array, memory-mapped for reading.
    """
    if not _fits(path, shape, dtype):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial, count = path.with_suffix(".part.npy"), path.with_suffix(".part.count")
        if count.is_file() and _fits(partial, shape, dtype):
            done = int(count.read_text())
            out = np.lib.format.open_memmap(partial, mode="r+")
        else:
            count.unlink(missing_ok=True)
            done, out = 0, reserve(partial, shape, dtype)
        flushed = time.monotonic()
        for start in range(done, shape[0], chunk):
            stop = min(start + chunk, shape[0])
            out[start:stop] = rows(start, stop)
            progress(stop, shape[0])
            if time.monotonic() - flushed > FLUSH_EVERY_S:
                out.flush()
                write_whole(count, str(stop).encode())
                flushed = time.monotonic()
        out.flush()
        del out
        os.replace(partial, path)
        count.unlink(missing_ok=True)
    made: NDArray[Any] = np.load(path, mmap_mode="r")
    return made


def _fits(path: Path, shape: tuple[int, ...], dtype: type) -> bool:
    if not path.is_file():
        return False
    try:
        found = np.load(path, mmap_mode="r")
    except (ValueError, EOFError, OSError):
        return False
    return bool(found.shape == shape and found.dtype == np.dtype(dtype))
