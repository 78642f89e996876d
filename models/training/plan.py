"""Budgets: minutes become steps once, by a few timed steps, and stay in ``RUN/plan.json``.

Budgets are steps so that a run that is killed and resumed is the run it would have been; minutes
would make every pause and every busy neighbour part of the result.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from daetalker.models.speech2latent import Speech2Latent
from daetalker.models.training.configs import Recipe, flat
from daetalker.models.training.data import DataError
from daetalker.models.training.features import WindowSet
from daetalker.models.training.log import Log
from daetalker.models.training.loop import Rehearsal
from daetalker.models.training.progress import View, spell_time
from daetalker.models.training.stages import STAGES, Stages
from daetalker.models.training.store import write_whole
from daetalker.models.training.train_speech2latent import Material

LEARNING = ("autoencoder", "speech2latent", "student")
FEWEST_STEPS = 10
REHEARSAL_FRAMES = 200
REHEARSAL_WINDOWS = 64
MEASURING = 1.03  # held-out figures and checkpoints, seen to take about 3 %
EXPORT_S = 60.0


@dataclass
class Plan:
    """What a run folder is for.

    Attributes:
        settings: every field of the recipe by its dotted key, budgets left out.
        data: what the training set holds.
        steps: of every stage planned so far.
        rates: seconds of one step of each stage, and of one window of acoustic features.
        estimate_s: seconds of every stage planned so far.
    """

    recipe: str
    settings: dict[str, Any]
    seed: int
    data: dict[str, Any]
    steps: dict[str, int] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    estimate_s: dict[str, float] = field(default_factory=dict)

    def save(self, run: Path) -> None:
        write_whole(run / "plan.json", (json.dumps(asdict(self), indent=2) + "\n").encode())


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON knows it, without its name and budgets."""
    kept = {
        key: value
        for key, value in flat(recipe).items()
        if key != "name" and key.rsplit(".", 1)[-1] not in ("steps", "minutes")
    }
    kept["student.training.steps"] = recipe.student.training.steps  # DDIM evaluations, no budget
    result: dict[str, Any] = json.loads(json.dumps(kept))
    return result


def identify(data: Path) -> dict[str, Any]:
    """What tells one training set from another, wherever it lies."""
    total = hashlib.sha256()
    for name in ("audio.wav", "truth.npz"):
        total.update((data / name).read_bytes())
    size = (data / "video.mp4").stat().st_size
    return {"folder": str(data), "sha256": total.hexdigest(), "video_bytes": size}


def open_plan(run: Path, recipe: Recipe, data: Path) -> Plan:
    """The plan in ``run``, or a new one.

    Raises:
        DataError: if ``run`` belongs to another recipe or other data.
    """
    fresh = Plan(recipe.name, settings_of(recipe), recipe.seed, identify(data))
    path = run / "plan.json"
    if not path.exists():
        return fresh
    try:
        plan = Plan(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}); give -o another folder") from None
    if any(plan.data[key] != fresh.data[key] for key in ("sha256", "video_bytes")):
        raise DataError(
            f"{run} was begun with other data ({plan.data['folder']}): "
            "give that again, or give -o another folder"
        )
    for key in sorted(plan.settings.keys() & fresh.settings.keys()):
        old, new = plan.settings[key], fresh.settings[key]
        if old != new:
            raise DataError(
                f"{run} was begun with another configuration ({key} was {old!r}, is {new!r}): "
                "give the --config of then, or give -o another folder"
            )
    return plan


def rehearse(stages: Stages, names: Sequence[str]) -> dict[str, float]:
    """Seconds a step of the named stages, on the real networks and this machine.

    Latents and features do not exist yet; random ones take the same time.
    """
    person, cfg = stages.person.first(REHEARSAL_FRAMES), stages.recipe.window
    device, rng = stages.run.team.device, np.random.default_rng(0)
    rates: dict[str, float] = {}
    if "latents" in names:
        heard = person.audio[: cfg.frames * 640]
        batch = np.repeat(np.resize(heard, cfg.frames * 640)[None], 16, 0)
        stages.front_end(batch)
        began = time.monotonic()
        stages.front_end(batch)
        rates["window"] = (time.monotonic() - began) / len(batch)
    shape = (REHEARSAL_WINDOWS, 2 * cfg.frames, stages.front_end.width)
    ends = rng.integers(cfg.frames, len(person.frames) + 1, REHEARSAL_WINDOWS)
    windows = WindowSet(
        rng.standard_normal(shape).astype(np.float16), ends, np.full(len(ends), cfg.frames)
    )
    latents = torch.randn(len(person.frames), stages.recipe.latent)
    material = Material(person, latents, [windows])
    with tempfile.TemporaryDirectory() as folder:
        for name in LEARNING:
            if name not in names:
                continue
            # Together all must stop at the same step, whatever their clocks say.
            timed = Rehearsal(patience_s=15.0 if stages.run.team.size == 1 else math.inf)
            run = replace(stages.run, folder=Path(folder), view=View(), rehearsal=timed)
            if name == "autoencoder":
                stages.learn_autoencoder(run, person, None, 1000)
            elif name == "speech2latent":
                stages.learn_speech2latent(run, material, 1000)
            else:
                auto = stages.new_autoencoder().to(device)
                speech = Speech2Latent(stages.speech_config())
                few = replace(stages.recipe.student.training, ends=4, steps=1)
                brief = replace(stages, recipe=replace(
                    stages.recipe, student=replace(stages.recipe.student, training=few)
                ))  # fmt: skip
                brief.__dict__["lpips"] = stages.lpips
                brief.__dict__["front_end"] = stages.front_end
                brief.learn_student(run, material, auto, speech, None, 1000)
            rates[name] = timed.step_s
    return rates


def preparing_s(recipe: Recipe, frames: int, rates: Mapping[str, float]) -> dict[str, float]:
    """Seconds of what is computed once, reckoned from the seconds a step.

    Forward and backward take three times a forward pass; a training frame of the image stages
    takes about four decoder evaluations, LPIPS included.
    """
    windows = frames / recipe.window.step + recipe.window.augmented + recipe.window.quiet
    auto = rates.get("autoencoder", 0.0) / recipe.autoencoder.training.batch
    speech = rates.get("speech2latent", 0.0) / recipe.speech2latent.training.batch
    student = recipe.student.training
    image = rates.get("student", 0.0) / (student.real + student.predicted + student.teacher)
    return {
        "latents": windows * rates.get("window", 0.0) + frames * auto / 8,
        "student": windows * speech / 3 + student.ends * student.steps * image / 4,
        "export": EXPORT_S,
    }


def budget(
    plan: Plan,
    recipe: Recipe,
    frames: int,
    names: Sequence[str],
    minutes: float | None,
    asked: Mapping[str, int],
) -> None:
    """Fill in ``plan.steps`` and ``plan.estimate_s`` of the named stages.

    Steps already planned stay unless ``asked`` names others; ``minutes`` are shared among the
    stages that are not planned yet as the recipe shares its own.
    """
    before = preparing_s(recipe, frames, plan.rates)
    plan.steps.update(asked)
    open_ = [name for name in LEARNING if name in names and name not in plan.steps]
    usual = {name: float(getattr(recipe, name).minutes) * 60 for name in LEARNING}
    if minutes is not None:
        fixed = sum(before[name] for name in names if name in before)
        left = minutes * 60 - fixed
        if open_ and left <= 0:
            raise DataError(
                f"{minutes:g} min are too few: what is computed before the learning takes about "
                f"{spell_time(fixed)}"
            )
        share = sum(usual[name] for name in open_)
        usual = {name: left * usual[name] / share for name in open_}
    for name in open_:
        own = int(getattr(recipe, name).steps)
        if minutes is None and own:
            plan.steps[name] = own
        else:
            seconds = usual[name] if minutes is not None else usual[name] - before.get(name, 0.0)
            count = seconds / (plan.rates[name] * MEASURING)
            plan.steps[name] = max(FEWEST_STEPS, round(count))
    for name in names:
        if name in STAGES:
            learning = plan.steps.get(name, 0) * plan.rates.get(name, 0.0) * MEASURING
            plan.estimate_s[name] = round(learning + before.get(name, 0.0), 1)


def remaining_s(plan: Plan, run: Path, names: Sequence[str]) -> dict[str, float]:
    """Seconds that the named stages still need, what their logs show as done left out."""
    left = {name: plan.estimate_s[name] for name in names if name in plan.estimate_s}
    for name in LEARNING:
        rows = Log(run / f"{name}.jsonl").rows()
        if name in left and rows:
            left[name] *= max(0.0, 1.0 - rows[-1]["step"] / plan.steps[name])
    if any((run / "cache").glob("predicted-*")):  # the student has begun
        left.pop("latents", None)
    return left


def announce(plan: Plan, left_s: Mapping[str, float], now: float) -> str:
    """``about 1 h 50 min: autoencoder 62 min (2400 steps), ...; ends about 14:05``."""
    parts = []
    for name, seconds in left_s.items():
        steps = f" ({plan.steps[name]} steps)" if name in plan.steps else ""
        parts.append(f"{name} {spell_time(seconds)}{steps}")
    total = sum(left_s.values())
    end = time.strftime("%H:%M", time.localtime(now + total))
    return f"about {spell_time(total)}: {', '.join(parts)}; ends about {end}"


def check_space(run: Path, recipe: Recipe, frames: int, width: int) -> None:
    """Raise DataError if the disk cannot hold what a run of ``frames`` frames keeps."""
    windows = frames / recipe.window.step + recipe.window.augmented + recipe.window.quiet
    student, latent = recipe.student.training, recipe.latent
    need = 3 * frames * recipe.size**2 + windows * 4 * recipe.window.frames * width
    need += 6 * student.ends * recipe.size**2 + windows * recipe.window.hop * latent * 4
    cache = run / "cache"
    have = sum(file.stat().st_size for file in cache.glob("*.npy")) if cache.is_dir() else 0
    free = shutil.disk_usage(run).free
    if need - have + 500e6 > free:
        raise DataError(
            f"{run} has {free / 1e9:.1f} GB free, and this training keeps about "
            f"{(need - have + 500e6) / 1e9:.1f} GB: make room, or give -o a folder elsewhere"
        )
