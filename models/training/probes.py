"""Syntheses made only to be measured: silence, held poses, live against offline.

The synthesis is injected, so this file knows no clock and no session.  NaN stands for "not
measured".  Shapes: T frames, S pixels a side, D latent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import Preset
from daetalker.models.training import lips
from daetalker.models.training.data import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from daetalker.models.training.landmarks import Face
from daetalker.models.training.progress import track

Pose = tuple[float, float, float]
Audio = NDArray[np.float32]

LEAD_S = 2.0
AFTER_SPEECH_S = 1.0
ROOM_DBFS = -55.0


class Meter(Protocol):
    """What finds a face in ``rgb [S, S, 3]`` uint8, or None: `landmarks.FaceMeter` or a fake."""

    def measure(self, rgb: NDArray[np.uint8]) -> Face | None: ...


class Frame(Protocol):
    """One synthesised frame: ``rgb [S, S, 3]`` uint8, ``latent [D]``, pose asked for in degrees."""

    @property
    def index(self) -> int: ...
    @property
    def rgb(self) -> NDArray[np.uint8]: ...
    @property
    def latent(self) -> NDArray[np.float32]: ...
    @property
    def speaking(self) -> bool: ...
    @property
    def pose(self) -> tuple[float, float, float]: ...


class Synthesise(Protocol):
    """16 kHz mono samples to frames, in order, frame f for samples [640 f, 640 (f + 1)).

    With ``pose`` (yaw, pitch, roll in degrees) the head is held there from the start, with no
    natural movement; without, it moves as the speech says.
    """

    def __call__(self, samples: Audio, *, pose: Pose | None = None) -> Iterable[Frame]: ...


def seam_ratio(steps: NDArray[np.float64], speaking: NDArray[np.bool_], hop: int) -> float:
    """Mean latent step into a window's first frame over the mean step inside windows.

    Args:
        steps: ``[T]`` the L2 step from frame f - 1 to f, NaN where there is none.
        speaking: ``[T]``; only steps between two speaking frames count.
        hop: frames a window emits; frame f opens a window if it is a multiple.
    """
    use = np.isfinite(steps)
    use[1:] &= speaking[1:] & speaking[:-1]
    seam = np.arange(len(steps)) % hop == 0
    return ratio(mean(steps[use & seam]), mean(steps[use & ~seam]))


def silence_probe(
    meter: Meter,
    synthesise: Synthesise,
    audio: Audio,
    silence_s: float,
    speech_motion: float,
    shut: float = float("nan"),
) -> dict[str, Any]:
    """Two seconds of speech, then silence: how much the lips still move once speech is over.

    Digital silence and a quiet room (pink noise at -55 dBFS) are tried; the first second after the
    speech, in which the lips close, is left out.

    Args:
        speech_motion: mean change of the opening a frame in speech, which is the unit.
        shut: the opening under which lips count as shut, for the figure of what is seen.

    Returns:
        ``silence_motion`` (the worse of the two), ``silence_motion_digital``, ``_room``, and
        ``silence_motion_visible``: the worse with all shut lips counted as equal, which leaves out
        the measure's trembling on shut lips (large where frames are smaller than 256).
    """
    quiet = int(silence_s * SAMPLE_RATE)
    lead = loudest(audio, int(LEAD_S * SAMPLE_RATE))
    kinds = {
        "digital": np.zeros(quiet, np.float32),
        "room": lips.pink_noise(quiet, ROOM_DBFS, seed=1),
    }
    first = int((len(lead) / SAMPLE_RATE + AFTER_SPEECH_S) * FPS)
    result: dict[str, Any] = {}
    visible = []
    for kind, sound in kinds.items():
        samples = np.concatenate([lead, sound])
        opening = np.full(len(samples) // SAMPLES_PER_FRAME, np.nan)
        for frame in track(synthesise(samples), f"silence, {kind}", len(opening)):
            if first - 1 <= frame.index < len(opening):
                face = meter.measure(frame.rgb)
                opening[frame.index] = face.opening if face is not None else np.nan
        where = np.arange(len(opening)) >= first
        result[f"silence_motion_{kind}"] = ratio(lips.movement(opening, where), speech_motion)
        visible.append(ratio(lips.movement(opening, where, shut), speech_motion))
    worst = float(np.max(list(result.values())))
    return {
        "silence_motion": worst,
        "silence_motion_visible": float(np.max(visible)),
        **result,
    }


def pose_probe(
    meter: Meter,
    synthesise: Synthesise,
    audio: Audio,
    presets: Sequence[Preset],
    seconds: float,
    settle_s: float,
) -> dict[str, Any]:
    """Presets held while speaking, each on a stretch of its own, measured on the frames.

    The first ``settle_s`` of each, in which the head gets there, are left out.

    Returns:
        ``pose_msd_deg2``: mean over frames and over the three axes of the squared difference in
        degrees; ``pose_msd_sum_deg2``: with the axes summed; ``pose_msd_deg2_by_preset``.
    """
    total = len(audio) // SAMPLES_PER_FRAME
    length = min(int(seconds * FPS), total)
    settled = min(int(settle_s * FPS), length // 2)
    by_preset = {}
    for number, preset in enumerate(presets):
        start = number * (total - length) // max(len(presets) - 1, 1)
        stretch = audio[start * SAMPLES_PER_FRAME : (start + length) * SAMPLES_PER_FRAME]
        pose = (preset.yaw, preset.pitch, preset.roll)
        errors = []
        for frame in track(synthesise(stretch, pose=pose), f"pose {preset.name}", length):
            if settled <= frame.index < length:
                face = meter.measure(frame.rgb)
                if face is not None:
                    errors.append(float(np.mean((face.pose_deg - np.array(pose)) ** 2)))
        by_preset[preset.name] = mean(errors)
    average = mean(by_preset.values())  # NaN if one preset shows no face at all
    return {
        "pose_msd_deg2": average,
        "pose_msd_sum_deg2": 3.0 * average,
        "pose_msd_deg2_by_preset": by_preset,
    }


def stream_probe(
    synthesise: Synthesise, stream_synthesise: Synthesise, audio: Audio
) -> dict[str, Any]:
    """Live against offline, frame by frame; a frame that only one of them shows counts as 255."""
    worst, unmatched = 0, 0
    pairs = zip_longest(synthesise(audio), stream_synthesise(audio))
    for offline, live in track(pairs, "live against offline", len(audio) // SAMPLES_PER_FRAME):
        if offline is None or live is None or offline.index != live.index:
            worst, unmatched = 255, unmatched + 1
        else:
            worst = max(worst, int(np.abs(offline.rgb.astype(np.int16) - live.rgb).max()))
    return {"stream_max_abs_diff": worst, "stream_frames_unmatched": unmatched}


def loudest(audio: Audio, length: int) -> Audio:
    """The stretch of ``length`` samples with the most energy, on a grid of half seconds."""
    starts = range(0, max(len(audio) - length, 0) + 1, SAMPLE_RATE // 2)
    best = max(starts, key=lambda s: float((audio[s : s + length].astype(np.float64) ** 2).sum()))
    return audio[best : best + length]


def spread(total: int, count: int) -> NDArray[np.int64]:
    """At most ``count`` different whole numbers evenly spaced over [0, total)."""
    count = min(count, total)
    return ((np.arange(count) + 0.5) * total / max(count, 1)).astype(np.int64)


def mean(values: Iterable[float]) -> float:
    """Mean, NaN of nothing."""
    array = np.asarray(list(values), np.float64)
    return float(array.mean()) if array.size else float("nan")


def ratio(a: float, b: float) -> float:
    """``a / b``, NaN where there is no sense in it."""
    return a / b if b > 0 else float("nan")
