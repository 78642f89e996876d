"""First motion: from the first packet of speech after silence to the first frame that moves by it.

Which frame that is cannot be seen in the picture alone, for the head moves on its own.  So it is
found by what would have been: the stages are run twice on what the session heard, once as it was
and once with silence from the onset on.  Both runs are the same to the bit but for that speech; the
first frame whose picture visibly differs moves because of it.  The stages hear three seconds before
the onset, more than a window, so that long sessions cost no more than short ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.bench_content import luma_of
from daetalker.streamer.bench_report import Floats, media_positions
from daetalker.streamer.bench_sound import media_timeline
from daetalker.streamer.engine import Engine
from daetalker.streamer.media import (
    CHUNK_SAMPLES,
    FPS,
    VOICE_PER_FRAME,
    to_model_rate,
)
from daetalker.streamer.offline import synthesise_latents
from daetalker.streamer.profile import Profile

__all__ = ["first_motion", "first_moving_frame", "speech_onsets"]

QUIET_SHARE = 0.03
"""Of the loud packets' level, 30 dB below: less is a pause."""

PAUSE_PACKETS = 15
"""300 ms."""

HISTORY_FRAMES = 3 * FPS
MOST_FRAMES = FPS
VISIBLE = 8.0
"""Mean difference, of 219 grey levels, over the hundredth of the pixels that differ most."""


def speech_onsets(voice: NDArray[np.int16]) -> list[int]:
    """Positions of the packets in which speech begins after 300 ms of pause or more."""
    packets = voice[: voice.size // CHUNK_SAMPLES * CHUNK_SAMPLES].reshape(-1, CHUNK_SAMPLES)
    level = np.sqrt(np.mean(packets.astype(np.float32) ** 2, axis=1))
    loud = level > QUIET_SHARE * np.percentile(level, 95) if len(level) else level > 0
    found = []
    for packet in np.flatnonzero(loud):
        before = loud[max(packet - PAUSE_PACKETS, 0) : packet]
        after = loud[packet : packet + 6]
        if len(before) == PAUSE_PACKETS and not before.any() and after.sum() >= 4:
            found.append(int(packet) * CHUNK_SAMPLES)
    return found


def first_moving_frame(
    engine: Engine,
    voice: NDArray[np.int16],
    onset: int,
    profile: Profile,
) -> int | None:
    """Number of the first frame that looks different because of what is said from ``onset`` on.

    Args:
        voice: ``[N]`` what the session heard, from media sample 0.
        onset: media sample.

    Returns:
        None if no frame of the second after the onset does.
    """
    # Windows begin at multiples of the hop, so the cut must too.
    first = onset // VOICE_PER_FRAME - HISTORY_FRAMES
    first = max(0, first // profile.hop_frames * profile.hop_frames)
    frames = onset // VOICE_PER_FRAME - first + MOST_FRAMES
    begin = first * VOICE_PER_FRAME
    said = voice[begin : begin + (frames + FPS) * VOICE_PER_FRAME]
    unsaid = said.copy()
    unsaid[onset - begin :] = 0
    as_it_was, without = (
        synthesise_latents(
            engine.bundle, engine, to_model_rate(line), profile=profile, frames=frames
        )
        for line in (said, unsaid)
    )
    for one, other in zip(as_it_was, without, strict=True):
        if np.array_equal(one.latent, other.latent):
            continue
        pictures = engine.frames(np.stack([one.latent, other.latent]))
        if visible_difference(luma_of(pictures[0]), luma_of(pictures[1])) >= VISIBLE:
            return first + one.index
    return None


def visible_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean difference over the hundredth of the pixels that differ most, in grey levels."""
    apart = np.abs(one.astype(np.int16) - other).reshape(-1)
    most = max(apart.size // 100, 1)
    return float(np.partition(apart, apart.size - most)[-most:].mean())


def first_motion(
    engine: Engine,
    profile: Profile,
    packet_times_s: Sequence[float],
    spoken: NDArray[np.int16],
    log: Mapping[str, NDArray[Any]],
    most: int,
    span_s: tuple[float, float],
) -> Floats:
    """Milliseconds from handing over the first packet of speech to sending the frame, by onset.

    Args:
        packet_times_s: when the client handed over each packet of ``spoken``.
        log: what `MediaTap` wrote.
        most: onsets to look at, spread over the measured time.
    """
    voice = media_timeline(log["voice_start"], log["voice_pcm"])
    handed_s = {
        media // CHUNK_SAMPLES: packet_times_s[packet]
        for packet, (media, _) in media_positions(spoken, log).items()
        if packet < len(packet_times_s)
    }
    sent = {int(index): float(at) for at, index in log["sent"]}
    onsets = [
        (onset, at)
        for onset in speech_onsets(voice)
        if (at := handed_s.get(onset // CHUNK_SAMPLES)) is not None
        and span_s[0] <= at <= span_s[1] - 1.0
    ]
    chosen = np.unique(np.linspace(0, len(onsets) - 1, min(most, len(onsets))).round().astype(int))
    times_ms = []
    for onset, at in (onsets[i] for i in chosen):
        frame = first_moving_frame(engine, voice, onset, profile)
        if frame is not None and frame in sent:
            times_ms.append((sent[frame] - at) * 1000)
    return np.array(times_ms, np.float64)
