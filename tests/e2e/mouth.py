"""What a recording of the page says about the mouth: does it move with the voice, and rest without?

The head sways and the eyes blink also in silence, so pictures are not compared as a whole.  The
measure is the darkness between the lips: pixels of the mouth's region darker than half of the skin
around.  Against the truth of the demo set's test_a (frontal frames) it correlates 0.85 with the lip
opening, and its step from frame to frame with shut lips is 9 % of that in speech.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOUTH_BOX = (0.385, 0.515, 0.235, 0.172)
"""x, y, width, height as shares of the picture; the embedded avatar's mouth within 6 degrees."""

MOUTH_PIXELS = (60, 44)
DARK_SHARE = 0.5
GRID_HZ = 25.0
SETTLE_S = 0.8
"""Next to a change between voice and silence: the lips close after the sound, and open before."""

MAX_LAG_FRAMES = 12


@dataclass(frozen=True)
class Recording:
    """What the page showed and played, one row a displayed frame.

    Attributes:
        time_ms: ``[N]`` when the frame was presented.
        presented: ``[N]`` frames presented since the stream began.
        voice: ``[N]`` RMS of the delayed voice at that moment, 0 to 1.
        mouth: ``[N, 44, 60]`` uint8 luma of the mouth's region.
    """

    time_ms: Floats
    presented: NDArray[np.int64]
    voice: Floats
    mouth: NDArray[np.uint8]


@dataclass(frozen=True)
class Figures:
    """Motions are mean changes of the opening from frame to frame, as shares of the skin's luma."""

    seconds: float
    fps: float
    longest_gap_ms: float
    speech_s: float
    silence_s: float
    speech_motion: float
    silence_motion: float
    correlation: float
    lag_frames: int
    """Of the opening behind the voice, at 25 frames a second, where they correlate best."""


def opening(mouth: NDArray[np.uint8]) -> Floats:
    """How far the mouth is open in each picture.

    Args:
        mouth: ``[N, H, W]`` luma of the mouth's region.

    Returns:
        ``[N]``, from 0; shares of the skin's luma, averaged over the region.
    """
    luma = mouth.reshape(len(mouth), -1).astype(np.float64)
    skin = np.percentile(luma, 70, axis=1, keepdims=True)
    return np.asarray(np.maximum(0.0, DARK_SHARE * skin - luma).mean(1) / skin[:, 0])


def analyse(recording: Recording) -> Figures:
    """All figures of a recording; needs voice and silence in it.

    Raises:
        ValueError: if there are too few frames, or no voice, to say anything.
    """
    time_s = recording.time_ms / 1000
    if len(time_s) < 10 or time_s[-1] <= time_s[0]:
        raise ValueError(f"only {len(time_s)} frames were shown")
    seconds = float(time_s[-1] - time_s[0])
    frames = np.maximum(np.diff(recording.presented), 1)
    gaps_ms = np.diff(recording.time_ms) / frames

    grid_s = np.arange(time_s[0], time_s[-1], 1 / GRID_HZ)
    open_ = np.interp(grid_s, time_s, opening(recording.mouth))
    voice = np.interp(grid_s, time_s, recording.voice)
    loud = float(np.percentile(voice, 95))
    if loud < 1e-3:
        raise ValueError("no voice came back")
    # Between words there is no voice either: a pause is silence only when it lasts.
    spoken = _spread(voice > 0.05 * loud, round(0.4 * GRID_HZ))
    quiet = ~_spread(spoken, round(SETTLE_S * GRID_HZ))
    steps = np.abs(np.diff(open_))
    speech_steps, quiet_steps = steps[spoken[1:]], steps[quiet[1:] & quiet[:-1]]
    # Deep inside of speech only: that both end together is no sign that they move together.
    inside = ~_spread(~spoken, round(0.4 * GRID_HZ) + MAX_LAG_FRAMES)
    correlation, lag_frames = _best_lag(open_, voice, inside)
    return Figures(
        seconds=seconds,
        fps=float(recording.presented[-1] - recording.presented[0]) / seconds,
        longest_gap_ms=float(gaps_ms.max()),
        speech_s=len(speech_steps) / GRID_HZ,
        silence_s=len(quiet_steps) / GRID_HZ,
        speech_motion=float(speech_steps.mean()) if len(speech_steps) else 0.0,
        silence_motion=float(quiet_steps.mean()) if len(quiet_steps) else 0.0,
        correlation=correlation,
        lag_frames=lag_frames,
    )


def _spread(mask: NDArray[np.bool_], frames: int) -> NDArray[np.bool_]:
    """The mask, widened by so many frames on both sides."""
    return np.convolve(mask, np.ones(2 * frames + 1), "same") > 0


def _best_lag(open_: Floats, voice: Floats, where: NDArray[np.bool_]) -> tuple[float, int]:
    """The highest correlation of opening and loudness, and the lag where it is."""
    loudness = np.convolve(np.sqrt(voice), np.ones(3) / 3, "same")
    best = (-1.0, 0)
    for lag in range(-MAX_LAG_FRAMES, MAX_LAG_FRAMES + 1):
        shifted = np.roll(loudness, lag)
        use = where.copy()
        use[:MAX_LAG_FRAMES] = use[len(use) - MAX_LAG_FRAMES :] = False
        if use.sum() < 25 or open_[use].std() < 1e-9 or shifted[use].std() < 1e-9:
            continue
        best = max(best, (float(np.corrcoef(open_[use], shifted[use])[0, 1]), lag))
    return best


# ------------------------------------------------------------------ what must hold

MIN_SPEECH_MOTION = 2.5e-4
MAX_SILENCE_SHARE = 0.35
MIN_CORRELATION = 0.3
"""The demo video itself reaches 0.43 to 0.60 in pieces of 10 s; other speech at most 0.23."""
MAX_SEEN_LAG_FRAMES = 8
MIN_SPEECH_S, MIN_SILENCE_S = 4.0, 1.5
MIN_FPS_TO_JUDGE = 8.0
MIN_FPS_TO_JUDGE_LAG = 15.0
"""A browser starved of processor time shows pictures late without the server being at fault."""


def faults(figures: Figures) -> list[str]:
    """What is wrong with the mouth, a sentence each; empty if it talks as it should."""
    if figures.fps < MIN_FPS_TO_JUDGE:
        return [f"{figures.fps:.1f} frames a second are too few to judge: is the machine busy?"]
    found = []
    if figures.speech_s < MIN_SPEECH_S or figures.silence_s < MIN_SILENCE_S:
        found.append("There was too little voice or too little silence to judge.")
    if figures.speech_motion < MIN_SPEECH_MOTION:
        found.append("The mouth does not move while the voice speaks.")
    elif figures.silence_motion > MAX_SILENCE_SHARE * figures.speech_motion:
        found.append("The mouth moves in silence.")
    elif figures.correlation < MIN_CORRELATION:
        found.append("The mouth moves, but not with the voice.")
    elif figures.fps >= MIN_FPS_TO_JUDGE_LAG and abs(figures.lag_frames) > MAX_SEEN_LAG_FRAMES:
        found.append("The mouth is early or late against the voice.")
    return found


def recording_from(rows: dict[str, Any]) -> Recording:
    """The rows that ``recorder.js`` returns, as arrays."""
    width, height = MOUTH_PIXELS
    mouth = np.frombuffer(bytes.fromhex(rows["mouth"]), np.uint8)
    return Recording(
        np.array(rows["time_ms"], np.float64),
        np.array(rows["presented"], np.int64),
        np.array(rows["voice"], np.float64),
        mouth.reshape(-1, height, width),
    )
