"""Head: where the head is, frame by frame, and no faster than this person moves.

A frame's pose is ``base + share * (movement from speech + idle sway)``.  ``base`` (the specified
pose, or straight ahead) and ``share`` are eased together, so the sum never jumps.  From one frame
to the next it moves by

    a + share * n    with    a = change of base + change of share * movement + share * sway

where n is the step of the movement from speech.  Its length stays under the natural step in three
ways: an ease takes as long as its peak speed asks for, its time runs slower where the speech has
carried the head away meanwhile, and the movement from speech gives way to what is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.control import Control
from daetalker.streamer.ease import Ease
from daetalker.streamer.idle import SWAY_STEP_DEG, sway
from daetalker.streamer.media import FPS, FRAME_S

__all__ = ["Head"]

Vector = NDArray[np.float64]

_SMOOTHING_S = 0.06
# Shares of the natural step: what an ease may plan to use, what it may ever use, and all of it
# (the rest is for rounding).
_PLANNED, _EASED, _WHOLE = 0.85, 0.95, 0.999
_DURATIONS: Vector = np.power(1.08, np.arange(100.0))
_SHARPNESS = 8
_ROUNDING_S = 1e-6


@dataclass(frozen=True, eq=False)
class Head:
    """Immutable: `steer` and `step` give the next one.

    Attributes:
        step_deg: longest step from a frame to the next, degrees.
        pose: yaw, pitch, roll of the last frame in degrees, ``[3]``, not yet kept in range.
        released: True if the control's hold is over and the head has gone back to the speech.
    """

    step_deg: float
    pose: Vector
    released: bool
    _control: Control
    _target: Vector
    _ease: Ease
    _elapsed_s: float
    _pace: float
    _arrived: int | None
    _movement: Vector
    _sway: Vector
    _follower: _Follower

    @classmethod
    def at(
        cls, frame: int, control: Control, predicted: NDArray[np.float32], step_deg: float
    ) -> Head:
        """A head before its first frame, where ``control`` wants it."""
        target, follower = _wanted(control), _Follower(predicted.astype(np.float64))
        drift = np.asarray(sway(frame))
        movement = follower.position + drift
        return cls(
            step_deg, target[:3] + target[3] * movement, False, control, target,
            Ease.rest(target), 1.0, 1.0, frame, movement, drift, follower,
        )  # fmt: skip

    def steer(self, frame: int, control: Control) -> Head:
        """Take up a control at ``frame``; it leaves from the frame before."""
        target = _wanted(control)
        again = np.array_equal(target, _wanted(self._control))
        if again and control.command == self._control.command:
            return replace(self, _control=control)
        head = self
        if not np.array_equal(target, self._target):
            head = self._towards(target, control.ease_s)
        elif self._arrived is not None:  # asked for again: it is held from now on
            head = replace(self, _arrived=frame)
        return replace(head, _control=control, released=False)

    def step(self, frame: int, predicted: NDArray[np.float32]) -> Head:
        """Go on to ``frame``.

        Args:
            predicted: ``[3]`` pose in degrees from the speech.
        """
        head = self
        if self._is_over(frame):
            head = replace(self._towards(_NATURAL, self._control.ease_s), released=True)
        return head._move(frame, predicted.astype(np.float64))

    def _is_over(self, frame: int) -> bool:
        """True if ``frame`` is the first one after the hold."""
        control, arrived = self._control, self._arrived
        if self.released or arrived is None or control.pose is None or control.hold_s is None:
            return False
        return frame > arrived + round(control.hold_s * FPS)

    def _move(self, frame: int, predicted: Vector) -> Head:
        drift = np.asarray(sway(frame))
        before = self._ease.at(self._elapsed_s)
        change = self._ease.at(self._elapsed_s + FRAME_S) - before
        full = float(np.linalg.norm(change[:3] + change[3] * self._movement))
        room = _EASED * self.step_deg - SWAY_STEP_DEG * min(1.0, abs(before[3]) + abs(change[3]))
        pace = _yielding(room / full) if full else 1.0
        elapsed_s = self._elapsed_s + pace * FRAME_S
        now = self._ease.at(elapsed_s)
        base, share = now[:3], float(now[3])
        a = base - before[:3] + (share - before[3]) * self._movement + share * (drift - self._sway)
        follower = self._follower.step(predicted, a, share, _WHOLE * self.step_deg)
        movement = follower.position + drift
        arrived = self._arrived
        if arrived is None and elapsed_s >= self._ease.duration_s - _ROUNDING_S:
            arrived = frame
        return replace(
            self, pose=base + share * movement, _elapsed_s=elapsed_s, _pace=pace,
            _arrived=arrived, _movement=movement, _sway=drift, _follower=follower,
        )  # fmt: skip

    def _towards(self, target: Vector, ease_s: float) -> Head:
        """Leave for ``target``, in the shortest time from ``ease_s`` on that is calm enough."""
        position, velocity, acceleration = self._ease.state(self._elapsed_s)
        velocity, acceleration = velocity * self._pace, acceleration * self._pace**2

        def seen(channels: Vector) -> Vector:
            """What the picture shows of base and share, the movement being where it is."""
            picture: Vector = channels[:3] + channels[3] * self._movement
            return picture

        durations: Vector = ease_s * _DURATIONS
        peaks = Ease.peak_speeds(
            seen(target - position), seen(velocity), seen(acceleration), durations
        )
        calm = peaks <= _PLANNED * self.step_deg * FPS
        place = int(np.argmax(calm)) if calm.any() else int(np.argmin(peaks))
        ease = Ease.between(position, velocity, acceleration, target, float(durations[place]))
        return replace(self, _target=target, _ease=ease, _elapsed_s=0.0, _pace=1.0, _arrived=None)


_NATURAL = np.array([0.0, 0.0, 0.0, 1.0])


def _wanted(control: Control) -> Vector:
    """``[4]``: base and share."""
    if control.pose is None:
        return _NATURAL
    return np.array([*control.pose, control.natural])


def _yielding(ratio: float) -> float:
    """Less than 1 and than ``ratio``, close to the smaller one, without a corner."""
    if ratio > 10.0:
        return 1.0
    return ratio / math.pow(1.0 + math.pow(ratio, _SHARPNESS), 1.0 / _SHARPNESS)


class _Follower:
    """A critically damped follower: steps in what it follows become smooth in position and speed.

    Two equal poles; it trails a steady movement by 2 * 0.06 s.
    """

    _KEEP = math.exp(-1.0 / (FPS * _SMOOTHING_S))

    def __init__(self, position: Vector, inner: Vector | None = None) -> None:
        self.position = position
        self._inner = position if inner is None else inner

    def step(self, target: Vector, a: Vector, share: float, longest: float) -> _Follower:
        """One frame on, so that ``|a + share * step| <= longest``; ``a`` alone must be shorter."""
        inner = target + self._KEEP * (self._inner - target)
        step = (1.0 - self._KEEP) * (inner - self.position)
        seen = share * step
        length = float(seen @ seen)
        if length > 0.0:
            along = float(a @ seen)
            room = max(0.0, longest**2 - float(a @ a))
            # The multiple of the step with which the sum is just as long as it may be.
            step = step * _yielding((math.sqrt(along**2 + length * room) - along) / length)
        return _Follower(self.position + step, inner)
