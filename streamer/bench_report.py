"""From raw times to figures: the arithmetic of `daetalker bench live`, without a clock.

Definitions (design document, section 8):

mouth-to-screen
    A 20 ms audio packet arrives at the server, until the last packet of the video frame that shows
    its sound has left the server.  The arrival is taken as the moment the client, on the same
    machine, hands the packet to its sender: that is a little early (Opus encoding and loopback, a
    millisecond or two) and so never flatters.  A packet's sound is found on the session's media
    timeline by comparing samples, not by trusting timestamps: what the client spoke is found in
    what the receiver decoded, and that in the voice that the session gave back; the position there
    is the session's own.  Frame f shows media samples [1920 f, 1920 (f + 1)) at 48 kHz.
parts
    receive    packet handed over -> decoded
    lookahead  speech heard beyond the frame, by the profile
    hop        speech gathered before a window is run, by the profile
    compute    networks of a hop and one frame, medians measured in the session
    pacing     what is left until the frame was given to the encoder: waiting for its due time
    encode     colour conversion, VP8 and sending
    The parts are medians and sum to about ``mouth_to_screen_ms.p50``.
first motion
    The first audio packet with speech after 300 ms of silence or more reaches the server, until
    the first frame that moves because of it has left.  Reaching is taken as above; `bench_onset.py`
    finds the frame by rendering the same voice with and without that speech.
freeze
    More than 100 ms between two frames as the client has them.
drift
    `bench_sync.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.bench_sound import heard_line, media_timeline, spoken_positions
from daetalker.streamer.media import CHUNK_SAMPLES, FRAME_S, VOICE_PER_FRAME
from daetalker.streamer.profile import Profile

__all__ = [
    "Floats",
    "frame_intervals",
    "freezes",
    "histogram",
    "latencies",
    "media_positions",
    "parts",
    "percentiles",
]

FREEZE_MS = 100.0
HISTOGRAM_MS = (10, 20, 30, 35, 40, 45, 50, 60, 80, 100, 150, 200, 500)

Floats = NDArray[np.float64]


def frame_intervals(times_s: Sequence[float]) -> dict[str, float]:
    """Rate and steadiness of the frames as they came, from their arrival times."""
    times = np.asarray(times_s, np.float64)
    if len(times) < 3:
        return {"fps": 0.0, "interval_ms_p50": 0.0, "interval_ms_p95": 0.0, "longest_gap_ms": 0.0}
    gaps_ms = np.diff(times) * 1000
    return {
        "fps": round((len(times) - 1) / float(times[-1] - times[0]), 3),
        "interval_ms_p50": round(float(np.percentile(gaps_ms, 50)), 1),
        "interval_ms_p95": round(float(np.percentile(gaps_ms, 95)), 1),
        "longest_gap_ms": round(float(gaps_ms.max()), 1),
    }


def freezes(intervals_ms: Floats) -> dict[str, float | int]:
    """Intervals over 100 ms between frames: how many, the longest, and all of them together."""
    frozen = intervals_ms[intervals_ms > FREEZE_MS]
    return {
        "count": len(frozen),
        "longest_ms": round(float(frozen.max(initial=0.0)), 1),
        "total_ms": round(float(frozen.sum()), 1),
    }


def histogram(values_ms: Floats, edges_ms: Sequence[float] = HISTOGRAM_MS) -> dict[str, int]:
    """How many values are at most so many milliseconds and more than the step before."""
    inner = np.searchsorted(np.asarray(edges_ms, np.float64), values_ms, side="left")
    counts = np.bincount(inner, minlength=len(edges_ms) + 1)
    names = [f"<={edge:g}" for edge in edges_ms] + [f">{edges_ms[-1]:g}"]
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def percentiles(values_ms: Floats) -> dict[str, float | None]:
    """``p50`` and ``p95``, None where nothing was measured."""
    if not len(values_ms):
        return {"p50": None, "p95": None}
    return {f"p{share}": round(float(np.percentile(values_ms, share)), 1) for share in (50, 95)}


def latencies(
    packet_times_s: Sequence[float],
    spoken: NDArray[np.int16],
    log: Mapping[str, NDArray[Any]],
) -> dict[str, Floats]:
    """Milliseconds of each located packet: ``total``, ``receive``, ``held`` and ``encode``.

    Args:
        packet_times_s: when the client handed over each 20 ms packet of ``spoken``.
        log: what `MediaTap.save` wrote.
    """
    taken = {int(index): float(at) for at, index in log["taken"]}
    sent = {int(index): float(at) for at, index in log["sent"]}
    rows: list[tuple[float, float, float, float]] = []
    for packet, (media, decoded_s) in media_positions(spoken, log).items():
        frame = media // VOICE_PER_FRAME
        if packet >= len(packet_times_s) or frame not in sent or frame not in taken:
            continue
        spoken_s = packet_times_s[packet]
        rows.append(
            (
                sent[frame] - spoken_s,
                decoded_s - spoken_s,
                taken[frame] - decoded_s,
                sent[frame] - taken[frame],
            )
        )
    table = np.array(rows, np.float64).reshape(-1, 4) * 1000
    return dict(zip(("total", "receive", "held", "encode"), table.T, strict=True))


def media_positions(
    spoken: NDArray[np.int16], log: Mapping[str, NDArray[Any]]
) -> dict[int, tuple[int, float]]:
    """For packets of ``spoken`` that are surely found: media sample, and when it was decoded."""
    heard_pcm, heard_times_s = heard_line(log)
    in_voice = spoken_positions(heard_pcm, media_timeline(log["voice_start"], log["voice_pcm"]))
    found: dict[int, tuple[int, float]] = {}
    for packet, at in spoken_positions(spoken, heard_pcm).items():
        block = in_voice.get(at // CHUNK_SAMPLES)
        # The decoded packet that holds the spoken packet's last sample.
        arrived = np.searchsorted(heard_times_s[:, 1], at + CHUNK_SAMPLES - 1, side="right") - 1
        if block is not None and arrived >= 0:
            found[packet] = block + at % CHUNK_SAMPLES, float(heard_times_s[arrived, 0])
    return found


def parts(
    times_ms: Mapping[str, Floats], profile: Profile, compute_ms: float
) -> dict[str, float | None]:
    """Medians of the parts of mouth-to-screen; see the top of this file."""
    if not len(times_ms["total"]):
        names = ("receive", "lookahead", "hop", "compute", "pacing", "encode")
        return dict.fromkeys(names)
    lookahead_ms = profile.lookahead_frames * FRAME_S * 1000
    hop_ms = profile.hop_frames * FRAME_S * 1000
    held_ms = float(np.median(times_ms["held"]))
    found = {
        "receive": float(np.median(times_ms["receive"])),
        "lookahead": lookahead_ms,
        "hop": hop_ms,
        "compute": compute_ms,
        "pacing": held_ms - lookahead_ms - hop_ms - compute_ms,
        "encode": float(np.median(times_ms["encode"])),
    }
    return {name: round(value, 1) for name, value in found.items()}
