"""The ablations of section 4.3 and Figure 6: three speech2latent models of equal effort.

``reference`` is trained as the recipe says.  ``fixed_cuts`` is the paper's "w/o data aug": speech
is cut at fixed time stamps 20 s apart, features are computed over each whole cut, and nothing is
augmented; its bundle hears the live windows all the same, which is the mismatch that the ablation
shows.  ``no_pose`` has no pose adaptor and no pose loss.  All make the same number of steps of the
same number of frames from the same random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daetalker.models.acoustic import FrontEnd
from daetalker.models.speech2latent import Speech2LatentConfig
from daetalker.models.training.configs import Speech2LatentRecipe
from daetalker.models.training.data import SAMPLES_PER_FRAME, DataError, folder_key
from daetalker.models.training.features import WindowSet
from daetalker.models.training.stages import Stages
from daetalker.models.training.store import cached_rows
from daetalker.models.training.train_speech2latent import (
    HeldOut,
    Speech2LatentTraining,
    train_speech2latent,
)

CUT_FRAMES = 500  # 20 s
HELD_OUT_WINDOWS = 32
MEASURE_EVERY = 10
STEPS = 300
EXPORTED = ("reference", "fixed_cuts")


@dataclass(frozen=True)
class Ablation:
    """One of the three.

    Attributes:
        frames: length of a training sample in video frames.
    """

    name: str
    windows: tuple[WindowSet, ...]
    network: Speech2LatentConfig
    training: Speech2LatentTraining
    frames: int


def fixed_cuts(
    name: str,
    audio: NDArray[np.float32],
    front_end: FrontEnd,
    cache: Path,
    frames: int,
) -> WindowSet:
    """Features of whole cuts at fixed time stamps; the rest at the end is left out.

    Raises:
        DataError: if the recording is shorter than one cut.
    """
    count = len(audio) // (frames * SAMPLES_PER_FRAME)
    if not count:
        raise DataError(
            f"the ablation needs {frames / 25:g} s of training speech; record more of it"
        )
    cuts = audio[: count * frames * SAMPLES_PER_FRAME].reshape(count, -1)

    def rows(start: int, stop: int) -> NDArray[np.float16]:
        return front_end(cuts[start:stop]).numpy().astype(np.float16)

    shape = (count, 2 * frames, front_end.width)
    features = cached_rows(cache / f"{name}.npy", shape, np.float16, rows, chunk=1)
    ends = np.arange(1, count + 1) * frames
    return WindowSet(features, ends, np.full(count, frames))


def thinned(other: HeldOut, count: int) -> HeldOut:
    """About ``count`` windows of a held-out set, evenly spread: quick enough for every log row."""
    pick = slice(None, None, max(1, len(other.windows.ends) // count))
    windows = other.windows
    few = WindowSet(windows.features[pick], windows.ends[pick], windows.history[pick])
    return replace(other, windows=few)


def plan_ablations(
    recipe: Speech2LatentRecipe,
    features: int,
    windows: tuple[WindowSet, ...],
    cuts: WindowSet,
    frames: int,
) -> list[Ablation]:
    """The three, with batches of equal frames: as many cuts as fit the recipe's batch, or one.

    Args:
        features: width of the front-end.
        frames: of a live window.
    """
    cut_frames = int(cuts.history[0])
    count = max(1, recipe.training.batch * frames // cut_frames)
    network = replace(recipe.network, features=features)
    training = replace(recipe.training, batch=max(1, count * cut_frames // frames))
    # In a cut every frame has its right context, so all of them count fully.
    on_cuts = replace(training, batch=count, tail=cut_frames)
    silent = replace(training, alpha=0.0)
    return [
        Ablation("reference", windows, network, training, frames),
        Ablation("fixed_cuts", (cuts,), network, on_cuts, cut_frames),
        Ablation("no_pose", windows, replace(network, pose_adaptor=False), silent, frames),
    ]


def train_ablations(stages: Stages, steps: int | None = None) -> list[Path]:
    """Train the three into RUN/ablations/NAME (resuming them) and export two.

    Bundles need the run's student and a description (``stages.text``); without a description the
    models are trained and no bundle is written.

    Returns:
        The three folders.

    Raises:
        DataError: if the recipe trains on pseudo-sentences, or too little speech is at hand.
    """
    recipe, run = stages.recipe, stages.run
    if not isinstance(recipe.speech2latent, Speech2LatentRecipe):
        raise DataError("the ablations compare ways to train on windows: give --config embedded")
    if steps is not None and steps < 1:
        raise DataError("--steps-ablation must be at least 1")
    material, cfg = stages.material, recipe.window
    key = f"{folder_key(stages.data)}-{recipe.front_end.kind}-cuts"
    audio = material.person.audio
    cuts = fixed_cuts(key, audio, stages.whole_front_end, run.cache, CUT_FRAMES)
    few = replace(
        material, held_out=[thinned(other, HELD_OUT_WINDOWS) for other in material.held_out]
    )
    plan = plan_ablations(
        recipe.speech2latent, stages.front_end.width, tuple(material.windows), cuts, cfg.frames
    )
    folders = []
    for ablation in plan:
        folder = run.folder / "ablations" / ablation.name
        run.view.stage(ablation.name)
        train_speech2latent(
            replace(few, windows=ablation.windows), replace(run, folder=folder), steps or STEPS,
            ablation.network, ablation.training, ablation.frames, cfg.hop, cfg.lookahead,
            live_frames=cfg.frames, measure_every=MEASURE_EVERY,
        )  # fmt: skip
        if ablation.name in EXPORTED and stages.text is not None:
            stages.export(stages.trained_speech(folder), folder / "bundle")
        folders.append(folder)
    if stages.text is None:
        run.view.say("no bundles of the ablations were written: give --text FILE for that")
    return folders
