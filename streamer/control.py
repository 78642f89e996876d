"""Control: what the person wants of the head, as an immutable snapshot, and its timeline."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from daetalker.models.bundle import MAX_HOLD_S, Preset

__all__ = ["Control", "Timeline"]


@dataclass(frozen=True)
class Control:
    """Read once per window; a change takes effect at the next window.

    Attributes:
        pose: yaw, pitch, roll in degrees, or None to leave the head to the speech.
        natural: share of the speech-driven movement kept around ``pose``, 0 to 1; without a pose
            it is 1 whatever is said here.
        ease_s: seconds the head takes to a new pose; more where its speed would be unnatural.
        hold_s: seconds the pose is held after arriving, then the head goes back to the speech in
            ``ease_s``; None for good.
        command: number of the command this comes from: two of them may ask for the same.  A
            `replace` of another field keeps it.
        preset: name of the preset ``pose`` came from, for display only.
        muted: True to hear nothing from now on; what was said before is still spoken.

    Raises:
        ValueError: naming the field that is out of range.
    """

    pose: tuple[float, float, float] | None = None
    natural: float = 1.0
    ease_s: float = 0.5
    preset: str | None = None
    muted: bool = False
    hold_s: float | None = None
    command: int = field(default_factory=itertools.count().__next__, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.pose is not None and not (
            len(self.pose) == 3 and all(math.isfinite(angle) for angle in self.pose)
        ):
            raise ValueError("pose must be three finite angles: yaw, pitch, roll in degrees")
        if not 0.0 <= self.natural <= 1.0:
            raise ValueError("natural must be between 0 and 1")
        if not 0.0 < self.ease_s <= 60.0:
            raise ValueError("ease_s must be above 0 and at most 60 seconds")
        if self.hold_s is not None and not 0.0 <= self.hold_s <= MAX_HOLD_S:
            raise ValueError(f"hold_s must be 0 to {MAX_HOLD_S:g} seconds")

    @classmethod
    def of(cls, preset: Preset, muted: bool = False) -> Control:
        """The control that a preset stands for."""
        pose = (preset.yaw, preset.pitch, preset.roll)
        return cls(pose, preset.natural, preset.ease_s, preset.name, muted, preset.hold_s)


@dataclass(frozen=True)
class Timeline:
    """Controls over time, for rendering.

    Attributes:
        entries: (frame, control), frames rising: the control holds from the first window that
            emits no frame before ``frame``.

    Raises:
        ValueError: if the frames do not rise.
    """

    entries: Sequence[tuple[int, Control]] = ()
    _frames: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        frames = tuple(frame for frame, _ in self.entries)
        if any(b <= a for a, b in itertools.pairwise(frames)):
            raise ValueError("timeline: the frames of its entries must rise")
        object.__setattr__(self, "_frames", frames)

    @classmethod
    def of(cls, control: Control | Timeline | None) -> Timeline:
        """A timeline from one control, or from none: a head that follows the speech."""
        if isinstance(control, Timeline):
            return control
        return cls(((0, control or Control()),))

    def at(self, frame: int) -> Control:
        """The control for a window whose first emitted frame is ``frame``."""
        place = bisect_right(self._frames, frame)
        return self.entries[place - 1][1] if place else Control()
