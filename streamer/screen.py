"""Screen: what is given out, to all who read, marked, and the count of it."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.clock import Clock
from daetalker.streamer.mark import UNMARKED, Mark
from daetalker.streamer.media import FRAME_S, VideoFrame, VoiceChunk
from daetalker.streamer.outlet import Outlet

__all__ = ["Screen"]

_FPS_SPAN_S = 2.0


class Screen:
    """The readers of a session.

    Attributes:
        shown: the frame that every reader holds now.
        frames: frames given out so far.
        late: those given out more than half a frame after they were due.
    """

    def __init__(self, clock: Clock, mark: Mark = UNMARKED) -> None:
        """No reader yet; ``mark`` is drawn on every picture that is given out."""
        self.shown: VideoFrame | None = None
        self.frames = 0
        self.late = 0
        self._clock = clock
        self._mark = mark
        self._unmarked: NDArray[np.uint8] | None = None
        self._shown_at_s: deque[float] = deque()
        # Never changed, but replaced: readers come and go in threads of their own while the
        # session goes through them.
        self._outlets: tuple[Outlet, ...] = ()
        self._changing = threading.Lock()
        self._closed = False

    def outlet(self, frames: int) -> Outlet:
        """A new reader, who keeps so many frames; an ended one once the screen is closed."""
        outlet = Outlet(frames, self._leave)
        with self._changing:
            self._outlets = (*self._outlets, outlet)
        if self._closed:
            outlet.close()
        return outlet

    def show(self, frame: VideoFrame, late_s: float) -> None:
        """Give a frame out, ``late_s`` after it was due."""
        if late_s > FRAME_S / 2.0:
            self.late += 1
        frame = self.shown = self._marked(frame)
        self.frames += 1
        now_s = self._clock.now()
        self._shown_at_s.append(now_s)
        while self._shown_at_s[0] <= now_s - _FPS_SPAN_S:
            self._shown_at_s.popleft()
        for outlet in self._outlets:
            outlet.offer_video(frame)

    def _marked(self, frame: VideoFrame) -> VideoFrame:
        """With the mark.  A picture that is held is drawn on once, and stays one picture."""
        if self.shown is not None and frame.rgb is self._unmarked:
            return replace(frame, rgb=self.shown.rgb)
        self._unmarked = frame.rgb
        return replace(frame, rgb=self._mark.on(frame.rgb))

    def speak(self, chunk: VoiceChunk) -> None:
        """Give 20 ms of voice out."""
        for outlet in self._outlets:
            outlet.offer_voice(chunk)

    def fps(self, since_s: float) -> float:
        """Frames a second over the last 2 s, or over ``since_s`` seconds if those are fewer.

        Any thread may ask.
        """
        now_s = self._clock.now()
        # A copy, made in one step: frames are shown meanwhile.
        shown_at_s = list(self._shown_at_s)
        recent = sum(1 for shown_s in shown_at_s if shown_s > now_s - _FPS_SPAN_S)
        return recent / min(_FPS_SPAN_S, max(since_s, FRAME_S))

    def close(self) -> None:
        """End it for all readers."""
        self._closed = True
        for outlet in self._outlets:
            outlet.close()

    def _leave(self, outlet: Outlet) -> None:
        with self._changing:
            self._outlets = tuple(other for other in self._outlets if other is not outlet)
