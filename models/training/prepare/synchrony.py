"""Each clip's audio-video offset, and what to do about it.

Clips of one camera share an offset, so all are heard together; a clip that is long enough to be
heard alone, and says something else with confidence, is believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from daetalker.models.training.data import FPS, SAMPLES_PER_FRAME, DataError
from daetalker.models.training.prepare.measure import Measures
from daetalker.models.training.prepare.offset import (
    CREDIBLE,
    Profile,
    blocks,
    lag_profile,
    offset_of,
)
from daetalker.models.training.prepare.sound import Sound

BLOCK_S, LISTEN_S, ALONE_S = 20, 300, 30
MARGIN = FPS  # frames of sound heard before and after a block
# Half a frame: what the estimate itself may be wrong by is not worth moving sound for.
IN_STEP_MS = 20.0
# A clip's own offset counts if it is further than this from the common one.
APART_MS = 40.0
# With so much speech, less agreement than this means that another voice is heard.
FOREIGN, FOREIGN_S = 0.15, 45.0


@dataclass(frozen=True)
class Offset:
    """What was found of one recording, or of all together.

    Attributes:
        found_ms: by how much the sound comes after the picture; NaN if nothing was heard.
        confidence: correlation of lips heard and lips seen.
        seconds: heard for it.
        moved_ms: by how much the sound is moved forward.
    """

    found_ms: float
    confidence: float
    seconds: float
    moved_ms: float


def synchronise(
    heard: list[Sound],
    seen: list[Measures],
    pieces: list[list[tuple[int, int]]],
    asked_ms: float | None,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Offset, list[Offset], list[str]]:
    """The common offset, each clip's, and warnings.

    Args:
        pieces: kept pieces of each clip.
        asked_ms: the user's own figure, or None to find and judge one.

    Raises:
        DataError: if the voice is not that of the lips.
    """
    listen = blocks(
        ((i, a, b) for i, of_clip in enumerate(pieces) for a, b in of_clip),
        BLOCK_S * FPS,
        LISTEN_S * FPS,
    )
    profiles: list[Profile | None] = [None] * len(heard)
    for done, (i, start, stop) in enumerate(listen):
        profile = _profile(heard[i], seen[i], start, stop)
        before = profiles[i]
        profiles[i] = profile if before is None else before + profile
        tick(done + 1, len(listen))
    there = [profile for profile in profiles if profile is not None]
    if not there:
        nothing = Offset(float("nan"), 0.0, 0.0, asked_ms or 0.0)
        return nothing, [nothing] * len(heard), []
    found_ms, confidence = offset_of(sum(there[1:], there[0]))
    seconds = sum(profile.seconds for profile in there)
    common = Offset(found_ms, confidence, seconds, _move(found_ms, confidence, asked_ms))
    warnings = [] if asked_ms is not None else _judge(common)
    each = []
    for of_clip in profiles:
        own_ms, own = offset_of(of_clip) if of_clip is not None else (float("nan"), 0.0)
        own_s = of_clip.seconds if of_clip is not None else 0.0
        alone = own_s >= ALONE_S and own >= CREDIBLE and abs(own_ms - found_ms) > APART_MS
        moved = _move(own_ms, own, asked_ms) if alone else common.moved_ms
        each.append(Offset(own_ms, own, own_s, moved))
    if len({offset.moved_ms for offset in each}) > 1:
        warnings.append(
            "the clips have different audio-video offsets; each was corrected by its own"
        )
    return common, each, warnings


def _profile(heard: Sound, seen: Measures, start: int, stop: int) -> Profile:
    """The block's comparison, with sound from before and after it."""
    low, high = max(0, start - MARGIN), min(len(seen), stop + MARGIN)
    opening = np.full(high - low, np.nan, np.float32)
    opening[start - low : stop - low] = seen.opening[start:stop]
    samples = heard.samples[low * SAMPLES_PER_FRAME : high * SAMPLES_PER_FRAME]
    return lag_profile(samples, opening, FPS)


def _move(found_ms: float, confidence: float, asked_ms: float | None) -> float:
    if asked_ms is not None:
        return asked_ms
    return round(found_ms, 1) if confidence >= CREDIBLE and abs(found_ms) > IN_STEP_MS else 0.0


def _judge(common: Offset) -> list[str]:
    if common.confidence >= CREDIBLE:
        return []
    if common.confidence < FOREIGN and common.seconds >= FOREIGN_S:
        raise DataError(
            "the voice does not fit the lips (dubbed, another speaker, or more than 0.7 s apart): "
            "use the camera's own sound, or pass --offset-ms 0 to take it as it is"
        )
    return [
        f"the audio-video offset could not be told (correlation {common.confidence:.2f}) and the "
        "sound was left as it is: look at the result, and pass --offset-ms if lips and voice differ"
    ]
