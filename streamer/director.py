"""Director: decides what the head and the eyelids do.

The head is at ``base + natural * (movement from speech + idle sway)``.  ``base`` (the specified
pose, or straight ahead) and ``natural`` are eased together, so the sum never jumps.
L is the look-ahead, W the window's length in frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AXES
from daetalker.streamer.control import Control, Timeline
from daetalker.streamer.ease import Ease
from daetalker.streamer.idle import eye_closure, sway
from daetalker.streamer.media import FPS
from daetalker.streamer.profile import Profile
from daetalker.streamer.smoother import Smoother

__all__ = ["Control", "Director", "Timeline"]

_SMOOTHING_S = 0.06
_SOFT_EDGE_DEG = 1.0


class Director:
    """Pure: predicted poses and controls in, what was and will be shown out."""

    def __init__(
        self,
        pose_range_deg: Mapping[str, tuple[float, float]],
        profile: Profile,
        window_frames: int = 50,
    ) -> None:
        """A head that has not moved yet; the first control is taken up without easing."""
        self._low = np.array([pose_range_deg[axis][0] for axis in AXES])
        self._high = np.array([pose_range_deg[axis][1] for axis in AXES])
        self._hop = profile.hop_frames
        self._ahead = profile.lookahead_frames
        self._past = window_frames - self._hop - self._ahead
        self._seams = Smoother(profile)
        self._follower: _Follower | None = None
        self._ease: Ease | None = None
        self._target = np.zeros(4)
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
        ease = self._redirect(first_frame, control)
        natural, self._follower = self._follow(self._seams.push(predicted))
        rows = np.zeros((self._hop + self._ahead, 4), np.float32)
        for i in range(rows.shape[0]):
            frame = first_frame + i
            *base, share = ease.at(frame / FPS)
            pose = np.asarray(base) + share * (natural[i] + np.asarray(sway(frame)))
            rows[i, :3] = _clamp(pose, self._low, self._high)
            rows[i, 3] = eye_closure(frame)
        if self._history is None:
            # Before the first frame the head was where it is, with open eyes.
            before = np.array([*rows[0, :3], 0.0], np.float32)
            self._history = np.repeat(before[None], self._past, axis=0)
        window = np.concatenate([self._history, rows])
        self._history = window[self._hop : self._hop + self._past]
        self._next_frame = first_frame + self._hop
        return window

    def _skip_to(self, first_frame: int) -> None:
        missing = first_frame - self._next_frame
        if missing <= 0 or self._history is None:
            return
        self._seams.reset()
        held = np.repeat(self._history[-1:], missing, axis=0)
        self._history = np.concatenate([self._history, held])[-self._past :]

    def _redirect(self, first_frame: int, control: Control) -> Ease:
        wanted = np.zeros(4)
        if control.pose is None:
            wanted[3] = 1.0
        else:
            wanted[:3] = np.clip(control.pose, self._low, self._high)
            wanted[3] = control.natural
        if self._ease is None:
            self._ease, self._target = Ease.rest(wanted), wanted
        elif not np.array_equal(wanted, self._target):
            # It leaves from the last frame shown, so the first one emitted already moves.
            last_s = (first_frame - 1) / FPS
            self._ease = self._ease.towards(wanted, last_s, control.ease_s)
            self._target = wanted
        return self._ease

    def _follow(
        self, predicted: NDArray[np.float32]
    ) -> tuple[list[NDArray[np.float64]], _Follower]:
        """Smoothed poses of all rows, and the follower as it stands after the emitted ones."""
        follower = self._follower or _Follower(predicted[0].astype(np.float64))
        smooth: list[NDArray[np.float64]] = []
        kept = follower
        for i, pose in enumerate(predicted.astype(np.float64)):
            follower = follower.step(pose)
            smooth.append(follower.position)
            if i + 1 == self._hop:
                kept = follower
        return smooth, kept


class _Follower:
    """A critically damped follower: steps in what it follows become smooth in position and speed.

    Two equal poles; it trails a steady movement by 2 * 0.06 s.
    """

    _KEEP = math.exp(-1.0 / (FPS * _SMOOTHING_S))

    def __init__(
        self, position: NDArray[np.float64], inner: NDArray[np.float64] | None = None
    ) -> None:
        self.position = position
        self._inner = position if inner is None else inner

    def step(self, target: NDArray[np.float64]) -> _Follower:
        inner = target + self._KEEP * (self._inner - target)
        return _Follower(inner + self._KEEP * (self.position - inner), inner)


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
