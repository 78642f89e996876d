"""What the warm-up's measured times say about this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from daetalker.streamer.media import FRAME_S
from daetalker.streamer.profile import Profile

FRAME_KEY = "student"
"""The frame decoder's name in the warm-up's report; the other networks run once a hop."""

COMFORTABLE_SHARE = 0.8
"""Above this, a neighbour on the machine or a hiccup makes frames late."""


@dataclass(frozen=True)
class Capacity:
    """How a machine copes with one talking person.

    Attributes:
        share: part of the engine's time that one person takes; 1.0 is all of it, on all threads.
        people: how many are served at full rate at the same time.
        tier: ``full``: all frames; ``tight``: all frames on a quiet machine; ``reduced``: frames
            are skipped, the last one is held, the voice stays whole.
        advice: one sentence for tiers other than full, else empty.
    """

    share: float
    people: int
    tier: Literal["full", "tight", "reduced"]
    advice: str


def capacity(timings_ms: Mapping[str, float], profile: Profile, workers: int = 1) -> Capacity:
    """Work out the tier from the median times of the networks in milliseconds.

    A hop costs every network but the frame decoder once; the frame decoder runs for each frame.
    This says what to expect before anybody comes; `admission` measures while people are served.

    Args:
        workers: jobs that run side by side, each in those times.
    """
    frame_ms = timings_ms[FRAME_KEY]
    hop_ms = sum(ms for name, ms in timings_ms.items() if name != FRAME_KEY)
    share = (hop_ms / profile.hop_frames + frame_ms) / (FRAME_S * 1000) / workers
    people = max(1, int(COMFORTABLE_SHARE / share)) if share > 0 else 1
    if share <= COMFORTABLE_SHARE:
        return Capacity(share, people, "full", "")
    if share <= 1.0:
        return Capacity(
            share, 1, "tight", "This is just enough: close other programs, or raise allowance_ms."
        )
    fps = int(1 / (share * FRAME_S))
    return Capacity(
        share,
        1,
        "reduced",
        f"This machine shows about {fps} frames a second; a smaller avatar, more threads or a "
        "faster machine shows 25.",
    )
