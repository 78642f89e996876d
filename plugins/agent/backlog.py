"""Backlog: voice that an agent has sent and the session has not taken yet.

The socket is read all the time, so that an interrupt never waits behind voice; what is read waits
here, and a sender that is too far ahead is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Backlog", "Full", "Piece"]

_BYTES = 2
_PIECE_S = 0.25
"""Longest piece handed on at once: what an interrupt finds on its way to the session."""


class Full(Exception):
    """No more voice fits."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Some voice of one utterance.

    Attributes:
        utterance: counts this backlog's utterances from 1.
        pcm: ``[N]`` int16, channels interleaved; N may be 0 at the end.
        last: True if the utterance ends with it.
    """

    utterance: int
    pcm: NDArray[np.int16]
    last: bool


class _Waiting:
    """One utterance's bytes, as they came."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.chunks: deque[bytes] = deque()
        self.size = 0
        self.ended = False


class Backlog:
    """Bytes in, in messages of any size; whole samples out, in pieces, utterance by utterance."""

    def __init__(self, rate: int, channels: int, *, max_s: float, preroll_s: float) -> None:
        """An empty backlog.

        Args:
            max_s: seconds of voice that may wait; what exceeds them is refused.
            preroll_s: an utterance is handed on once this much of it waits, or all of it: a sender
                in real time is never quite regular.
        """
        self._group = _BYTES * channels
        self._per_s = rate * self._group
        self._max_bytes = int(max_s * self._per_s)
        self._preroll_bytes = int(preroll_s * self._per_s)
        self._preroll_s = preroll_s
        self._piece_bytes = int(_PIECE_S * rate) * self._group
        self._count = 0
        self._line: deque[_Waiting] = deque()
        self._begun = 0
        self._changed = asyncio.Event()

    @property
    def seconds(self) -> float:
        """Voice that waits, in seconds."""
        return sum(utterance.size for utterance in self._line) / self._per_s

    def push(self, data: bytes) -> None:
        """Append bytes to the utterance that is being sent; the first ones begin one.

        Raises:
            Full: if they do not fit; none of them is kept.
        """
        if not data:
            return
        if sum(utterance.size for utterance in self._line) + len(data) > self._max_bytes:
            raise Full
        if not self._line or self._line[-1].ended:
            self._count += 1
            self._line.append(_Waiting(self._count))
        self._line[-1].chunks.append(data)
        self._line[-1].size += len(data)
        self._changed.set()

    def end(self) -> None:
        """The utterance that is being sent is complete; nothing happens if there is none."""
        if self._line and not self._line[-1].ended:
            self._line[-1].ended = True
            self._changed.set()

    def clear(self) -> list[int]:
        """Forget everything; the numbers of the utterances that were here, in whole or in part."""
        numbers = [utterance.number for utterance in self._line]
        self._line.clear()
        self._changed.set()
        return numbers

    async def take(self) -> Piece:
        """The next piece, at most a quarter of a second, as soon as there is one."""
        while True:
            self._changed.clear()
            piece = await self._ready()
            if piece is not None:
                return piece
            await self._changed.wait()

    async def _ready(self) -> Piece | None:
        if not self._line:
            return None
        first = self._line[0]
        if first.number != self._begun:
            await self._preroll(first)
            if not self._line or self._line[0] is not first:
                return None  # cleared meanwhile
            self._begun = first.number
        whole = min(first.size, self._piece_bytes)
        whole -= whole % self._group
        if not whole and not first.ended:
            return None
        data = _cut(first, whole)
        # A sample that never came whole is dropped with the end.
        last = first.ended and first.size < self._group
        if last:
            self._line.popleft()
        return Piece(first.number, np.frombuffer(data, "<i2").astype(np.int16, copy=False), last)

    async def _preroll(self, first: _Waiting) -> None:
        """Wait until enough of an utterance is here, but not longer than that would last."""
        try:
            async with asyncio.timeout(self._preroll_s):
                while first in self._line and not first.ended and first.size < self._preroll_bytes:
                    await self._changed.wait()
                    self._changed.clear()
        except TimeoutError:
            return


def _cut(utterance: _Waiting, size: int) -> bytes:
    """Take the first ``size`` bytes."""
    parts: list[bytes] = []
    utterance.size -= size
    while size:
        chunk = utterance.chunks.popleft()
        if len(chunk) > size:
            utterance.chunks.appendleft(chunk[size:])
            chunk = chunk[:size]
        parts.append(chunk)
        size -= len(chunk)
    return b"".join(parts)
