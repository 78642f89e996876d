"""Windower: cuts a stream of speech into the overlapping windows the networks see.

Window k emits frames [k hop, (k + 1) hop) and covers the ``window_frames`` frames that end
``lookahead`` frames after them, with silence before the first sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import SAMPLES_PER_FRAME
from daetalker.streamer.profile import Profile

__all__ = ["Window", "Windower"]


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of speech.

    Attributes:
        index: k, from 0.
        first_frame: first frame it emits.
        samples: ``[640 * window_frames]`` float32 at 16 kHz, in [-1, 1].
    """

    index: int
    first_frame: int
    samples: NDArray[np.float32]


class Windower:
    """Pure: samples in, windows out.  A window leaves with the sample that completes it."""

    def __init__(self, profile: Profile, window_frames: int = 50) -> None:
        self._profile = profile
        self._window_samples = window_frames * SAMPLES_PER_FRAME
        self._hop_samples = profile.hop_frames * SAMPLES_PER_FRAME
        lookahead_samples = profile.lookahead_frames * SAMPLES_PER_FRAME
        # The buffer's last sample is the newest heard; it starts as the silence before sample 0
        # that window 0 sees.
        history = self._window_samples - self._hop_samples - lookahead_samples
        if history < 0:
            raise ValueError("windower: hop and look-ahead do not fit into the window")
        self._buffer = np.zeros(history, np.float32)
        self._heard = 0
        self._index = 0

    @property
    def next_frame(self) -> int:
        """First frame of the window that comes next."""
        return self._index * self._profile.hop_frames

    def push(self, samples: NDArray[np.float32]) -> list[Window]:
        """Hear ``[N]`` samples, N >= 0; returns the windows they complete."""
        self._heard += samples.size
        buffer = np.concatenate([self._buffer, samples.astype(np.float32)])
        windows: list[Window] = []
        while buffer.size >= self._window_samples:
            # A copy, so that `silence` cannot reach windows already given away.
            cut = buffer[: self._window_samples].copy()
            windows.append(Window(self._index, self.next_frame, cut))
            self._index += 1
            buffer = buffer[self._hop_samples :]
        self._buffer = buffer
        return windows

    def finish(self) -> list[Window]:
        """Follow with silence until every started frame is emitted; returns those windows."""
        frames = -(-self._heard // SAMPLES_PER_FRAME)
        windows: list[Window] = []
        while self.next_frame < frames:
            missing = self._window_samples - self._buffer.size
            windows += self.push(np.zeros(missing, np.float32))
        return windows

    def silence(self) -> None:
        """Turn everything heard so far into silence; positions stay."""
        self._buffer = np.zeros_like(self._buffer)
