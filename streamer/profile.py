"""Profile: how speech is cut into hops, and how much time the computer gets."""

from __future__ import annotations

from dataclasses import dataclass

from daetalker.streamer.media import FPS

__all__ = ["PROFILES", "Profile"]


@dataclass(frozen=True)
class Profile:
    """Latency against steadiness.

    Attributes:
        hop_frames: frames emitted at a time.
        lookahead_frames: frames of speech heard beyond the last one emitted.
        allowance_s: seconds kept for computing before the first frame of a hop is due.
    """

    name: str
    hop_frames: int
    lookahead_frames: int
    allowance_s: float = 0.04

    def __post_init__(self) -> None:
        if not 1 <= self.hop_frames <= 16 or not 1 <= self.lookahead_frames <= 8:
            raise ValueError("profile: hop_frames must be 1 to 16 and lookahead_frames 1 to 8")
        if not 0.0 <= self.allowance_s <= 2.0:
            raise ValueError("profile: allowance_s must be 0 to 2 seconds")

    @property
    def delay_s(self) -> float:
        """Seconds from a sample's arrival to the moment its frame is due."""
        return (self.hop_frames + self.lookahead_frames) / FPS + self.allowance_s


PROFILES = {
    "default": Profile("default", hop_frames=3, lookahead_frames=3),
    "low_latency": Profile("low_latency", hop_frames=2, lookahead_frames=2),
}
