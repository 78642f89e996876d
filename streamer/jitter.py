"""JitterBuffer: RTP packets as the network brings them in, packets in order and losses out.

It never holds back a packet that is next in line: whoever hears them has a reserve of time anyway
(`intake.py`), and a fixed reserve here would be paid by everybody, on good networks too.  Only
when one is missing are the ones behind it held, for as long as experience says it may yet come.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

__all__ = ["JitterBuffer", "Loss", "Packet"]

_SHORTEST_WAIT_S = 0.015
_LONGEST_WAIT_S = 0.08
_CALM_DOWN = 0.995  # a packet; half the patience is forgotten in about three seconds
_HELD = 32
_RESTART = 1_000


@dataclass(frozen=True)
class Packet:
    """One packet's payload.

    Attributes:
        position: its RTP timestamp, unwrapped, in samples of the stream's clock.
        held_s: seconds it waited for one before it.
    """

    position: int
    data: bytes
    held_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Loss:
    """``packets`` in a row that will not come any more."""

    packets: int


class JitterBuffer:
    """Pure; times are seconds of any one clock.

    Attributes:
        lost: packets given up.
        late: packets that came after they were given up, or twice.
    """

    def __init__(self) -> None:
        self.lost = 0
        self.late = 0
        self._next: int | None = None
        self._position = 0
        self._held: dict[int, tuple[float, int, bytes]] = {}
        self._given_up: deque[tuple[int, float]] = deque(maxlen=_HELD)
        self._wait_s = _SHORTEST_WAIT_S

    def push(self, sequence: int, timestamp: int, data: bytes, now_s: float) -> list[Packet | Loss]:
        """Take a packet.

        Args:
            sequence: its 16-bit sequence number.
            timestamp: its 32-bit timestamp.

        Returns:
            What can be heard now, in order; often just this packet.
        """
        if self._next is None:
            self._next = sequence
            self._position = timestamp
        self._wait_s = max(_SHORTEST_WAIT_S, self._wait_s * _CALM_DOWN)
        place = self._next + _nearest(sequence - self._next, 16)
        if abs(place - self._next) > _RESTART:  # another stream: what is held belongs to no one
            self._held.clear()
            self._next = place
        if place < self._next or place in self._held:
            self._came_late(place, now_s)
            return []
        self._held[place] = (now_s, timestamp, data)
        return self._release(now_s)

    def _release(self, now_s: float) -> list[Packet | Loss]:
        ready: list[Packet | Loss] = []
        assert self._next is not None
        while self._held:
            if self._next not in self._held:
                first = min(self._held)
                waited_s = now_s - min(since for since, _, _ in self._held.values())
                if waited_s < self._wait_s and len(self._held) < _HELD:
                    break
                ready.append(Loss(first - self._next))
                self.lost += first - self._next
                missing = range(max(self._next, first - _HELD), first)
                self._given_up.extend((place, now_s - waited_s) for place in missing)
                self._next = first
            since_s, timestamp, data = self._held.pop(self._next)
            self._next += 1
            self._position += _nearest(timestamp - self._position, 32)
            ready.append(Packet(self._position, data, now_s - since_s))
        return ready

    def _came_late(self, place: int, now_s: float) -> None:
        """Be more patient from now on, if patience would have saved this packet."""
        self.late += 1
        for given_up, since_s in self._given_up:
            if given_up == place:
                needed_s = (now_s - since_s) * 1.1
                self._wait_s = min(_LONGEST_WAIT_S, max(self._wait_s, needed_s))


def _nearest(difference: int, bits: int) -> int:
    """A difference of counters that wrap at 2**bits, between -2**(bits - 1) and 2**(bits - 1)."""
    half = 1 << (bits - 1)
    return (difference + half) % (1 << bits) - half
