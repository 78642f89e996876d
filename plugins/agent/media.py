"""A session's raw picture and voice as binary messages.

One message is one item: byte 0 is ``V`` or ``A``, byte 1 flags, bytes 4 to 11 a little-endian
64-bit number.  ``V``: flag 1 speaking, the frame's number, RGB24 rows.  ``A``: flag 1 if it belongs
to an utterance, flag 2 if it is that utterance's last, the 48 kHz position, 960 int16.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Picture", "Sound", "pack_sound", "pack_video", "unpack"]

_HEAD = struct.Struct("<cB2xQ")


@dataclass(frozen=True, eq=False)
class Picture:
    """One frame.

    Attributes:
        index: frame number, 25 a second.
        speaking: True while the voice is heard.
        rgb: ``[S, S, 3]`` uint8.
    """

    index: int
    speaking: bool
    rgb: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Sound:
    """20 ms of voice.

    Attributes:
        start: position of the first sample at 48 kHz; frame f's voice starts at ``1920 f``.
        pcm: ``[960]`` int16, mono.
        spoken: True if it belongs to an utterance, False for silence between them.
        last: True if the utterance ends here.
    """

    start: int
    pcm: NDArray[np.int16]
    spoken: bool
    last: bool


def pack_video(index: int, rgb: NDArray[np.uint8], speaking: bool) -> bytes:
    """One ``V`` message."""
    return _HEAD.pack(b"V", int(speaking), index) + rgb.tobytes()


def pack_sound(start: int, pcm: NDArray[np.int16], spoken: bool, last: bool) -> bytes:
    """One ``A`` message."""
    flags = int(spoken) | int(last) << 1
    return _HEAD.pack(b"A", flags, start) + pcm.astype("<i2", copy=False).tobytes()


def unpack(message: bytes, size: int) -> Picture | Sound:
    """Read a message of a session whose frames are ``size`` pixels square.

    Raises:
        ValueError: if it is neither kind, or its length is wrong.
    """
    kind, flags, number = _HEAD.unpack_from(message)
    body = memoryview(message)[_HEAD.size :]
    if kind == b"V":
        rgb = np.frombuffer(body, np.uint8).reshape(size, size, 3)
        return Picture(number, bool(flags & 1), rgb)
    if kind == b"A":
        pcm = np.frombuffer(body, "<i2").astype(np.int16, copy=False)
        return Sound(number, pcm, bool(flags & 1), bool(flags & 2))
    raise ValueError(f"a media message begins with V or A, not {kind!r}")
