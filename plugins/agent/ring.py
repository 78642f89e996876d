"""Ring: what a client received and nobody has read yet."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

__all__ = ["Ring"]

_T = TypeVar("_T")


class Ring(Generic[_T]):
    """A queue that never blocks its writer.  Full: the oldest item goes."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[_T] = deque(maxlen=capacity)
        self._changed = asyncio.Event()
        self._ended = False

    def put(self, item: _T) -> None:
        """Append an item."""
        self._items.append(item)
        self._changed.set()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._changed.set()

    async def take(self) -> _T | None:
        """The oldest item; None when there is no more."""
        while not self._items:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()
