"""Which frame is which: received pictures looked up in the offline render of the same voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.streamer.engine import Engine
from daetalker.streamer.mark import UNMARKED, Mark
from daetalker.streamer.media import VOICE_PER_FRAME, to_model_rate
from daetalker.streamer.offline import synthesise
from daetalker.streamer.profile import Profile
from daetalker.streamer.tracks import FRAME_TICKS

__all__ = ["luma_of", "match_frames", "reference_luma"]

MATCH_REACH_FRAMES = 12


def reference_luma(
    bundle: AvatarBundle,
    engine: Engine,
    voice: NDArray[np.int16],
    profile: Profile,
    frames: int,
    mark: Mark = UNMARKED,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """What the first ``frames`` frames of a session with that voice must look like.

    Returns:
        ``[frames, H, W]`` grey pictures, and ``[frames]`` whether each speaks.
    """
    voice = voice[: (frames + 25) * VOICE_PER_FRAME]
    rendered = list(
        synthesise(bundle, engine, to_model_rate(voice), profile=profile, frames=frames, mark=mark)
    )
    reference = np.stack([luma_of(frame.rgb) for frame in rendered])
    return reference, np.array([frame.speaking for frame in rendered])


def luma_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``[H, W, 3]`` in 0 to 255 to ``[H, W]`` in 16 to 235, the range on the wire."""
    grey = np.rint(rgb @ np.array([0.299, 0.587, 0.114], np.float32))
    return np.rint(16.0 + grey * (219.0 / 255.0)).astype(np.uint8)


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
