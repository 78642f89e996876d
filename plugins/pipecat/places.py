"""Places: frames keep their place in the voice.

A bot's TTS runs far ahead of what is heard.  A frame that comes after two seconds of voice must
leave after these two seconds were heard, as it would leave an output transport: what a bot has
said, for example, goes into its memory only as far as it was heard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from daetalker.streamer.media import FPS, VOICE_PER_FRAME

__all__ = ["Places"]

_F = TypeVar("_F")
_CLOSE_SAMPLES = 2 * VOICE_PER_FRAME
"""A resampler keeps some milliseconds, and a frame's voice comes as a whole: near enough."""

_MOMENTS_ON_THE_WAY = 2 * FPS
"""An outlet keeps two seconds of voice: after so many moments nothing older can follow."""


class Places(Generic[_F]):
    """Counts voice fed and voice heard, in samples at 48 kHz, and holds frames in between."""

    def __init__(self) -> None:
        self._fed = 0
        self._heard = 0
        # Where utterances end, and whether the session has given the end out.
        self._ends: deque[tuple[int, Callable[[], bool]]] = deque()
        # Bounded by the voice that is ahead: whoever feeds waits for it.
        self._held: deque[tuple[int, _F]] = deque()
        self._rests = 0

    @property
    def quiet(self) -> bool:
        """True if nothing fed is unheard and nothing is held."""
        return not self._held and not self._ends and self._heard + _CLOSE_SAMPLES >= self._fed

    @property
    def fed(self) -> int:
        """The place that was reached: samples handed to the session since the beginning."""
        return self._fed

    def is_unheard(self, place: int) -> bool:
        """Whether voice before this place is still to be heard."""
        return place > self._heard

    def feed(self, samples: int) -> None:
        """So much voice was handed to the session."""
        self._fed += samples

    def end(self, is_done: Callable[[], bool]) -> None:
        """The utterance that was fed ends here."""
        self._ends.append((self._fed, is_done))

    def hold(self, frame: _F) -> None:
        """Keep a frame until what was fed before it is heard."""
        self._held.append((self._fed, frame))

    def hear(self, last: bool) -> list[_F]:
        """A frame's time of voice was heard, its utterance's last one or not: what may go."""
        self._rests = 0
        self._heard = min(self._heard + VOICE_PER_FRAME, self._fed)
        if last and self._ends:
            self._heard = self._ends.popleft()[0]
        return self._release()

    def rest(self) -> list[_F]:
        """A moment without voice was seen: what may go."""
        # Where a busy reader lost the last moment of an utterance, nothing else would tell.
        self._rests = self._rests + 1 if self._ends and self._ends[0][1]() else 0
        if self._rests > _MOMENTS_ON_THE_WAY:
            self._heard, self._rests = self._ends.popleft()[0], 0
        return self._release()

    def clear(self) -> list[_F]:
        """Forget the voice, heard or not; the frames that were held."""
        held = [frame for _, frame in self._held]
        self._held.clear()
        self._ends.clear()
        self._rests = 0
        self._heard = self._fed
        return held

    def _release(self) -> list[_F]:
        released = []
        while self._held and self._may_go(self._held[0][0]):
            released.append(self._held.popleft()[1])
        return released

    def _may_go(self, place: int) -> bool:
        if self._ends and place >= self._ends[0][0]:
            return False  # after an end: not before the last sample
        return place <= self._heard + _CLOSE_SAMPLES
