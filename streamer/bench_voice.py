"""What the bench's clients say: a speech file, or a signal made for machines without one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import VOICE_RATE

__all__ = ["synthetic_voice"]


def synthetic_voice(seconds: float = 12.0, seed: int = 7) -> NDArray[np.int16]:
    """A voice-like signal for machines without a speech file: ``[N]`` int16 mono 48 kHz.

    Harmonics of a gliding pitch under moving formants, in syllables with pauses.  Enough to drive
    every stage; no measure of lip quality.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * VOICE_RATE)) / VOICE_RATE
    pitch_hz = 125 + 25 * np.sin(2 * np.pi * 0.4 * t) + 4 * np.sin(2 * np.pi * 5.1 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / VOICE_RATE
    knots = np.arange(0, seconds + 0.25, 0.25)
    formants = [
        np.interp(t, knots, rng.uniform(low, high, len(knots)))
        for low, high in ((300, 800), (900, 2200), (2300, 3000))
    ]
    sound = np.zeros_like(t)
    for harmonic in range(1, 28):
        frequency = harmonic * pitch_hz
        gain = sum(
            np.exp(-(((frequency - f) / width) ** 2))
            for f, width in zip(formants, (90, 130, 180), strict=True)
        )
        sound += (gain + 0.02) * np.sin(harmonic * phase) / harmonic**0.3
    syllables = np.clip(np.sin(2 * np.pi * 3.7 * t) + 0.55, 0, 1) ** 0.7
    phrases = np.clip(np.minimum(t % 3.0, 2.3 - t % 3.0) * 20, 0, 1)
    sound = sound * syllables * phrases + 1e-4 * rng.standard_normal(len(t))
    loud = np.rint(sound / np.abs(sound).max() * 12000)
    voice: NDArray[np.int16] = loud.astype(np.int16)
    return voice
