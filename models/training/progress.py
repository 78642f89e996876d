"""A progress line on stderr now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], label: str, total: int, every_s: float = 5.0) -> Iterator[T]:
    """Yield ``items``; now and then, and at the end, a line on stderr with the time left."""
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= every_s and done < total:
            last = now
            left = (now - start) / done * (total - done)
            print(f"evaluate: {label}: {done} of {total}, {left:.0f} s left", file=sys.stderr)
    spent = time.monotonic() - start
    print(f"evaluate: {label}: {done} done in {spent:.1f} s", file=sys.stderr)
