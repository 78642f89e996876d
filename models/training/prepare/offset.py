"""How late the sound is after the picture: lips seen, against lips as any voice would move them.

The embedded avatar's acoustic front-end hears the sound; a linear read-out of its features, fitted
once on the many voices of the demo set (`offset_fit`), says how open the lips should be.  The lag
at which that agrees best with the opening measured in the picture is the offset.  The demo set is
rendered, so there the lag is zero by construction, and zero means the same here: frame f shows
the middle of its own 640 samples.

Shapes: N samples at 16 kHz, T frames, M steps of 20 ms, L lags of 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import find_avatar
from daetalker.models.mel import log_mel
from daetalker.models.training.data import SAMPLE_RATE

READER = Path(__file__).with_name("offset_reader.npz")
STEP = SAMPLE_RATE // 50  # samples of one feature
WINDOW = 2 * SAMPLE_RATE
MIDDLE = slice(25, 75)  # a window's features of which both sides were heard
CONTEXT = 2
RATE = 100  # lags a second
SEARCH_MS = 800
# Slower than this lips tell expression and head, not speech.
SLOW_S = 1.0
# Peak correlations: mismatched minutes reach 0.15, real speech 0.4 to 0.9 (docs/prepare.md).
CREDIBLE = 0.3


@dataclass(frozen=True)
class Profile:
    """Sums from which the correlation at each lag follows; recordings add up.

    Attributes:
        product, heard, seen: ``[L]`` of prediction and opening, of each one's square.
        seconds: of opening that went in.
    """

    product: NDArray[np.float64]
    heard: NDArray[np.float64]
    seen: NDArray[np.float64]
    seconds: float

    def __add__(self, other: Profile) -> Profile:
        return Profile(
            self.product + other.product,
            self.heard + other.heard,
            self.seen + other.seen,
            self.seconds + other.seconds,
        )

    @property
    def correlation(self) -> NDArray[np.float64]:
        """``[L]`` in [-1, 1]."""
        return self.product / np.maximum(np.sqrt(self.heard * self.seen), 1e-12)


def estimate_offset_ms(
    audio: NDArray[np.float32], opening: NDArray[np.float32], fps: float
) -> tuple[float, float]:
    """By how many milliseconds the sound comes after the picture, and how sure that is.

    Args:
        audio: ``[N]`` in [-1, 1] at 16 kHz; sample 0 belongs to the start of frame 0.
        opening: ``[T]`` gap of the lips in any unit, NaN where unknown.
        fps: frames a second of ``opening``.

    Returns:
        Offset, positive if the sound is late (move it forward by as much to correct), and
        confidence: the correlation there, in [-1, 1]; below `CREDIBLE` the offset means nothing.
    """
    return offset_of(lag_profile(audio, opening, fps))


def offset_of(profile: Profile) -> tuple[float, float]:
    """Offset in milliseconds and confidence; see `estimate_offset_ms`."""
    curve = profile.correlation
    best = int(curve.argmax())
    if best in (0, len(curve) - 1):  # the true peak, if any, lies outside: nothing was found
        return float(_lags()[best]) * 1000 / RATE, 0.0
    before, peak, after = curve[best - 1 : best + 2]
    bend = before - 2 * peak + after
    part = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float((_lags()[best] + part) * 1000 / RATE), float(peak)


def lag_profile(audio: NDArray[np.float32], opening: NDArray[np.float32], fps: float) -> Profile:
    """Compare one recording with itself at every lag of the search; see `estimate_offset_ms`."""
    reach = int(_lags()[-1])
    count = int(len(opening) * RATE / fps)
    grid = (np.arange(count) + 0.5) / RATE
    known = ~np.isnan(opening)
    if known.sum() < 2 or len(audio) < STEP:
        nothing = np.zeros(2 * reach + 1)
        return Profile(nothing, nothing, nothing, 0.0)
    predicted = read_opening(audio)
    frame_times = (np.arange(len(opening)) + 0.5) / fps
    seen = np.interp(grid, frame_times[known], opening[known])
    # A step counts if both frames around it are known.
    mask = np.interp(grid, frame_times, known.astype(np.float64)) > 0.999
    wide = (np.arange(count + 2 * reach) - reach + 0.5) / RATE
    heard = np.interp(wide, (np.arange(len(predicted)) + 0.5) * STEP / SAMPLE_RATE, predicted)
    seen = np.where(mask, _without_slow(seen, mask), 0.0)
    heard = _without_slow(heard, np.ones(len(heard), np.bool_))
    weight = mask.astype(np.float64)
    product = np.correlate(heard, seen, mode="valid")
    energy = np.correlate(heard**2, weight, mode="valid")
    return Profile(product, energy, np.full(len(product), (seen**2).sum()), mask.sum() / RATE)


def read_opening(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """``[N]`` at 16 kHz to the lip opening it should come with, ``[M]`` every 20 ms."""
    features = with_context(speech_features(audio))
    with np.load(READER) as reader:
        opening: NDArray[np.float64] = features @ reader["weight"].astype(np.float64)
        return opening + float(reader["bias"])


def speech_features(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[N]`` to ``[M, C]``, M > 0: features of windows of 2 s, the middle second of each."""
    network = _front_end()
    raw = network.get_inputs()[0].name == "samples"
    steps = len(audio) // STEP
    padded = np.pad(audio, (MIDDLE.start * STEP, WINDOW))
    parts = []
    for start in range(0, steps, MIDDLE.stop - MIDDLE.start):
        window = padded[start * STEP : start * STEP + WINDOW]
        heard = {"samples": window[None]} if raw else {"mel": log_mel(window)[None]}
        (features,) = network.run(None, heard)
        parts.append(features[0, MIDDLE])
    return np.concatenate(parts)[:steps]


def with_context(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[M, C]`` to ``[M, 5 C]``: each step with the two before and after it."""
    padded = np.pad(features, ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    around = [padded[shift : shift + len(features)] for shift in range(2 * CONTEXT + 1)]
    return np.concatenate(around, axis=1)


def blocks(
    pieces: Iterable[tuple[int, int, int]], frames: int, total: int
) -> list[tuple[int, int, int]]:
    """At most about ``total`` frames of (clip, first, past the last), spread over all pieces.

    Args:
        frames: length of a block at most.
    """
    cut = [
        (clip, start, min(start + frames, stop))
        for clip, first, stop in pieces
        for start in range(first, stop, frames)
    ]
    whole = sum(stop - start for _, start, stop in cut)
    if whole <= total:
        return cut
    count = max(1, int(len(cut) * total / whole))
    return [cut[i] for i in np.linspace(0, len(cut) - 1, count).round().astype(int)]


def _lags() -> NDArray[np.int64]:
    reach = SEARCH_MS * RATE // 1000
    return np.arange(-reach, reach + 1)


def _without_slow(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values less their running mean over the steps in ``mask``."""
    window = np.ones(int(SLOW_S * RATE) | 1)
    total = np.convolve(np.where(mask, values, 0.0), window, mode="same")[: len(values)]
    count = np.convolve(mask.astype(np.float64), window, mode="same")[: len(values)]
    return values - total / np.maximum(count, 1.0)


@lru_cache(maxsize=1)
def _front_end() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = find_avatar("mira") / "acoustic.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
