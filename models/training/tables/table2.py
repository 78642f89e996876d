"""Table 2, ablations: one shared x_T or new noise for each frame; pseudo-sentences or fixed cuts.

The paper says of the first that frames jump and lip figures stay, so change of the still regions
is what tells; a decoder for which c decides the whole picture would show neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.models.training.probes import mean, ratio
from daetalker.models.training.progress import track
from daetalker.models.training.reconstruct import Network
from daetalker.models.training.tables.take import Take
from daetalker.models.training.tables.variants import decode

JITTER_BAR = 3.0
NOT_TRAINED = (
    "not measured: needs the bundles of `daetalker train DATA -o RUN --stage ablations`, "
    "named by --ablations RUN/ablations"
)


def steadiness(take: Take) -> dict[str, float]:
    """How much a take trembles: still regions, whole picture, head."""
    return {
        "jitter_levels": take.jitter_levels,
        "flicker_levels": take.flicker_levels,
        "pose_jerk_deg": take.pose_jerk_deg,
    }


def noise_sweep(
    bundle: AvatarBundle,
    teacher: Network,
    latents: NDArray[np.float32],
    still: NDArray[np.bool_],
    steps: Sequence[int],
) -> dict[str, dict[str, float]]:
    """Both ways of drawing x_T on the same neighbouring latents ``[N, D]``, before rounding.

    Returns:
        By number of evaluations: change of still regions a frame, second difference of the whole
        picture (``*_flicker_levels``), and how far apart the two pictures of one latent are,
        everything in levels of 255.
    """
    result = {}
    for count in track(steps, "x_T shared and not", len(steps)):
        shared, fresh = (
            np.stack([d.exact for d in decode(bundle, teacher, latents, count, shared=way)])
            for way in (True, False)
        )
        change = [_jitter(pictures, still) for pictures in (shared, fresh)]
        flicker = [float(np.abs(np.diff(p, n=2, axis=0)).mean()) for p in (shared, fresh)]
        result[str(count)] = {
            "shared_jitter_levels": change[0],
            "fresh_jitter_levels": change[1],
            "jitter_ratio": ratio(change[1], change[0]),
            "shared_flicker_levels": flicker[0],
            "fresh_flicker_levels": flicker[1],
            "apart_levels": mean(np.abs(shared - fresh).mean((1, 2, 3))),
        }
    return result


def explain(
    sweep: Mapping[str, Mapping[str, float]], shared: Take, fresh: Take, truth: Take, steps: int
) -> str:
    """What new noise a frame does to this decoder, in a few sentences with their numbers.

    Args:
        sweep: see `noise_sweep`.
        shared: a stretch decoded from one x_T in ``steps`` evaluations; ``fresh`` from new noise.
        truth: the true video of that stretch.
    """
    times = ratio(fresh.jitter_levels, shared.jitter_levels)
    found = (
        f"With T = {steps}, new noise for each frame makes still regions change {times:.3g} times "
        f"as much as the shared x_T does ({fresh.jitter_levels:.3g} against "
        f"{shared.jitter_levels:.3g} levels a frame; the true video, with its compression noise: "
        f"{truth.jitter_levels:.3g})"
    )
    if times >= JITTER_BAR:
        return f"{found}: the bar of {JITTER_BAR:g} times is met."
    latent = shared.latents.shape[1]
    most, least = max(sweep, key=int), min(sweep, key=int)
    return (
        f"{found}: less than {JITTER_BAR:g} times.  The reason is this decoder: c, "
        f"{latent} numbers for one person's head, decides nearly all of the picture, and "
        f"over many evaluations x_T is forgotten.  Two noises give pictures of one latent that are "
        f"{sweep[most]['apart_levels']:.2g} levels apart with T = {most}, but "
        f"{sweep[least]['apart_levels']:.2g} with T = {least}, where still regions change "
        f"{sweep[least]['jitter_ratio']:.3g} times as much.  So the shared x_T matters where the "
        "student works."
    )


def _jitter(pictures: NDArray[np.float32], still: NDArray[np.bool_]) -> float:
    if not still.any() or len(pictures) < 2:
        return float("nan")
    return float(np.abs(np.diff(pictures, axis=0))[:, still].mean())
