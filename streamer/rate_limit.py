"""A limit on how often something may happen."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["RateLimit"]


class RateLimit:
    """A token bucket: ``rate_per_s`` on average, ``burst`` at once, or else a second's worth.

    For one thread at a time.
    """

    def __init__(
        self, rate_per_s: float, now: Callable[[], float], burst: float | None = None
    ) -> None:
        self._rate_per_s = rate_per_s
        self._burst = rate_per_s if burst is None else burst
        self._now = now
        self._tokens = self._burst
        self._last = now()

    def take(self, count: float = 1.0) -> bool:
        """True if so many more are allowed now; else none is taken."""
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate_per_s)
        self._last = now
        if self._tokens < count:
            return False
        self._tokens -= count
        return True
