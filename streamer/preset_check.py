"""Preset check: does the head ever move faster than the person, on its way between presets?

Real transitions are rendered over real speech, without decoding pictures: calmly between every two
presets and the speech's own movement, interrupted at random moments, and dragged as by the page's
pad.  A step is the Euclidean distance of yaw, pitch and roll from one frame to the next, in
degrees; what is left of the speech's movement and the idle sway are in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AXES, AvatarBundle, Manifest, Preset
from daetalker.streamer.control import Control, Timeline
from daetalker.streamer.engine import Engine
from daetalker.streamer.media import FPS, SAMPLES_PER_FRAME, to_model_rate
from daetalker.streamer.offline import synthesise_latents

__all__ = ["preset_step_ratio", "transitions"]

_START_FRAME = 2 * FPS
_SETTLE_FRAMES = 8
_INTERRUPTED = 30
_DRAGGED_S = 6.0
_DRAG_FRAMES = 2
_NATURAL_S = 40.0


def preset_step_ratio(
    bundle: AvatarBundle, engine: Engine, voice: NDArray[np.int16], seed: int = 1
) -> dict[str, Any]:
    """Measure the longest step.

    Args:
        voice: ``[N]`` int16 mono at 48 kHz, repeated as often as needed.
        seed: of the moments of interruption.

    Returns:
        ``preset_step_ratio``: ``largest_step_deg`` over ``natural_step_p99_deg``, the 99th
        percentile in the person's own video; ``rendered_natural_step_p99_deg``: that of the live
        path where the head is left to this speech; ``transitions``: how many were rendered.

    Raises:
        EngineError: if a network fails.
        ValueError: if there is no voice.
    """
    if not voice.size:
        raise ValueError("voice must hold samples")
    manifest = bundle.manifest
    entries = list(transitions(manifest, np.random.default_rng(seed)))
    end = entries[-1][0] + 2 * FPS
    timeline = Timeline(tuple(entries))
    samples = to_model_rate(voice)

    def steps(control: Control | Timeline, frames: int) -> NDArray[np.float64]:
        spoken = np.resize(samples, frames * SAMPLES_PER_FRAME)
        plans = synthesise_latents(bundle, engine, spoken, control=control, frames=frames)
        poses = np.array([plan.pose for plan in plans])
        return np.asarray(np.linalg.norm(np.diff(poses, axis=0), axis=1))

    largest = float(steps(timeline, end)[_START_FRAME - 1 :].max())
    natural = steps(Control(), min(end, int(_NATURAL_S * FPS)))
    return {
        "preset_step_ratio": round(largest / manifest.natural_step_deg, 4),
        "natural_step_p99_deg": manifest.natural_step_deg,
        "rendered_natural_step_p99_deg": round(float(np.percentile(natural, 99)), 3),
        "largest_step_deg": round(largest, 4),
        "transitions": len(entries),
    }


def transitions(manifest: Manifest, rng: np.random.Generator) -> Iterator[tuple[int, Control]]:
    """The changes of control, frames rising."""
    frame = _START_FRAME
    here: Preset | None = None
    for there in _tour([None, *manifest.presets]):
        yield frame, _control(there)
        frame += _frames_between(here, there, manifest.natural_step_deg)
        here = there
    for _ in range(_INTERRUPTED if manifest.presets else 0):
        place = int(rng.integers(len(manifest.presets) + 1))
        yield frame, _control([None, *manifest.presets][place])
        frame += int(rng.integers(1, FPS))
    end = frame + int(_DRAGGED_S * FPS)
    low, high = np.array([manifest.pose_range_deg[axis] for axis in AXES]).T
    pose = np.zeros(3)
    while frame < end:
        # A hand: where it wants to be changes twice a second, its way there is not smooth.
        if (end - frame) % (FPS // 2) < _DRAG_FRAMES:
            pose = rng.uniform(low, high)
        yaw, pitch, roll = (float(angle) for angle in pose + rng.normal(0.0, 0.5, 3))
        yield frame, Control((yaw, pitch, roll), natural=0.15, ease_s=0.2)
        frame += _DRAG_FRAMES
    yield frame, Control()


def _tour(places: list[Preset | None]) -> Iterator[Preset | None]:
    """From the first place, a walk that takes every way between two places in both directions."""
    for i, place in enumerate(places):
        if i:
            yield place
        for other in places[i + 1 :]:
            yield other
            yield place


def _control(preset: Preset | None) -> Control:
    return Control() if preset is None else Control.of(preset)


def _frames_between(here: Preset | None, there: Preset | None, step_deg: float) -> int:
    """Long enough to arrive: peak speed of least jerk is 1.875 times the average."""
    distance = math.dist(_angles(here), _angles(there)) + 4.0
    asked = 0.5 if there is None else there.ease_s
    hold_s = 0.0 if there is None or there.hold_s is None else min(there.hold_s, 2.0)
    moving = max(asked * FPS, 1.875 * distance / (0.8 * step_deg))
    return math.ceil(moving + hold_s * FPS) + _SETTLE_FRAMES


def _angles(preset: Preset | None) -> tuple[float, float, float]:
    return (0.0, 0.0, 0.0) if preset is None else (preset.yaw, preset.pitch, preset.roll)
