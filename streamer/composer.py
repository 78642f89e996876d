"""Composer: the pure stages in order, from speech to the plan of each frame.

The session and the offline render both drive it and run the networks between its steps, the one
awaiting, the other not; everything that decides what a frame looks like is here or in the
networks.  L is the look-ahead, D the width of a latent, W the window's length in frames.

Silence has latents of its own, made from the hidden states of digital silence and the same
control.  Where a frame is partly speech, both are made and blended by the gate's weight; the
weights are final when they are used, so each kind is cross-faded with its own kind only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import Manifest
from daetalker.streamer.control import Control
from daetalker.streamer.director import Director
from daetalker.streamer.gate import VoiceGate
from daetalker.streamer.media import VideoFrame
from daetalker.streamer.profile import Profile
from daetalker.streamer.smoother import Smoother, mix
from daetalker.streamer.windower import Window, Windower

__all__ = ["Composer", "Cue", "FramePlan"]

# How far the lips are on their way to rest in the first frames after an interruption: shut within
# 80 ms, about as fast as lips close for a p.
_CLOSING = (0.7, 1.0)


@dataclass(frozen=True, eq=False)
class Cue:
    """A window and how much of it is speech.

    Attributes:
        weights: ``[hop]`` float32 in [0, 1], for the emitted frames.
    """

    window: Window
    weights: NDArray[np.float32]

    @property
    def has_speech(self) -> bool:
        """True if the speech networks are needed, False if cached silence will do."""
        return bool(np.any(self.weights > 0.0))

    @property
    def has_silence(self) -> bool:
        """True if the latents of silence are needed."""
        return bool(np.any(self.weights < 1.0))

    def silenced(self) -> Cue:
        """The same frames without the speech."""
        return replace(self, weights=np.zeros_like(self.weights))


@dataclass(frozen=True, eq=False)
class FramePlan:
    """Everything about a frame but its pixels; see `VideoFrame`."""

    index: int
    latent: NDArray[np.float32]
    pose: tuple[float, float, float]
    speaking: bool


class Composer:
    """Pure: `hear`, then for each cue in order `steer` and `blend`."""

    def __init__(self, manifest: Manifest, profile: Profile) -> None:
        """A composer at sample 0 that has heard silence."""
        self._hop = profile.hop_frames
        self._ahead = profile.lookahead_frames
        self._window_frames = manifest.window_frames
        self._windower = Windower(profile, manifest.window_frames)
        self._gate = VoiceGate(profile.lookahead_frames)
        self._director = Director(
            manifest.pose_range_deg, profile, manifest.window_frames, manifest.natural_step_deg
        )
        self._spoken_seams = Smoother(profile, eager=True)
        self._silent_seams = Smoother(profile, eager=True)
        self._weights = np.zeros(0, np.float32)
        self._steering = np.zeros((manifest.window_frames, 4), np.float32)
        self.next_frame = 0

    @property
    def next_window_frame(self) -> int:
        """First frame of the window that the next samples complete."""
        return self._windower.next_frame

    def hear(self, samples: NDArray[np.float32], muted: bool = False) -> list[Cue]:
        """Hear ``[N]`` samples at 16 kHz; returns the cues they complete.

        Args:
            muted: True to hear silence instead, at once.
        """
        if muted:
            samples = np.zeros_like(samples)
        weights = self._gate.push(samples, muted)
        return self._cues(self._windower.push(samples), weights)

    def silence(self) -> None:
        """Forget all speech not yet emitted; positions stay."""
        self._windower.silence()
        self._gate.silence()
        self._weights = np.zeros_like(self._weights)

    def steer(
        self,
        cue: Cue,
        spoken_pose: NDArray[np.float32] | None,
        silent_pose: NDArray[np.float32],
        control: Control,
    ) -> NDArray[np.float32]:
        """Decide the head's movement over a cue; returns the control ``[W, 4]`` for its latents.

        Args:
            spoken_pose: ``[W, 3]`` degrees as predicted from the speech; None without speech.
            silent_pose: ``[W, 3]`` degrees as predicted from digital silence.
        """
        first = self._window_frames - self._hop - self._ahead
        # Silence is the same at all times, so is its pose; rows differ by edge effects only.
        resting = np.repeat(silent_pose.mean(axis=0, keepdims=True), self._hop + self._ahead, 0)
        predicted = resting
        if spoken_pose is not None:
            share = np.pad(cue.weights, (0, self._ahead), mode="edge")[:, None]
            predicted = mix(resting, spoken_pose[first:], share)
        self._steering = self._director.plan(cue.window.first_frame, predicted, control)
        return self._steering

    def blend(
        self,
        cue: Cue,
        spoken: NDArray[np.float32] | None,
        silent: NDArray[np.float32] | None,
    ) -> list[FramePlan]:
        """Make the final latents of a cue's emitted frames.

        Args:
            spoken: ``[W, D]`` latents of the speech, None if the cue has none.
            silent: ``[W, D]`` latents of silence, None if the cue has none.
        """
        first = cue.window.first_frame
        if first != self.next_frame:  # windows were left out: nothing foreseen fits
            self._spoken_seams.reset()
            self._silent_seams.reset()
        self.next_frame = first + self._hop
        talking = self._join(self._spoken_seams, spoken)
        resting = self._join(self._silent_seams, silent)
        if talking is None or resting is None:
            latents = talking if resting is None else resting
            assert latents is not None, "a cue is speech or silence"
        else:
            latents = mix(resting, talking, cue.weights[:, None])
        return [
            self._plan(first + i, latents[i], bool(cue.weights[i] > 0.5)) for i in range(self._hop)
        ]

    def fall_silent(self, shown: VideoFrame | None, silent: NDArray[np.float32]) -> list[FramePlan]:
        """Plan already composed frames again, after an interruption: the mouth closes.

        The head moves as it was planned.

        Args:
            shown: what is on the screen, if anything; the frames after it are planned again.
            silent: ``[W, D]`` latents of silence with the control that `steering` gives.
        """
        self._spoken_seams.reset()
        self._silent_seams.reset(silent[-self._ahead :])
        first_row = self.next_frame + self._ahead - self._window_frames
        plans: list[FramePlan] = []
        first_frame = max(shown.index + 1 if shown else 0, first_row)
        for frame in range(first_frame, self.next_frame):
            latent = silent[frame - first_row]
            if shown is not None:
                place = min(frame - shown.index, len(_CLOSING)) - 1
                latent = mix(shown.latent, latent, np.array(_CLOSING[place], np.float32))
            plans.append(self._plan(frame, latent, speaking=False))
        return plans

    @property
    def steering(self) -> NDArray[np.float32]:
        """The control ``[W, 4]`` of the cue last steered."""
        return self._steering

    @property
    def released(self) -> bool:
        """True if the control last steered with is over: the head has gone back to the speech."""
        return self._director.released

    def _cues(self, windows: list[Window], weights: NDArray[np.float32]) -> list[Cue]:
        self._weights = np.concatenate([self._weights, weights])
        cues: list[Cue] = []
        for window in windows:
            # The gate looks ahead as far as the windower does, so these weights are final.
            cues.append(Cue(window, self._weights[: self._hop]))
            self._weights = self._weights[self._hop :]
        return cues

    def _join(
        self, seams: Smoother, latents: NDArray[np.float32] | None
    ) -> NDArray[np.float32] | None:
        if latents is None:
            seams.reset()
            return None
        return seams.push(latents[-(self._hop + self._ahead) :])[: self._hop]

    def _plan(self, frame: int, latent: NDArray[np.float32], speaking: bool) -> FramePlan:
        row = self._steering[frame - (self.next_frame + self._ahead - self._window_frames)]
        pose = (float(row[0]), float(row[1]), float(row[2]))
        return FramePlan(frame, latent, pose, speaking)
