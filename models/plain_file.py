"""Files of a bundle, opened so that nothing can wait for ever or change between look and use."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

__all__ = ["open_plain", "sha256_of"]


@contextmanager
def open_plain(path: Path, *, follow: bool = True) -> Iterator[tuple[BufferedReader, int]]:
    """A plain file for reading, and its size in bytes; nothing that could block or never end.

    Args:
        follow: whether a symbolic link may stand for the file.

    Raises:
        OSError: if it is not there, or is no plain file.
    """
    # Opening a pipe would wait for its writer; what was opened is asked what it is, not its name.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        there = os.fstat(descriptor)
        if not stat.S_ISREG(there.st_mode):
            raise OSError("it is not a plain file")
    except BaseException:
        os.close(descriptor)
        raise
    with open(descriptor, "rb") as file:
        yield file, there.st_size


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
