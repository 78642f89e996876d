"""Pacer: when each frame and each voice chunk is due.  The only stage that waits.

Targets are absolute (start + position + delay), so errors never add up.
"""

from __future__ import annotations

from daetalker.streamer.clock import Clock
from daetalker.streamer.media import CHUNK_SAMPLES, FPS, FRAME_S, VOICE_RATE

__all__ = ["Pacer"]


class Pacer:
    """Holds a session's start and delay, in seconds of the injected clock."""

    def __init__(self, clock: Clock, delay_s: float) -> None:
        """A pacer whose sample 0 was heard now.

        Args:
            delay_s: from hearing a sample to giving it out, voice and picture alike.
        """
        self._clock = clock
        self._start_s = clock.now()
        self.delay_s = delay_s

    def elapsed_s(self) -> float:
        """Seconds since sample 0."""
        return self._clock.now() - self._start_s

    def frame_due_s(self, index: int) -> float:
        """Clock time at which frame ``index`` is due."""
        return self._start_s + index / FPS + self.delay_s

    def voice_due_s(self, start: int) -> float:
        """Clock time at which the voice chunk that begins at 48 kHz sample ``start`` is due."""
        return self._start_s + start / VOICE_RATE + self.delay_s

    def late_s(self, index: int) -> float:
        """Seconds by which frame ``index`` is overdue; negative before it is due."""
        return self._clock.now() - self.frame_due_s(index)

    def is_stale(self, index: int, after_s: float = 0.0) -> bool:
        """True if frame ``index`` is overdue by more than a frame: a newer one should be shown.

        Args:
            after_s: ask for so many seconds from now.
        """
        # The margin keeps rounding of the clock from deciding.
        return self.late_s(index) + after_s > FRAME_S + 1e-6

    async def until_frame(self, index: int) -> None:
        """Wait until the frame is due; return at once if it is overdue."""
        await self._clock.sleep_until(self.frame_due_s(index))

    async def until_voice(self, start: int) -> None:
        """Wait until the voice chunk is due; return at once if it is overdue."""
        await self._clock.sleep_until(self.voice_due_s(start))

    async def until_tick(self, tick: int) -> None:
        """Wait until 20 ms tick ``tick`` after the start."""
        await self._clock.sleep_until(self._start_s + tick * CHUNK_SAMPLES / VOICE_RATE)
