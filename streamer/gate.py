"""VoiceGate: how much of each frame is speech, so that a quiet room does not move the lips.

A 20 ms block counts as speech if WebRTC's detector says so, it is louder than a floor, and so was
the block before (a click is one block).  The gate then stays open for a hangover.  Its ramps lie
outside: the opening one before the onset, inside the look-ahead, so that no onset is clipped.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from daetalker.streamer.media import MODEL_RATE

__all__ = ["VoiceGate"]

_BLOCK_SAMPLES = MODEL_RATE // 50
_BLOCKS_PER_FRAME = 2
_MODE = 2
_HANGOVER_BLOCKS = 15
_RAMP_FRAMES = 3

# Levels are of one block, in dB against full scale.  Speech must stand out from the quietest block
# of the last seconds and pass a fixed floor: a high one, which keeps a room at -50 dB out, until
# the noise is known, then a low one for quiet microphones.  The estimate is capped so that a long
# held vowel is never taken for noise; blocks of digital silence tell nothing about a room.
_FIRST_FLOOR_DB = -46.0
_FLOOR_DB = -50.0
_ABOVE_NOISE_DB = 8.0
_NOISE_CAP_DB = -42.0
_NOISE_BLOCKS = 150
_KNOWN_BLOCKS = 25
_NOTHING_DB = -100.0


class VoiceGate:
    """Pure, and causal up to its look-ahead: weight f needs samples up to frame f + lookahead."""

    def __init__(self, lookahead_frames: int = 3) -> None:
        """A closed gate; ``lookahead_frames`` is the room for the opening ramp."""
        self._lookahead = lookahead_frames
        self._vad = webrtcvad.Vad(_MODE)
        self._samples = np.zeros(0, np.float32)
        self._muted = np.zeros(0, np.bool_)
        self._levels_db: deque[float] = deque(maxlen=_NOISE_BLOCKS)
        self._was_loud = False
        self._hangover = 0
        self._blocks: list[bool] = []
        # Open or shut for the frames that a weight still depends on, newest last.
        self._open: deque[bool] = deque(
            [False] * (_RAMP_FRAMES + lookahead_frames), maxlen=_RAMP_FRAMES + 1 + lookahead_frames
        )
        self._waiting = lookahead_frames

    def push(self, samples: NDArray[np.float32], muted: bool = False) -> NDArray[np.float32]:
        """Hear ``[N]`` samples at 16 kHz.

        Args:
            muted: True if these samples must count as silence and end the hangover.

        Returns:
            ``[M]`` float32 in [0, 1], the weights that became final, in frame order.
        """
        self._samples = np.concatenate([self._samples, samples.astype(np.float32)])
        self._muted = np.concatenate([self._muted, np.full(samples.size, muted)])
        weights: list[float] = []
        whole = self._samples.size - self._samples.size % _BLOCK_SAMPLES
        for start in range(0, whole, _BLOCK_SAMPLES):
            block = slice(start, start + _BLOCK_SAMPLES)
            self._blocks.append(self._decide(self._samples[block], bool(self._muted[block].any())))
            if len(self._blocks) == _BLOCKS_PER_FRAME:
                self._open.append(any(self._blocks))
                self._blocks.clear()
                if self._waiting:
                    self._waiting -= 1
                else:
                    weights.append(self._weight())
        self._samples, self._muted = self._samples[whole:], self._muted[whole:]
        return np.array(weights, np.float32)

    def silence(self) -> None:
        """Shut at once: everything heard so far, weights not yet final included, is silence."""
        self._samples = np.zeros_like(self._samples)
        self._open.extend([False] * len(self._open))
        self._blocks = [False] * len(self._blocks)
        self._was_loud, self._hangover = False, 0

    def _decide(self, block: NDArray[np.float32], muted: bool) -> bool:
        pcm = np.rint(np.clip(block, -1.0, 1.0) * 32767.0).astype(np.int16)
        spoken = self._vad.is_speech(pcm.tobytes(), MODEL_RATE)
        # The deviation, not the power: a microphone's constant offset is no sound.
        level_db = 20.0 * float(np.log10(max(float(np.std(block)), 1e-6)))
        if level_db > _NOTHING_DB and not muted:
            self._levels_db.append(level_db)
        loud = spoken and not muted and level_db > self._threshold_db()
        speech = loud and self._was_loud
        self._was_loud = loud
        if muted:
            self._hangover = 0
        elif speech:
            self._hangover = _HANGOVER_BLOCKS
        elif self._hangover:
            self._hangover -= 1
            return True
        return speech

    def _threshold_db(self) -> float:
        if len(self._levels_db) < _KNOWN_BLOCKS:
            return _FIRST_FLOOR_DB
        return max(_FLOOR_DB, min(min(self._levels_db), _NOISE_CAP_DB) + _ABOVE_NOISE_DB)

    def _weight(self) -> float:
        """Weight of the frame with ``_RAMP_FRAMES`` flags before it and the look-ahead after."""
        weight = 0.0
        for place, is_open in enumerate(self._open):
            if is_open:
                distance = place - _RAMP_FRAMES
                if distance >= 0:
                    reach = (self._lookahead + 1 - distance) / _RAMP_FRAMES
                else:
                    reach = 1.0 + distance / (_RAMP_FRAMES + 1)
                weight = max(weight, min(1.0, reach))
        return weight
