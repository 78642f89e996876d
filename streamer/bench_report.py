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
    receive    packet handed over -> decoded (the library's jitter buffer holds four packets, 80 ms)
    lookahead  speech heard beyond the frame, by the profile
    hop        speech gathered before a window is run, by the profile
    compute    networks of a hop and one frame, medians measured in the session
    pacing     what is left until the frame was given to the encoder: waiting for its due time
    encode     colour conversion, VP8 and sending
    The parts are medians and sum to about ``mouth_to_screen_ms.p50``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.media import CHUNK_SAMPLES, FRAME_S, VOICE_PER_FRAME, VOICE_RATE
from daetalker.streamer.profile import Profile
from daetalker.streamer.tracks import FRAME_TICKS

BLOCK_SAMPLES = VOICE_RATE // 2
SEARCH_SAMPLES = 3 * VOICE_RATE
SURE_CORRELATION = 0.8
MATCH_REACH_FRAMES = 12

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
    line = np.zeros(int(starts.max()) + CHUNK_SAMPLES, np.int16)
    for start, chunk in zip(starts, pcm.reshape(len(starts), CHUNK_SAMPLES), strict=True):
        line[start : start + CHUNK_SAMPLES] = chunk
    return line


def spoken_positions(spoken: NDArray[np.int16], heard: NDArray[np.int16]) -> dict[int, int]:
    """For 20 ms packets of ``spoken``: where the packet starts in ``heard``.

    Blocks of half a second are compared; blocks that are not surely found (silence, lost packets)
    give nothing.
    """
    found: dict[int, int] = {}
    for start in range(0, len(spoken) - BLOCK_SAMPLES + 1, BLOCK_SAMPLES):
        low = max(0, start - SEARCH_SAMPLES)
        line = heard[low : start + SEARCH_SAMPLES + BLOCK_SAMPLES]
        at, score = find_shift(spoken[start : start + BLOCK_SAMPLES], line)
        if score < SURE_CORRELATION:
            continue
        for offset in range(0, BLOCK_SAMPLES, CHUNK_SAMPLES):
            found[(start + offset) // CHUNK_SAMPLES] = low + at + offset
    return found


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
    heard_line, heard_times_s = _heard_line(log)
    voice = media_timeline(log["voice_start"], log["voice_pcm"])
    taken = {int(index): float(at) for at, index in log["taken"]}
    sent = {int(index): float(at) for at, index in log["sent"]}
    in_heard = spoken_positions(spoken, heard_line)
    in_voice = spoken_positions(heard_line, voice)
    rows: list[tuple[float, float, float, float]] = []
    for packet, at in in_heard.items():
        block = in_voice.get(at // CHUNK_SAMPLES)
        # The decoded packet that holds the spoken packet's last sample.
        arrived = np.searchsorted(heard_times_s[:, 1], at + CHUNK_SAMPLES - 1, side="right") - 1
        if block is None or packet >= len(packet_times_s) or arrived < 0:
            continue
        frame = (block + at % CHUNK_SAMPLES) // VOICE_PER_FRAME
        if frame not in sent or frame not in taken:
            continue
        spoken_s, decoded_s = packet_times_s[packet], float(heard_times_s[arrived, 0])
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


def _heard_line(log: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.int16], Floats]:
    """Decoded audio by position, and rows of (time, position of the packet's first sample)."""
    heard = log["heard"]
    if not len(heard):
        return np.zeros(0, np.int16), np.zeros((0, 2))
    starts, counts = heard[:, 1].astype(np.int64), heard[:, 2].astype(np.int64)
    line = np.zeros(int((starts + counts).max()), np.int16)
    at = 0
    for start, count in zip(starts, counts, strict=True):
        line[start : start + count] = log["heard_pcm"][at : at + count]
        at += count
    return line, heard[:, :2]


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


def match_frames(
    luma: NDArray[np.uint8],
    ticks: Sequence[int],
    arrival_s: Sequence[float],
    log: Mapping[str, NDArray[Any]],
    reference: NDArray[np.uint8],
    moving: NDArray[np.bool_],
) -> dict[str, float | int | None]:
    """Check by content that the server's frame numbers mean what the times assume.

    A client's timestamps count from the first frame it could decode, so where they start is found
    by content: the one shift that makes all pictures most like the offline render.  With it, each
    picture is looked for among its neighbours, and its arrival is compared with the time the
    server noted for that number.

    Args:
        luma: ``[N, H, W]`` received pictures, with their 90 kHz ``ticks`` and ``arrival_s``.
        log: what `MediaTap.save` wrote.
        reference: ``[M, H, W]`` offline render of what the server heard, from frame 0.
        moving: ``[M]`` frames to look at: those that speak, where neighbours differ.

    Returns:
        ``checked`` pictures; ``matched``, the share whose nearest frame is within one of its
        number; ``first_frame``, the number of the first picture; ``transit_ms``, the median from
        sent by the server to decoded by the client, which a wrong shift would move by 40 a frame
        (the client's jitter buffer needs the next frame, so 40 to 50 is right).
    """
    nothing: dict[str, float | int | None] = {
        "checked": 0, "matched": None, "first_frame": None, "transit_ms": None
    }  # fmt: skip
    steps = np.rint(np.asarray(ticks[: len(luma)]) / FRAME_TICKS).astype(np.int64)
    if not len(luma) or len(reference) <= steps[-1]:
        return nothing
    flat = reference.reshape(len(reference), -1).astype(np.float32)
    energy = np.sum(flat**2, axis=1)
    # Distance of each picture to each frame, up to the picture's own energy.
    apart = np.stack([energy - 2 * flat @ p.reshape(-1).astype(np.float32) for p in luma])
    firsts = np.arange(len(reference) - steps[-1])
    costs = [float(np.mean(apart[np.arange(len(luma)), first + steps])) for first in firsts]
    first = int(firsts[int(np.argmin(costs))])
    sent = {int(index): float(at) for at, index in log["sent"]}
    lags, transit_s = [], []
    for row, step, at in zip(apart, steps, arrival_s, strict=False):
        index = first + int(step)
        if index in sent:
            transit_s.append(at - sent[index])
        if moving[index]:
            low = max(0, index - MATCH_REACH_FRAMES)
            near = row[low : index + MATCH_REACH_FRAMES + 1]
            lags.append(low + int(np.argmin(near)) - index)
    if not lags:
        return nothing
    return {
        "checked": len(lags),
        "matched": round(float(np.mean(np.abs(lags) <= 1)), 3),
        "first_frame": first,
        "transit_ms": round(float(np.median(transit_s)) * 1000, 1) if transit_s else None,
    }
