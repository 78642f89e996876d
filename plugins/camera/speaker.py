"""Speaker: the voice's way to the device, and the book of when what is heard."""

from __future__ import annotations

import time

import numpy as np

from daetalker.plugins.camera.drift import DriftController
from daetalker.plugins.camera.heard_line import HeardLine
from daetalker.plugins.camera.programme import Piece
from daetalker.plugins.camera.resample import SlowResampler
from daetalker.plugins.camera.shelf import Shelf
from daetalker.plugins.camera.voice_out import VoiceOut
from daetalker.streamer.media import VOICE_PER_FRAME, VOICE_RATE

__all__ = ["Speaker"]

_TRIES = 3
_PROMPT_S = 0.001
_LEAST_SAMPLES = VOICE_PER_FRAME // 2


class Speaker:
    """Writes pieces to a device and notes when they are heard.  For the voice's thread."""

    def __init__(self, voice: VoiceOut, line: HeardLine, shelf: Shelf) -> None:
        self._voice = voice
        self._line = line
        self._shelf = shelf
        self._drift = DriftController()
        self._resampler = SlowResampler()
        self._position = 0

    @property
    def correction(self) -> float:
        return self._drift.correction

    def next_heard_s(self) -> float | None:
        """The time when what is played next is heard; None: not known yet."""
        for _ in range(_TRIES):
            before_s = time.monotonic()
            delay_s = self._voice.delay_s()
            if delay_s is None:
                return None
            heard_s = before_s + delay_s + self._resampler.held / VOICE_RATE
            # Another thread that ran in between makes the time wrong by its turn.
            if time.monotonic() - before_s < _PROMPT_S:
                break
        return heard_s

    def prime(self, seconds: float) -> None:
        """Give the device a little silence, and the time to play it."""
        self._voice.write(np.zeros(round(seconds * VOICE_RATE), np.int16))
        time.sleep(seconds)

    def play(self, piece: Piece, error_s: float) -> None:
        """Write a piece; its picture goes on the shelf, for the time when it is heard.

        Where the piece is but a stopgap of less than half a frame, the picture before it stays.

        Args:
            error_s: by how much later than wanted it is heard, for the controller.
        """
        heard_s = self.next_heard_s()
        position_s = self._position / VOICE_RATE
        if heard_s is not None:
            self._line.note(position_s, heard_s)
        if piece.pcm.size >= _LEAST_SAMPLES:
            self._shelf.put(position_s, piece.rgb)
        correction = self._drift.update(error_s, piece.pcm.size / VOICE_RATE)
        self._voice.write(self._resampler.push(piece.pcm, correction))
        self._position += piece.pcm.size

    def change(self, voice: VoiceOut) -> None:
        """Go over to another device."""
        self._voice.close()
        self._voice = voice
        self._drift = DriftController()

    def close(self) -> None:
        self._voice.close()
