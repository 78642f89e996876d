"""x_T.npy: the noise that every frame of an avatar starts from."""

from __future__ import annotations

import io

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

__all__ = ["read_noise"]


def read_noise(data: bytes, size: int) -> NDArray[np.float32]:
    """The shared x_T of section 3.3, ``[1, 3, size, size]``, from the bytes of an .npy file.

    Nothing is unpickled, and what the header announces is not made room for before it is there.

    Raises:
        ValueError: if the bytes are anything else.
    """
    wanted = (1, 3, size, size)
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, columns_first, dtype = header(stream)
    except Exception as error:  # crafted headers make numpy's parser raise errors of many kinds
        raise ValueError(f"it is no .npy file: {error}") from error
    good = shape == wanted and not columns_first and dtype in (np.float16, np.float32)
    values = data[stream.tell() :] if good else b""
    if not good or len(values) != 3 * size * size * dtype.itemsize:
        raise ValueError(f"it must hold {list(wanted)} numbers")
    noise = np.frombuffer(values, dtype).astype(np.float32).reshape(wanted)
    if not np.isfinite(noise).all():
        raise ValueError("it must hold finite numbers")
    return noise
