"""What an ONNX file may hold, checked before ONNX Runtime opens it.

A network of a bundle is a program by somebody else.  Here it is read without building it
(`wire.py`), and refused unless it is plain inference: known operators, no loops or branches, every
tensor inside the file and as long as it says, sizes that never depend on what is heard.  Numbers of
fields are those of onnx.proto3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from daetalker.models.onnx_ops import OPERATORS, SIZES
from daetalker.models.wire import LENGTH, VARINT, Budget, WireError, fields, varints

__all__ = ["MAX_NODES", "Network", "NetworkError", "Value", "check_network"]

MAX_NODES = 20_000
MAX_FIELDS = 2_000_000
MAX_TEXT_BYTES = 1024
OPSETS = range(7, 27)
IR_VERSIONS = range(3, 15)

# Bits an element, by TensorProto.DataType: float, 8 to 64 bit integers, bool, half, double, 4 bit.
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64,
         21: 4, 22: 4}  # fmt: skip
_TYPES = {1: "float", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
          11: "double"}  # fmt: skip


class NetworkError(ValueError):
    """The file is no network that a bundle may hold; what it does, to follow the file's name."""


@dataclass(frozen=True)
class Value:
    """An input or output: its type in ONNX Runtime's words, and its shape; None is any length."""

    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Network:
    """What a network takes and gives, by name."""

    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]


def check_network(data: bytes) -> Network:
    """Read the bytes of an ONNX file.

    Raises:
        NetworkError: what is wrong with it.
    """
    # These four letters make ONNX Runtime read the file as its own format instead.
    if data[4:8] == b"ORTM":
        raise NetworkError("is not an ONNX file")
    try:
        return _Reader().model(memoryview(data))
    except WireError as error:
        raise NetworkError(f"is not a whole ONNX file: {error}") from None


# A message's parts by field number; those of a field that is not there are an empty list.
_Parts = dict[int, list[int | memoryview]]


class _Reader:
    """One file."""

    def __init__(self) -> None:
        self._budget = Budget(MAX_FIELDS)

    def model(self, data: memoryview) -> Network:
        parts = self._parts(
            data, numbers={1, 5}, texts={2, 3, 4, 6, 7}, lists={8, 14}, what="the model"
        )
        if not any(version in IR_VERSIONS for version in parts[1]):
            raise NetworkError("is of a version of ONNX that is not read here")
        for entry in parts[8]:
            self._opset(_bytes(entry))
        if not parts[7]:
            raise NetworkError("holds no network")
        return self._graph(_bytes(parts[7][0]))

    def _opset(self, data: memoryview) -> None:
        parts = self._parts(data, numbers={2}, texts={1}, what="its operator set")
        domain = _text(parts[1])
        if domain in ("", "ai.onnx") and not any(v in OPSETS for v in parts[2]):
            wanted = f"{OPSETS.start} to {OPSETS.stop - 1}"
            raise NetworkError(f"uses an operator set that is not one of {wanted}")

    def _graph(self, data: memoryview) -> Network:
        parts = self._parts(
            data,
            numbers=set(),
            texts={2, 10},
            lists={1, 5, 11, 12, 13, 14, 16},
            what="its graph",
        )
        if len(parts[1]) > MAX_NODES or len(parts[5]) > MAX_NODES:
            raise NetworkError(f"has more than {MAX_NODES} operators or tensors")
        inputs = dict(map(self._value, map(_bytes, parts[11])))
        outputs = dict(map(self._value, map(_bytes, parts[12])))
        if len(inputs) != len(parts[11]) or len(outputs) != len(parts[12]):
            raise NetworkError("names an input or output twice")
        # What is known before anything is heard: constants, and sizes.
        known = {self._tensor(_bytes(part)) for part in parts[5]} - inputs.keys()
        made = known | inputs.keys()
        for node in parts[1]:
            self._node(_bytes(node), known, made)
        return Network(inputs, outputs)

    def _node(self, data: memoryview, known: set[str], made: set[str]) -> None:
        """Check one operator, and note what it makes in ``made``, and in ``known`` if it is so."""
        parts = self._parts(
            data, numbers=set(), texts={3, 4, 6, 7, 8}, lists={1, 2, 5, 9}, what="an operator"
        )
        kind, domain = _text(parts[4]), _text(parts[7])
        if parts[8] or kind not in OPERATORS.get(domain, ()):
            name = f"{domain}.{kind}" if domain else kind
            raise NetworkError(
                f"uses the operator {name!r}, which an avatar may not (docs/bundle.md)"
            )
        for attribute in parts[5]:
            self._attribute(_bytes(attribute))
        inputs = [_text([part]) for part in parts[1]]
        outputs = [_text([part]) for part in parts[2] if len(_bytes(part))]
        for place in SIZES.get(kind, ()):
            if place < len(inputs) and inputs[place] and inputs[place] not in known:
                raise NetworkError(
                    f"has a result of operator {kind!r} whose size depends on what is heard"
                )
        if not made.isdisjoint(outputs) or len(set(outputs)) != len(outputs):
            raise NetworkError("makes the same value twice")
        made.update(outputs)
        if kind in ("Shape", "Size") or all(name in known for name in inputs if name):
            known.update(outputs)

    def _attribute(self, data: memoryview) -> None:
        parts = self._parts(
            data,
            numbers={3, 20},
            texts={1, 4, 5, 13},
            lists={7, 8, 9, 10},
            fixed={2},
            what="an operator's attribute",
        )
        for part in (*parts[5], *parts[10]):
            self._tensor(_bytes(part))

    def _tensor(self, data: memoryview) -> str:
        """Check that a tensor is in the file, and as long as it says; its name."""
        parts = self._parts(
            data,
            numbers={2, 14},
            texts={8, 9, 12},
            lists={1, 4, 5, 6, 7, 10, 11, 13, 16},
            what="a tensor",
        )
        if parts[13] or any(parts[14]):
            raise NetworkError("refers to data outside itself")
        bits = _BITS.get(_int(parts[2]))
        if bits is None or parts[6]:
            raise NetworkError("holds a tensor of a kind that an avatar does not need")
        dims = self._numbers(parts[1])
        if any(side > 1 << 31 for side in dims) or len(dims) > 16:
            raise NetworkError("holds a tensor of an impossible shape")
        count = math.prod(dims)
        if parts[9]:
            there = len(_bytes(parts[9][0]))
            whole = there == (count * bits + 7) // 8
        else:
            typed = {number: parts[number] for number in (4, 5, 7, 10, 11) if parts[number]}
            there = sum(_length(number, part) for number, ps in typed.items() for part in ps)
            whole = len(typed) <= 1 and there == (-(-count // 2) if bits == 4 else count)
        if not whole:
            raise NetworkError("holds a tensor that is not as long as it says")
        return _text(parts[8])

    def _value(self, data: memoryview) -> tuple[str, Value]:
        parts = self._parts(data, numbers=set(), texts={1, 2, 3}, lists={4}, what="an input")
        name = _text(parts[1])
        if not parts[2]:
            raise NetworkError(f"does not say what {name!r} is")
        kind = self._parts(
            _bytes(parts[2][0]), numbers=set(), texts={1, 6}, what=f"the type of {name!r}"
        )
        if not kind[1]:
            raise NetworkError(f"takes or gives {name!r}, which is not a tensor")
        tensor = self._parts(_bytes(kind[1][0]), numbers={1}, texts={2}, what=f"{name!r}")
        dtype = f"tensor({_TYPES.get(_int(tensor[1]), 'another type')})"
        if not tensor[2]:
            raise NetworkError(f"does not say the shape of {name!r}")
        shape = self._parts(
            _bytes(tensor[2][0]), numbers=set(), texts=set(), lists={1}, what="a shape"
        )
        return name, Value(dtype, tuple(self._side(_bytes(side)) for side in shape[1]))

    def _side(self, data: memoryview) -> int | None:
        parts = self._parts(data, numbers={1}, texts={2, 3}, what="a shape")
        return _int(parts[1]) if parts[1] else None

    def _numbers(self, parts: Iterable[int | memoryview]) -> list[int]:
        """A repeated number, packed or not."""
        numbers: list[int] = []
        for part in parts:
            numbers += [part] if isinstance(part, int) else varints(part, self._budget)
        return numbers

    def _parts(
        self,
        data: memoryview,
        *,
        numbers: set[int],
        texts: set[int],
        what: str,
        lists: Iterable[int] = (),
        fixed: Iterable[int] = (),
    ) -> _Parts:
        """A message's fields by number.

        Libraries join what is there twice and skip what they do not know: both are refused.

        Args:
            numbers, texts, fixed: fields that may be there once: varints; bytes, texts and
                messages; four or eight bytes.
            lists: fields that may be there any number of times.
        """
        listed = set(lists)
        parts: _Parts = {number: [] for number in (*numbers, *texts, *fixed, *listed)}
        for number, kind, value in fields(data, self._budget):
            if number not in parts:
                raise NetworkError(f"has something in {what} that an avatar does not need")
            if number not in listed:
                if parts[number]:
                    raise NetworkError(f"says something twice in {what}")
                if (kind == VARINT) != (number in numbers) or (kind == LENGTH) != (number in texts):
                    raise NetworkError(f"has a damaged part in {what}")
            parts[number].append(value)
        return parts


def _length(number: int, part: int | memoryview) -> int:
    """Elements in one piece of a tensor's typed data: floats, doubles, or varints."""
    if isinstance(part, int):
        return 1
    if number in (4, 10):
        return len(part) // (4 if number == 4 else 8)
    return int(np.count_nonzero(np.frombuffer(part, np.uint8) < 0x80))


def _bytes(part: int | memoryview) -> memoryview:
    if isinstance(part, int):
        raise NetworkError("has a number where a part should be")
    return part


def _int(parts: list[int | memoryview]) -> int:
    return parts[0] if parts and isinstance(parts[0], int) else 0


def _text(parts: list[int | memoryview]) -> str:
    if not parts:
        return ""
    data = bytes(_bytes(parts[0])[: MAX_TEXT_BYTES + 1])
    try:
        if len(data) > MAX_TEXT_BYTES:
            raise ValueError
        return data.decode("utf-8")
    except ValueError:
        raise NetworkError("has a name that is too long or no text") from None
