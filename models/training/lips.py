"""How well lips follow speech: pure functions on lip openings and phone times.

An *opening* is one number a frame, ``[T]``: the gap of the inner lips over a length of the face,
NaN where it was not measured.  Frame f covers [f, f + 1) / 25 s.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.data import FPS, DataError

Opening = NDArray[np.floating]

BILABIAL = frozenset({"P", "B", "M"})
OPEN_VOWELS = frozenset({"AA", "AE", "AH", "AO", "AW", "AY", "EH"})
NARROW = BILABIAL | {"F", "V", "W", "SIL"}
MAX_LAG_FRAMES = 5
SHUT_SHARE = 0.2


@dataclass(frozen=True)
class Phone:
    """One aligned phone: ARPAbet without stress, ``SIL`` for silence."""

    start_s: float
    end_s: float
    name: str

    def frames(self, count: int, widen: int = 0) -> slice:
        """The frames it touches, ``widen`` more on either side, inside [0, count)."""
        first = int(np.floor(self.start_s * FPS + 1e-6)) - widen
        last = int(np.ceil(self.end_s * FPS - 1e-6)) + widen
        return slice(min(max(first, 0), count), min(max(last, 0), count))


def read_phones(path: Path) -> list[Phone]:
    """Read ``phones.csv`` (start_s, end_s, phone).

    Raises:
        DataError: naming the line that cannot be read.
    """
    phones = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                phones.append(Phone(float(row["start_s"]), float(row["end_s"]), row["phone"]))
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{path}, line {number}: expected start_s, end_s and phone"
                ) from error
    return phones


def vowels_in_the_open(phones: Sequence[Phone]) -> list[Phone]:
    """Open vowels with no neighbour that narrows the lips: the control of the closures."""
    inner = zip(phones, phones[1:], phones[2:], strict=False)
    return [
        here
        for before, here, after in inner
        if here.name in OPEN_VOWELS and before.name not in NARROW and after.name not in NARROW
    ]


def pauses(phones: Sequence[Phone], min_s: float = 0.4, trim_s: float = 0.12) -> list[Phone]:
    """Long silences, ``trim_s`` shorter on either side: lips move before and after speech."""
    return [
        Phone(p.start_s + trim_s, p.end_s - trim_s, p.name)
        for p in phones
        if p.name == "SIL" and p.end_s - p.start_s >= max(min_s, 2 * trim_s)
    ]


def mask_of(phones: Collection[Phone], count: int, widen: int = 0) -> NDArray[np.bool_]:
    """``[count]`` True on the frames that any of ``phones`` touches."""
    mask = np.zeros(count, bool)
    for phone in phones:
        mask[phone.frames(count, widen)] = True
    return mask


def correlation(a: Opening, b: Opening, lag: int = 0) -> float:
    """Pearson correlation of ``a[t + lag]`` and ``b[t]`` over measured frames; NaN if undefined."""
    shifted = a[max(lag, 0) : len(a) + min(lag, 0)]
    other = b[max(-lag, 0) : len(b) - max(lag, 0)]
    both = np.isfinite(shifted) & np.isfinite(other)
    x, y = shifted[both].astype(np.float64), other[both].astype(np.float64)
    if x.size < 3 or x.std() < 1e-9 or y.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def best_lag(a: Opening, b: Opening, reach: int = MAX_LAG_FRAMES) -> float:
    """The lag in frames, -reach to reach, of the highest correlation; positive if ``a`` is late."""
    lags = sorted(range(-reach, reach + 1), key=abs)
    scores = [correlation(a, b, lag) for lag in lags]
    if not np.isfinite(scores).any():
        return float("nan")
    return float(lags[int(np.nanargmax(scores))])


def shut_threshold(opening: Opening, phones: Sequence[Phone]) -> float:
    """The opening under which lips count as shut, from the measured *true* video; NaN if unclear.

    One fifth of the way from the usual opening in p, b, m (median of each phone's least) to that in
    open vowels (median of each vowel's frames).  On the demo set this is a gap of about one pixel
    at 256x256, against four in a usual open vowel.
    """
    count = len(opening)
    shut = [_least(opening[p.frames(count)]) for p in phones if p.name in BILABIAL]
    wide = opening[mask_of(vowels_in_the_open(phones), count)]
    if not np.isfinite(shut).any() or not np.isfinite(wide).any():
        return float("nan")
    low, high = float(np.nanmedian(shut)), float(np.nanmedian(wide))
    return low + SHUT_SHARE * (high - low) if high > 2 * low else float("nan")


def closed_share(opening: Opening, phones: Sequence[Phone], threshold: float) -> float:
    """Share of ``phones`` during which, or within one frame of which, the lips are shut.

    Phones with no measured frame are left out; NaN if none is left.
    """
    least = np.array([_least(opening[p.frames(len(opening), widen=1)]) for p in phones])
    least = least[np.isfinite(least)]
    if not least.size or not np.isfinite(threshold):
        return float("nan")
    return float((least < threshold).mean())


def movement(opening: Opening, where: NDArray[np.bool_], shut: float | None = None) -> float:
    """Mean change of the opening between neighbouring frames in ``where``; NaN if there is none.

    The median of three frames is taken first: it halves the measure's own trembling and leaves
    speech about as it is.

    Args:
        shut: openings below this count as equal, so that only what is seen of the gap moves.
    """
    if shut is not None:
        opening = np.maximum(opening, shut)
    if len(opening) >= 3:
        middle = np.median(np.stack([opening[:-2], opening[1:-1], opening[2:]]), axis=0)
        opening = np.concatenate([opening[:1], middle, opening[-1:]])
    steps = np.abs(np.diff(opening))[where[1:] & where[:-1]]
    steps = steps[np.isfinite(steps)]
    return float(steps.mean()) if steps.size else float("nan")


def pink_noise(samples: int, level_dbfs: float, seed: int) -> NDArray[np.float32]:
    """``[samples]`` of 1/f noise with the given root mean square, the sound of a quiet room."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(np.arange(spectrum.size), 1))
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum, samples)
    scale = 10.0 ** (level_dbfs / 20.0) / max(float(np.sqrt((noise**2).mean())), 1e-12)
    return (noise * scale).astype(np.float32)


def _least(values: Opening) -> float:
    values = values[np.isfinite(values)]
    return float(values.min()) if values.size else float("nan")
