"""What is thin in the material, and what to record to mend it.

Shapes: T kept frames of all clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.data import FPS, SAMPLES_PER_FRAME

WANTED_MIN, WANTED_SILENCE_S = 3.0, 10.0
WANTED_YAW_DEG, WANTED_PITCH_DEG = 20.0, 10.0
DARK, TINY_FACE = 60.0, 90.0
LOST = 0.3
QUIET_DB, SHUT = -25.0, 0.25
REST = FPS // 2  # frames that silence must last to count


@dataclass(frozen=True)
class Material:
    """The kept frames, one after another.

    Attributes:
        pose_deg: ``[T, 3]``.
        opening: ``[T]`` of the lips.
        loudness_db: ``[T]`` of each frame's sound.
        light: ``[T]`` of the face, 0..255.
        face_px: ``[T]`` height of the face in pixels of the source.
        source_frames: T before anything was dropped.
        enlarged: the crop is smaller than what is written.
        rate: lowest frame rate of the sources; 0 if unknown.
    """

    pose_deg: NDArray[np.float32]
    opening: NDArray[np.float32]
    loudness_db: NDArray[np.float64]
    light: NDArray[np.float32]
    face_px: NDArray[np.float64]
    source_frames: int
    enlarged: bool
    rate: float

    @property
    def pose_range_deg(self) -> dict[str, tuple[float, float]]:
        """What 96 % of the frames lie within, by axis."""
        low, high = np.quantile(self.pose_deg, [0.02, 0.98], axis=0)
        axes = ("yaw", "pitch", "roll")
        return {axis: (float(low[i]), float(high[i])) for i, axis in enumerate(axes)}

    @property
    def silence_s(self) -> float:
        """Seconds with the mouth shut and no voice, in stretches of half a second and more."""
        quiet = self.loudness_db < np.quantile(self.loudness_db, 0.9) + QUIET_DB
        shut = self.opening < SHUT * np.quantile(self.opening, 0.9)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet & shut, [0]]).astype(int)))
        lengths = edges[1::2] - edges[::2]
        return float(lengths[lengths >= REST].sum() / FPS)


def loudness_db(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """``[640 T]`` to ``[T]``, dB of full scale."""
    power = np.square(samples.reshape(-1, SAMPLES_PER_FRAME), dtype=np.float64).mean(1)
    db: NDArray[np.float64] = 10 * np.log10(power + 1e-12)
    return db


def advice(material: Material) -> list[str]:
    """One sentence for each thing that is too little, with what to record."""
    said = []
    kept = len(material.opening)
    minutes = kept / FPS / 60
    if minutes < WANTED_MIN:
        said.append(
            f"only {minutes:.1f} min of use; record 5 to 15 minutes of speech for a good avatar"
        )
    ranges = material.pose_range_deg
    (left, right), (down, up) = ranges["yaw"], ranges["pitch"]
    if right - left < WANTED_YAW_DEG or up - down < WANTED_PITCH_DEG:
        said.append(
            f"the head hardly turns (yaw {left:.0f} to {right:.0f}, pitch {down:.0f} to {up:.0f} "
            "degrees): record a minute in which it slowly turns left, right, up and down while "
            "speaking, or the avatar will only look this way"
        )
    if material.silence_s < WANTED_SILENCE_S:
        said.append(
            f"only {material.silence_s:.0f} s of silence with the mouth shut: record 20 s of it, "
            "looking into the camera, or the avatar's lips may not rest"
        )
    if material.enlarged:
        said.append("the face is small in the picture and had to be enlarged; go closer")
    elif np.median(material.face_px) < TINY_FACE:
        said.append(f"the face is only {np.median(material.face_px):.0f} pixels tall; go closer")
    if np.median(material.light) < DARK:
        said.append("the face is dark; put a lamp or a window in front of it")
    if material.rate and material.rate < 0.8 * FPS:
        said.append(f"only {material.rate:.0f} pictures a second; set the camera to 25 or more")
    if kept < (1 - LOST) * material.source_frames:
        share = 1 - kept / material.source_frames
        said.append(f"{share:.0%} of the recording was dropped; the report says why")
    return said
