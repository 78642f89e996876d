"""Director: decides what the head and the eyelids do.

`Head` moves; here are the windows that the networks see of it.
L is the look-ahead, W the window's length in frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AXES, NATURAL_STEP_DEG
from daetalker.streamer.control import Control, Timeline
from daetalker.streamer.head import Head
from daetalker.streamer.idle import eye_closure
from daetalker.streamer.profile import Profile
from daetalker.streamer.smoother import Smoother

__all__ = ["Control", "Director", "Timeline"]

_SOFT_EDGE_DEG = 1.0


class Director:
    """Pure: predicted poses and controls in, what was and will be shown out."""

    def __init__(
        self,
        pose_range_deg: Mapping[str, tuple[float, float]],
        profile: Profile,
        window_frames: int = 50,
        natural_step_deg: float = NATURAL_STEP_DEG,
    ) -> None:
        """A head that has not moved yet; the first control is taken up without easing.

        Args:
            natural_step_deg: longest step from a frame to the next, see `Manifest`.
        """
        self._low = np.array([pose_range_deg[axis][0] for axis in AXES])
        self._high = np.array([pose_range_deg[axis][1] for axis in AXES])
        self._hop = profile.hop_frames
        self._ahead = profile.lookahead_frames
        self._past = window_frames - self._hop - self._ahead
        self._step_deg = natural_step_deg
        self._seams = Smoother(profile)
        self._head: Head | None = None
        self._history: NDArray[np.float32] | None = None
        self._next_frame = 0

    def plan(
        self, first_frame: int, predicted: NDArray[np.float32], control: Control
    ) -> NDArray[np.float32]:
        """Plan the frames of one window, the windows in order.

        Args:
            first_frame: first emitted frame; where frames were left out, the head held still.
            predicted: ``[hop + L, 3]`` pose in degrees from the speech, emitted and look-ahead.
            control: the snapshot for this window.

        Returns:
            ``[W, 4]`` yaw, pitch, roll in degrees and eye closure: what was shown, what the
            ``hop`` emitted frames show, and what the last L will show if nothing changes.
        """
        self._skip_to(first_frame)
        if control.pose is not None:
            yaw, pitch, roll = (float(x) for x in np.clip(control.pose, self._low, self._high))
            control = replace(control, pose=(yaw, pitch, roll))
        poses = self._seams.push(predicted)
        if self._head is None:
            head = Head.at(first_frame, control, poses[0], self._step_deg)
        else:
            head = self._head.steer(first_frame, control)
        rows = np.zeros((self._hop + self._ahead, 4), np.float32)
        for i in range(rows.shape[0]):
            head = head.step(first_frame + i, poses[i])
            rows[i, :3] = _clamp(head.pose, self._low, self._high)
            rows[i, 3] = eye_closure(first_frame + i)
            if i + 1 == self._hop:
                self._head = head
        if self._history is None:
            # Before the first frame the head was where it is, with open eyes.
            before = np.array([*rows[0, :3], 0.0], np.float32)
            self._history = np.repeat(before[None], self._past, axis=0)
        window = np.concatenate([self._history, rows])
        self._history = window[self._hop : self._hop + self._past]
        self._next_frame = first_frame + self._hop
        return window

    @property
    def released(self) -> bool:
        """True if the last control's hold is over: the head has gone back to the speech."""
        return self._head is not None and self._head.released

    def _skip_to(self, first_frame: int) -> None:
        missing = first_frame - self._next_frame
        if missing <= 0 or self._history is None:
            return
        self._seams.reset()
        held = np.repeat(self._history[-1:], missing, axis=0)
        self._history = np.concatenate([self._history, held])[-self._past :]


def _clamp(
    pose: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Keep a pose inside the range, rounding the corner so that speed does not jump there.

    Inside the range by a soft edge it changes nothing; at the very limit it gives a quarter of an
    edge away.
    """
    edge = np.minimum(_SOFT_EDGE_DEG, (high - low) / 4.0)
    over = np.clip(pose - (high - edge), 0.0, 2.0 * edge)
    under = np.clip((low + edge) - pose, 0.0, 2.0 * edge)
    inside = np.clip(pose, low - edge, high + edge)
    result: NDArray[np.float64] = inside - over**2 / (4.0 * edge) + under**2 / (4.0 * edge)
    return result
