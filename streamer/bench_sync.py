"""Picture against voice as one client received them.

Every frame is identified by its timestamp, every piece of voice by its samples (the client's are
found in those that the session gave out).  So both have a place on the session's media timeline,
and a time at which the client had them.

offset
    Arrival of frame f less the arrival of the voice of the same moment, media sample 1920 f.  Its
    median is a constant of the two receivers' buffers, which a browser takes out by itself: it
    plays both by the sender's timestamps.
drift
    How far the offset is away from that constant, in milliseconds, for each frame: percentiles of
    its amount.  A frame that is late counts, and so does a voice that runs away.
change
    What the constant itself does: the offset's median over the last tenth of the run less that
    over the first, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.bench_sound import spoken_positions
from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_PER_FRAME
from daetalker.streamer.tracks import FRAME_TICKS

__all__ = ["Sync", "first_index_by_time", "offsets", "voice_arrivals"]

Floats = NDArray[np.float64]
_ENOUGH = 25


@dataclass(frozen=True)
class Sync:
    """Offsets of one run.

    Attributes:
        frames: ``[N]`` numbers of the frames.
        offset_ms: ``[N]`` of each.
    """

    frames: NDArray[np.int64]
    offset_ms: Floats

    @property
    def drift_ms(self) -> Floats:
        """``[N]`` distance of each offset from their median."""
        if not len(self.offset_ms):
            return self.offset_ms
        return np.abs(self.offset_ms - np.median(self.offset_ms))

    def figures(self) -> dict[str, float | None]:
        """``p50`` and ``p95`` of the drift, ``longest`` drift, and the ``change`` over the run."""
        if len(self.offset_ms) < _ENOUGH:
            return dict.fromkeys(("p50", "p95", "longest", "change"))
        drift = self.drift_ms
        tenth = max(len(self.offset_ms) // 10, 1)
        first, last = np.median(self.offset_ms[:tenth]), np.median(self.offset_ms[-tenth:])
        figures = {
            "p50": np.percentile(drift, 50),
            "p95": np.percentile(drift, 95),
            "longest": drift.max(),
            "change": last - first,
        }
        return {name: round(float(value), 1) for name, value in figures.items()}


def voice_arrivals(
    sounds_s: Sequence[float],
    ticks: Sequence[tuple[int, int]],
    heard: NDArray[np.int16],
    voice: NDArray[np.int16],
) -> dict[int, float]:
    """When the client had each packet of the session's voice.

    Args:
        sounds_s: when each piece came.
        ticks: position of each piece on the client's own timeline, and its samples.
        heard: all pieces, one after the other.
        voice: what the session gave out, from media sample 0.

    Returns:
        Time by 20 ms packet of ``voice``, for those that are surely found.
    """
    if not ticks:
        return {}
    table = np.array(ticks, np.int64)
    counts = table[:, 1]
    # Without the client's gaps: what was lost is simply not there.
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    found: dict[int, float] = {}
    for packet, at in spoken_positions(heard, voice).items():
        middle = packet * CHUNK_SAMPLES + CHUNK_SAMPLES // 2
        piece = int(np.searchsorted(starts, middle, side="right")) - 1
        found[(at + CHUNK_SAMPLES // 2) // CHUNK_SAMPLES] = sounds_s[piece]
    return found


def offsets(
    frame_times_s: Sequence[float],
    frame_ticks: Sequence[int],
    first_index: int,
    arrivals: Mapping[int, float],
    span_s: tuple[float, float],
) -> Sync:
    """Offset of each frame received in a span of time whose voice was found.

    Args:
        first_index: number of the first frame that was received.
    """
    frames: list[int] = []
    found_ms: list[float] = []
    for at, tick in zip(frame_times_s, frame_ticks, strict=False):
        frame = first_index + round(tick / FRAME_TICKS)
        voice_s = arrivals.get(frame * VOICE_PER_FRAME // CHUNK_SAMPLES)
        if voice_s is not None and span_s[0] <= at <= span_s[1]:
            frames.append(frame)
            found_ms.append((at - voice_s) * 1000)
    return Sync(np.array(frames, np.int64), np.array(found_ms, np.float64))


def first_index_by_time(
    frame_times_s: Sequence[float], frame_ticks: Sequence[int], log: Mapping[str, NDArray[Any]]
) -> int | None:
    """Number of the first received frame, where pictures were not compared.

    It is the number with which most frames were sent at all, and before they came; of several such,
    the largest.  It may be one too large, which adds 40 ms to every offset and nothing to the
    drift.
    """
    sent = {int(index): float(at) for at, index in log["sent"]}
    times = list(zip(frame_times_s, frame_ticks, strict=False))[: 20 * _ENOUGH]
    best, most = None, 0
    for first in sorted(sent)[: 40 * _ENOUGH]:
        transits = [
            at - sent[index]
            for at, tick in times
            if (index := first + round(tick / FRAME_TICKS)) in sent
        ]
        if len(transits) >= most and transits and float(np.median(transits)) >= 0:
            best, most = first, len(transits)
    return best
