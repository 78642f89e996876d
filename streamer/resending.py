"""Resending: how much of what a client missed is sent again.

aiortc sends every lost packet again each time a client names it, and clients name all that they
still miss whenever they miss one more.  On a full line that feeds itself: at 300 kbit/s more than
4 Mbit/s of repetitions were measured, and no picture came through.  A new complete picture at
every wish does the same.

What is not sent again any more would keep a browser waiting for three seconds before it wishes for
a complete picture; so it gets one unasked.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from aiortc import RTCRtpSender

from daetalker.streamer.rate_limit import RateLimit

__all__ = ["Answer", "Resending", "limit_resending"]

AGAIN_S = 0.08
"""A packet that was sent again is on its way for so long; asking meanwhile does not help.  Browsers
ask every 100 ms, and show a frozen picture if the second time is not heard either."""

TIMES = 4
PACKETS_PER_S = 20.0
BURST = 60.0
KEYFRAME_S = 0.7
_REMEMBERED = 1024


class Answer(Enum):
    """To the wish for one packet."""

    AGAIN = auto()
    ON_ITS_WAY = auto()
    GIVEN_UP = auto()
    """Only a complete picture helps now, and none was made since the wish was first uttered."""


@dataclass
class _Wish:
    first_s: float
    sent_s: float = -math.inf
    times: int = 0


class Resending:
    """Pure but for the clock ``now``; one sender's."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._limit = RateLimit(PACKETS_PER_S, now, BURST)
        self._wishes: OrderedDict[int, _Wish] = OrderedDict()
        self._picture_s = -KEYFRAME_S

    def packet(self, sequence: int) -> Answer:
        """What to do about a packet that the client names."""
        now_s = self._now()
        wish = self._wishes.get(sequence)
        if wish is None:
            wish = self._wishes[sequence] = _Wish(now_s)
            if len(self._wishes) > _REMEMBERED:  # before the numbers come round again
                self._wishes.popitem(last=False)
        if now_s - wish.sent_s < AGAIN_S:
            return Answer.ON_ITS_WAY
        if wish.times >= TIMES or not self._limit.take():
            return Answer.GIVEN_UP if wish.first_s > self._picture_s else Answer.ON_ITS_WAY
        wish.sent_s, wish.times = now_s, wish.times + 1
        self._wishes.move_to_end(sequence)
        return Answer.AGAIN

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
        match resending.packet(sequence):
            case Answer.AGAIN:
                await retransmit(sequence)
            case Answer.GIVEN_UP:
                whole()

    def whole() -> None:
        wait_s = resending.picture()
        if wait_s is not None:
            asyncio.get_running_loop().call_later(wait_s, keyframe)

    for name, instead in zip(members, (again, whole), strict=True):
        setattr(sender, name, instead)
    return True
