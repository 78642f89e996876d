"""Table 4: does the head go where it is told?  Mean square distances of poses, square degrees.

Section 4.4.3 synthesises each test set's speech twice, once with the pose predicted from it and
once told to hold left, right or straight ahead, and compares the poses extracted from the pictures
with the specified ones.  Test set C has no video, so "natural" there cannot be a distance to the
truth: it is that of the naturally moving head to the same specified poses, what not specifying
would cost.  We report that, and beside it what the paper could not: the distance of the natural
head to its own prediction and to the true head, and the measure's own error on the true video.

T frames.  Every distance is given twice, for the paper does not say which it is: averaged over
yaw, pitch and roll (``msd_deg2``), and summed (three times that).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AXES, Manifest
from daetalker.models.training.data import FPS, SAMPLES_PER_FRAME
from daetalker.models.training.probes import Meter, Pose, Synthesise, mean
from daetalker.models.training.tables.held import Held
from daetalker.models.training.tables.take import Picture, Take, record

DIRECTIONS = ("straight", "left", "right")
SHARE = 0.7  # of the avatar's range, where it has no preset of that name


def directions(manifest: Manifest) -> dict[str, Pose]:
    """Straight, left and right: the avatar's presets of these names, else its range's share."""
    presets = {p.name: (p.yaw, p.pitch, p.roll) for p in manifest.presets}
    low, high = manifest.pose_range_deg["yaw"]
    middle = {axis: float(np.clip(0.0, *manifest.pose_range_deg[axis])) for axis in AXES}
    straight = (middle["yaw"], middle["pitch"], middle["roll"])
    usual = {
        "straight": straight,
        "left": (SHARE * high, *straight[1:]),
        "right": (SHARE * low, *straight[1:]),
    }
    return {name: presets.get(name, usual[name]) for name in DIRECTIONS}


def pose_distances(
    held: Held,
    natural: Take,
    meter: Meter,
    synthesise: Synthesise,
    poses: Mapping[str, Pose],
    seconds: float,
    settle_s: float,
) -> tuple[dict[str, Any], dict[str, list[Picture]]]:
    """One set's part of the table, and a few pictures of each specified pose.

    Args:
        natural: the set's speech with the predicted pose.
        seconds: of speech for each specified pose, ``settle_s`` of them, in which the head gets
            there, left out.
    """
    count = min(int(seconds * FPS), held.count)
    first = min(int(settle_s * FPS), count // 2)
    shown = [first + int(share * (count - first - 1)) for share in (0.1, 0.4, 0.7, 1.0)]
    specified, pictures = {}, {}
    for number, (name, pose) in enumerate(poses.items()):
        start = number * (held.count - count) // max(len(poses) - 1, 1)
        samples = held.audio[start * SAMPLES_PER_FRAME : (start + count) * SAMPLES_PER_FRAME]
        label = f"{held.name}, pose {name}"
        take = record(synthesise(samples, pose=pose), meter, count, held.still, label, keep=shown)
        specified[name] = distance(take.pose_deg[first:], np.array(pose))
        pictures[name] = [take.kept[f] for f in shown if f in take.kept]
    true = held.person.pose_deg[: held.count]
    floor = np.full((held.count, 3), np.nan)
    for f, face in held.faces.items():
        floor[f] = face.pose_deg
    unspecified = mean(distance(natural.pose_deg, np.array(pose)) for pose in poses.values())
    return {
        "truth": held.truth,
        "poses_deg": {name: list(pose) for name, pose in poses.items()},
        "frames": {"natural": int(natural.shown.sum()), "specified": 3 * (count - first)},
        "specified": _both(mean(specified.values())),
        "specified_by_pose": {name: _both(value) for name, value in specified.items()},
        "natural": _both(unspecified),
        "natural_against_prediction": _both(distance(natural.pose_deg, natural.asked_deg)),
        "natural_against_truth": _both(distance(natural.pose_deg, true)),
        # The measure itself, on the true video, where the truth is not the measure's own.
        "floor": _both(distance(floor, true)),
    }, pictures


def distance(measured: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Mean over frames and axes of the squared difference; NaN if no face was measured."""
    squares = (measured - wanted) ** 2
    return mean(squares[np.isfinite(squares)])


def _both(msd_deg2: float) -> dict[str, float]:
    return {"msd_deg2": msd_deg2, "msd_sum_deg2": 3.0 * msd_deg2}
