"""Idle life: head sway and blinks as functions of the frame number alone."""

from __future__ import annotations

import math

__all__ = ["SWAY_STEP_DEG", "eye_closure", "sway"]

# (degrees, hertz, phase) of each sine: frequencies without a common period worth noticing, and
# sums of +-1.5, +-1.0 and +-0.6 degrees of yaw, pitch and roll.
_SINES = (
    ((0.85, 0.0731, 0.0), (0.45, 0.1297, 1.9), (0.20, 0.2310, 4.2)),
    ((0.55, 0.0893, 2.6), (0.30, 0.1571, 0.7), (0.15, 0.2673, 5.1)),
    ((0.35, 0.0617, 4.4), (0.17, 0.1109, 3.1), (0.08, 0.2039, 1.2)),
)

SWAY_STEP_DEG = 0.057
"""Longest step of `sway` in a frame: the norm of each axis' sum of ``2 pi Hz size / 25``."""

# One blink begins in each slot of four seconds, somewhere in a stretch of two: two blinks are
# 2 to 6 seconds apart.
_SLOT_FRAMES = 100
_FIRST_FRAME = 25
_SPREAD_FRAMES = 51
_BLINK = (0.35, 0.85, 1.0, 0.9, 0.6, 0.3, 0.1)


def sway(frame: int, fps: int = 25) -> tuple[float, float, float]:
    """Slow drift of an idle head: yaw, pitch, roll in degrees."""
    time_s = frame / fps
    yaw, pitch, roll = (
        sum(size * math.sin(2.0 * math.pi * hertz * time_s + phase) for size, hertz, phase in axis)
        for axis in _SINES
    )
    return yaw, pitch, roll


def eye_closure(frame: int) -> float:
    """How far the eyes are shut at a frame, 0 open to 1; shuts faster than it opens."""
    slot, place = divmod(frame, _SLOT_FRAMES)
    begin = _FIRST_FRAME + _scramble(slot) % _SPREAD_FRAMES
    return _BLINK[place - begin] if 0 <= place - begin < len(_BLINK) else 0.0


def _scramble(number: int) -> int:
    """A 64-bit integer that looks random; the finaliser of SplitMix64 (Steele et al. 2014)."""
    mask = (1 << 64) - 1
    z = (number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)
