"""Resending: how much of what a client missed is sent again.

aiortc sends every lost packet again each time a client names it, and clients name all that they
still miss whenever they miss one more.  On a full line that feeds itself: at 300 kbit/s more than
4 Mbit/s of repetitions were measured, and no picture came through.  A new complete picture at
every wish does the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from aiortc import RTCRtpSender

from daetalker.streamer.rate_limit import RateLimit

__all__ = ["Resending", "limit_resending"]

AGAIN_S = 0.15
"""A packet that was sent again is on its way for so long; asking meanwhile does not help."""

TIMES = 4
PACKETS_PER_S = 20.0
BURST = 60.0
KEYFRAME_S = 0.7
_REMEMBERED = 1024


class Resending:
    """Pure but for the clock ``now``; one sender's."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._limit = RateLimit(PACKETS_PER_S, now, BURST)
        self._sent: OrderedDict[int, tuple[float, int]] = OrderedDict()
        self._picture_s = -KEYFRAME_S

    def packet(self, sequence: int) -> bool:
        """Whether the packet may be sent again now."""
        now_s = self._now()
        last_s, times = self._sent.get(sequence, (now_s - AGAIN_S, 0))
        if now_s - last_s < AGAIN_S or times >= TIMES or not self._limit.take():
            return False
        self._sent[sequence] = (now_s, times + 1)
        self._sent.move_to_end(sequence)
        if len(self._sent) > _REMEMBERED:  # before the numbers come round again
            self._sent.popitem(last=False)
        return True

    def picture(self) -> float | None:
        """Seconds until a complete picture may be made out of its turn; None if one is coming."""
        now_s = self._now()
        if self._picture_s > now_s:
            return None
        wait_s = max(0.0, self._picture_s + KEYFRAME_S - now_s)
        self._picture_s = now_s + wait_s
        return wait_s


def limit_resending(sender: RTCRtpSender, resending: Resending) -> bool:
    """Ask ``resending`` first; False if this version of the library has other members."""
    members = ("_retransmit", "_send_keyframe")
    if not all(hasattr(sender, name) for name in members):
        return False
    retransmit, keyframe = (getattr(sender, name) for name in members)

    async def again(sequence: int) -> None:
        if resending.packet(sequence):
            await retransmit(sequence)

    def whole() -> None:
        wait_s = resending.picture()
        if wait_s is not None:
            asyncio.get_running_loop().call_later(wait_s, keyframe)

    for name, instead in zip(members, (again, whole), strict=True):
        setattr(sender, name, instead)
    return True
