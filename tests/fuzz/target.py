"""What is fuzzed: a strategy that makes cases, and a property that must hold for each."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = ["Target", "as_json", "damaged", "havoc", "json_values", "mistaken", "texts"]


@dataclass(frozen=True)
class Target:
    """One thing that reads what strangers send.

    Attributes:
        cases: makes what it reads.
        holds: raises, whatever it is, if the property does not hold.
        share: of all cases, relative to the other targets; slow ones have less.
        seeds: where bytes can be read as they are, good examples for coverage-guided mutation.
        decode: bytes to what ``holds`` takes; None where only ``cases`` can make it.
    """

    name: str
    cases: SearchStrategy[Any]
    holds: Callable[[Any], object]
    share: float = 1.0
    seeds: tuple[bytes, ...] = ()
    decode: Callable[[bytes], Any] | None = None


texts: SearchStrategy[str] = st.text(max_size=40) | st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\r\n",
        "\ud800",
        "\u202e",
        "../..",
        "a" * 70_000,
        "1e999",
        "-0",
        "NaN",
        "🙂" * 99,
    ]
)

json_values: SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from([0, 1, -1, 2**63, 10**400, 1e308, float("nan")])
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=6,
)


@st.composite
def mistaken(draw: DrawFn, good: list[dict[str, Any]]) -> dict[str, Any]:
    """One of the good tables, with up to three mistakes in it."""
    table = dict(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(0, 3))):
        match draw(st.integers(0, 3)):
            case 0 if table:
                table.pop(draw(st.sampled_from(sorted(table))))
            case 1:
                table[draw(texts)] = draw(json_values)
            case 2:
                other = draw(st.sampled_from(good))
                table |= {k: other[k] for k in list(other)[: draw(st.integers(0, 4))]}
            case _ if table:
                table[draw(st.sampled_from(sorted(table)))] = draw(json_values)
    return table


@st.composite
def damaged(draw: DrawFn, good: list[bytes]) -> bytes:
    """One of the good files, cut, spliced and flipped in a few places."""
    data = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 5)):
            case 0:
                data[at : at + draw(st.integers(1, 16))] = b""
            case 1:
                data[at:at] = draw(st.binary(max_size=16))
            case 2 if at < len(data):
                data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, data[at] ^ 1]))
            case 3:
                data[at:] = b""
            case 4:
                size = draw(st.integers(1, 64))
                data[at:at] = data[at : at + size] * draw(st.integers(1, 4))
            case _:
                other = draw(st.sampled_from(good))
                start = draw(st.integers(0, len(other)))
                data[at : at + 32] = other[start : start + draw(st.integers(0, 64))]
    return bytes(data)


def havoc(seeds: tuple[bytes, ...], rng: random.Random) -> bytes:
    """One of the seeds with a few random changes: poorer cases than `damaged` makes, but cheap."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        match rng.randint(0, 3):
            case 0:
                data[at : at + rng.randint(1, 12)] = b""
            case 1:
                data[at:at] = rng.randbytes(rng.randint(1, 6))
            case 2 if at < len(data):
                data[at] ^= 1 << rng.randint(0, 7)
            case _:
                other = rng.choice(seeds)
                start = rng.randint(0, len(other))
                data[at:at] = other[start : start + rng.randint(0, 40)]
    return bytes(data)


def as_json(value: Any) -> str:
    """JSON text as Python writes it, which knows NaN and lone surrogates."""
    return json.dumps(value)
