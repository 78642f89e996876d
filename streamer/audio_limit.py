"""How many packets of sound a client may send; nothing here knows what sound is."""

from __future__ import annotations

from collections.abc import Callable

from daetalker.streamer.rate_limit import RateLimit

__all__ = ["MAX_PACKETS_PER_S", "AudioLimit"]

MAX_PACKETS_PER_S = 200.0
"""A browser sends 50; Opus packets of 5 ms would be 200."""

BURST_PACKETS = 400.0
"""After a network's hiccup everything comes at once."""

PATIENCE_PACKETS = 2000
"""Packets beyond that which are left undecoded until the client is sent away."""


class AudioLimit:
    """Counts one client's packets.  For one thread.

    Attributes:
        refused: packets that were not to be decoded.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._pace = RateLimit(MAX_PACKETS_PER_S, now, BURST_PACKETS)
        self.refused = 0

    def take(self) -> bool:
        """True if the packet that has come may be decoded."""
        if self._pace.take():
            return True
        self.refused += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether so much was refused that it is no accident."""
        return self.refused >= PATIENCE_PACKETS
