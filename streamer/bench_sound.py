"""Finding voices in one another by their samples, where timestamps cannot be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_RATE

__all__ = [
    "Damage",
    "find_shift",
    "heard_line",
    "media_timeline",
    "spoken_positions",
    "voice_damage",
]

BLOCK_SAMPLES = VOICE_RATE // 2
SEARCH_SAMPLES = 3 * VOICE_RATE
NEAR_SAMPLES = VOICE_RATE // 5
SURE_CORRELATION = 0.8
LOUD_PEAK = 400
"""Of int16; quieter blocks are noise, which is found nowhere surely."""

_LOW_PASS = np.convolve(np.full(16, 1 / 16), np.full(16, 1 / 16))
"""Half at 1.3 kHz, nothing at 3: a codec may make another noise of an s, and it is still an s."""


def find_shift(block: NDArray[np.int16], line: NDArray[np.int16]) -> tuple[int, float]:
    """Where ``block`` lies in ``line``: start position and normalised correlation, 0 to 1."""
    if len(line) < len(block):
        return 0, 0.0
    a, b = block.astype(np.float64), line.astype(np.float64)
    length = 1 << (len(a) + len(b) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(b, length) * np.conj(np.fft.rfft(a, length)), length)
    product = product[: len(b) - len(a) + 1]
    energy = np.concatenate([[0.0], np.cumsum(b * b)])
    norms = np.sqrt((energy[len(a) :] - energy[: -len(a)]) * (a @ a))
    scores = np.where(norms > 1.0, product / np.maximum(norms, 1.0), 0.0)
    best = int(np.argmax(scores))
    return best, float(scores[best])


def media_timeline(starts: NDArray[np.int64], pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    """The voice chunks laid on the session's timeline from position 0; ``[samples]``."""
    if not len(starts):
        return np.zeros(0, np.int16)
    if starts[0] == 0 and np.all(np.diff(starts) == CHUNK_SAMPLES):
        return pcm  # as it is nearly always: an hour of voice need not be copied
    line = np.zeros(int(starts.max()) + CHUNK_SAMPLES, np.int16)
    for start, chunk in zip(starts, pcm.reshape(len(starts), CHUNK_SAMPLES), strict=True):
        line[start : start + CHUNK_SAMPLES] = chunk
    return line


def spoken_positions(spoken: NDArray[np.int16], heard: NDArray[np.int16]) -> dict[int, int]:
    """For 20 ms packets of ``spoken``: where the packet starts in ``heard``.

    Blocks of half a second are compared, first near where the block before was found; blocks that
    are not surely found (silence, lost packets) give nothing.
    """
    found: dict[int, int] = {}
    for start, at in block_positions(spoken, heard).items():
        for offset in range(0, BLOCK_SAMPLES, CHUNK_SAMPLES):
            found[(start + offset) // CHUNK_SAMPLES] = at + offset
    return found


def block_positions(spoken: NDArray[np.int16], heard: NDArray[np.int16]) -> dict[int, int]:
    """For blocks of half a second of ``spoken``, by their start: where they start in ``heard``."""
    found: dict[int, int] = {}
    shift = 0
    reaches: tuple[int, ...] = (SEARCH_SAMPLES,)
    for start in range(0, len(spoken) - BLOCK_SAMPLES + 1, BLOCK_SAMPLES):
        block = spoken[start : start + BLOCK_SAMPLES]
        if _peak(block) < LOUD_PEAK:
            continue
        for reach in reaches:
            low = max(0, start + shift - reach)
            at, score = find_shift(block, heard[low : start + shift + BLOCK_SAMPLES + reach])
            if score >= SURE_CORRELATION:
                found[start] = low + at
                shift = low + at - start
                reaches = (NEAR_SAMPLES, SEARCH_SAMPLES)
                break
    return found


def heard_line(log: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Decoded audio by position, and rows of (time, position of the packet's first sample)."""
    heard = log["heard"]
    if not len(heard):
        return np.zeros(0, np.int16), np.zeros((0, 2))
    starts, counts = heard[:, 1].astype(np.int64), heard[:, 2].astype(np.int64)
    starts = starts - starts.min()
    if np.array_equal(starts[1:], np.cumsum(counts)[:-1]):
        return log["heard_pcm"], np.column_stack([heard[:, 0], starts])
    line = np.zeros(int((starts + counts).max()), np.int16)
    at = 0
    for start, count in zip(starts, counts, strict=True):
        line[start : start + count] = log["heard_pcm"][at : at + count]
        at += count
    return line, np.column_stack([heard[:, 0], starts])


@dataclass(frozen=True)
class Damage:
    """What became of a voice on its way.

    Attributes:
        loud: 20 ms packets that were loud enough to judge.
        damaged: those of them that sound different at the other end: lost, made up, cut.
        longest_ms: longest run of damaged packets.
    """

    loud: int
    damaged: int
    longest_ms: int

    def figures(self) -> dict[str, float | int | None]:
        """``damaged_share`` of the loud packets, and ``longest_damage_ms``."""
        share = round(self.damaged / self.loud, 4) if self.loud else None
        return {"damaged_share": share, "longest_damage_ms": self.longest_ms}


def voice_damage(spoken: NDArray[np.int16], heard: NDArray[np.int16]) -> Damage:
    """Compare what was said with what came out, packet by packet.

    A packet is damaged if its samples correlate with what came out in its place by less than one
    half, below some 2 kHz.  Its place is that of its block, or of the blocks beside it, for pauses
    may be stretched; a loud block that is found nowhere is damaged as a whole.
    """
    blocks = block_positions(spoken, heard)
    if not blocks:
        return Damage(0, 0, 0)
    first, last = min(blocks), max(blocks)
    loud = damaged = run = longest = 0
    for start in range(first, last + BLOCK_SAMPLES, BLOCK_SAMPLES):
        shifts = {
            blocks[near] - near
            for near in (start, start - BLOCK_SAMPLES, start + BLOCK_SAMPLES)
            if near in blocks
        }
        for at in range(start, start + BLOCK_SAMPLES, CHUNK_SAMPLES):
            packet = np.convolve(spoken[at : at + CHUNK_SAMPLES], _LOW_PASS, "same")
            if _peak(packet) < 2 * LOUD_PEAK:
                run = 0
                continue
            loud += 1
            if max((_alike(packet, heard, at + shift) for shift in shifts), default=0.0) < 0.5:
                damaged += 1
                run += 1
                longest = max(longest, run)
            else:
                run = 0
    return Damage(loud, damaged, longest * 1000 * CHUNK_SAMPLES // VOICE_RATE)


def _alike(a: NDArray[np.float64], line: NDArray[np.int16], at: int) -> float:
    other = line[max(at, 0) : max(at + len(a), 0)]
    if len(other) < len(a):
        return 0.0
    b = np.convolve(other, _LOW_PASS, "same")
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm else 0.0


def _peak(pcm: NDArray[Any]) -> float:
    return float(np.abs(pcm.astype(np.float64)).max(initial=0))
