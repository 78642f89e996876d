"""Protobuf on the wire, read without trust: the fields of one message, and nothing else.

ONNX files are protobuf.  The live server has no protobuf library, and a library would build the
whole model in memory before anyone could say that it is too much.  This reader makes no objects of
what it does not hand out, and refuses what a correct writer never writes, so that it cannot read a
file in another way than the library that opens it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["LENGTH", "VARINT", "Budget", "Field", "WireError", "fields", "varints"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

# Number, wire type and value: an int for varints, the bytes for all others.
Field = tuple[int, int, int | memoryview]

_MAX_NUMBER = (1 << 29) - 1


class WireError(ValueError):
    """These bytes are not a protobuf message as a correct writer writes it."""


class Budget:
    """How many fields may still be read, over all messages of a file."""

    def __init__(self, fields: int) -> None:
        self.left = fields

    def take(self) -> None:
        """Count one.

        Raises:
            WireError: if there were enough.
        """
        self.left -= 1
        if self.left < 0:
            raise WireError("it has too many parts")


def fields(data: memoryview, budget: Budget) -> Iterator[Field]:
    """The fields of one message in the order in which they stand.

    Raises:
        WireError: if the message is cut short, or written as no writer does.
    """
    at, end = 0, len(data)
    while at < end:
        budget.take()
        tag, at = _varint(data, at, 32)
        number, kind = tag >> 3, tag & 7
        if not 0 < number <= _MAX_NUMBER:
            raise WireError("a field has an impossible number")
        if kind == VARINT:
            value, at = _varint(data, at, 64)
            yield number, kind, value
            continue
        if kind == LENGTH:
            size, at = _varint(data, at, 64)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise WireError("a field is of a kind that ONNX does not use")
        if size > end - at:
            raise WireError("it is cut short")
        yield number, kind, data[at : at + size]
        at += size


def varints(data: memoryview, budget: Budget) -> Iterator[int]:
    """The numbers of a packed field.

    Raises:
        WireError: as above.
    """
    at = 0
    while at < len(data):
        budget.take()
        value, at = _varint(data, at, 64)
        yield value


def _varint(data: memoryview, at: int, bits: int) -> tuple[int, int]:
    """An unsigned number and where it ends."""
    value = shift = 0
    while shift < bits:
        if at >= len(data):
            raise WireError("it is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> bits:
                raise WireError("a number is too long")
            return value, at
        shift += 7
    raise WireError("a number is too long")
