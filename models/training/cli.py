"""`daetalker train`: from a prepared folder to an avatar, all stages in order or one alone.

A run can be stopped at any moment; the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import errno
import sys
import time
from pathlib import Path

import numpy as np
import torch

from daetalker.models.training.ablations import train_ablations
from daetalker.models.training.data import DataError, sets_of, train_set_of
from daetalker.models.training.description import read_description
from daetalker.models.training.loop import Run
from daetalker.models.training.plan import (
    LEARNING,
    announce,
    budget,
    check_space,
    open_plan,
    rehearse,
    remaining_s,
)
from daetalker.models.training.progress import Terminal, View
from daetalker.models.training.recipes import load_recipe
from daetalker.models.training.stages import STAGES, Stages
from daetalker.models.training.team import Team, assemble

SHORTEST_S = 30.0


def parser() -> argparse.ArgumentParser:
    """The options of `daetalker train`."""
    p = argparse.ArgumentParser(prog="daetalker train", description=__doc__.split("\n")[0])
    p.add_argument("data", type=Path, metavar="DATA",
                   help="what `daetalker prepare` made, or one set of that kind")  # fmt: skip
    p.add_argument("-o", "--run", type=Path, required=True, metavar="RUN",
                   help="folder of checkpoints, logs and, at the end, the bundle")  # fmt: skip
    p.add_argument("--config", default="embedded", metavar="NAME",
                   help="embedded, paper or a TOML file (default: embedded)")  # fmt: skip
    p.add_argument("--stage", choices=(*STAGES, "ablations", "all"), default="all",
                   help="what to run (default: all but the ablations)")  # fmt: skip
    p.add_argument("--minutes", type=float, metavar="N",
                   help="how long this may take, turned into steps once")  # fmt: skip
    for name in (*LEARNING, "ablation"):
        p.add_argument(f"--steps-{name}", type=int, metavar="N",
                       help=f"steps of {name}, whatever time they take")  # fmt: skip
    p.add_argument("--text", type=Path, metavar="FILE",
                   help="TOML or JSON that names the avatar and says who agreed to what; needed "
                   "to export, see docs/your-avatar.md")  # fmt: skip
    p.add_argument("--no-export", action="store_true", help="stop before the export")
    p.add_argument("--held-out", type=Path, nargs="*", metavar="SET",
                   help="sets to measure on while training (default: DATA/test*)")  # fmt: skip
    p.add_argument("--weights", type=Path, metavar="DIR",
                   help="folder of Whisper and LPIPS (default: $DAETALKER_WEIGHTS, else fetched "
                   "once into ~/.cache/daetalker/weights)")  # fmt: skip
    p.add_argument("--estimate", action="store_true", help="say how long it would take, and stop")
    p.add_argument("--threads", type=int, metavar="N", help="CPU threads")
    return p


def stages_of(args: argparse.Namespace, team: Team) -> tuple[Stages, tuple[str, ...]]:
    """The stages that ``args`` describe, and the names of those to run."""
    names: tuple[str, ...] = STAGES if args.stage == "all" else (args.stage,)
    if args.no_export:
        names = tuple(name for name in names if name != "export")
    recipe = load_recipe(args.config)
    data = train_set_of(args.data)
    held_out = args.held_out
    if held_out is None:
        held_out = [] if data == args.data else sets_of(args.data)
    view = Terminal(names) if team.main else View()
    run = Run(args.run, recipe.seed, team, view)
    return Stages(recipe, run, data, held_out, args.weights, args.text), names


def check(stages: Stages, names: tuple[str, ...]) -> None:
    """Everything that can be wrong is found now, not after an hour.

    Raises:
        DataError: saying what is wrong and what to do.
    """
    data, recipe, run = stages.data, stages.recipe, stages.run
    if "export" in names:
        if stages.text is None:
            raise DataError(
                "an avatar is exported with --text FILE, which says what it is called and who "
                "agreed to what (docs/your-avatar.md has one to copy); to train without, give "
                "--no-export"
            )
        read_description(stages.text)
    if set(names) & {"autoencoder", "student"}:
        _ = stages.lpips
    width = stages.front_end.width
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise DataError(f"{run.folder} is a file; give -o a folder") from None
    with np.load(data / "truth.npz") as truth:
        frames = len(truth["pose_deg"]) if "pose_deg" in truth else 0
    seconds = frames / 25
    if seconds < SHORTEST_S:
        raise DataError(
            f"{data} holds {seconds:.0f} s of video: an avatar needs a few minutes; record more "
            "and run `daetalker prepare` again"
        )
    check_space(run.folder, recipe, frames, width)
    for person in (stages.person, *stages.others):
        if not (np.isfinite(person.pose_deg).all() and np.isfinite(person.landmarks).all()):
            raise DataError(f"{data}: truth.npz holds numbers that are not finite; prepare it anew")
    for folder, other in zip(stages.held_out, stages.others, strict=True):
        if len(other.frames) < recipe.window.frames:
            raise DataError(f"{folder} is shorter than a window of {recipe.window.frames} frames")
    if not stages.shut.any():
        raise DataError(
            f"{data}: the mouth is never shut, and silence would have no picture; record 20 s of "
            "silence and run `daetalker prepare` again"
        )


def train(args: argparse.Namespace, team: Team) -> None:
    """Check, plan, and run the stages asked for."""
    stages, names = stages_of(args, team)
    view = stages.run.view
    if team.main:
        view.say(f"reading {stages.data} ...")
        check(stages, names)
    team.wait()
    recipe, run = stages.recipe, args.run
    plan = open_plan(run, recipe, stages.data)
    asked = {name: getattr(args, f"steps_{name}") for name in LEARNING if name in names}
    asked = {name: steps for name, steps in asked.items() if steps is not None}
    if any(steps < 1 for steps in asked.values()) or (args.minutes or 1) <= 0:
        raise DataError("a budget must be above 0")
    if args.minutes and all(name in plan.steps for name in names if name in LEARNING):
        view.say(f"{run / 'plan.json'} keeps the steps planned before; --minutes changes nothing")
    untimed = [
        name for name in names
        if name in (*LEARNING, "latents")
        and ("window" if name == "latents" else name) not in plan.rates
    ]  # fmt: skip
    if untimed:
        view.say("timing a few steps of each stage ...")
        plan.rates.update(rehearse(stages, untimed))
    budget(plan, recipe, len(stages.person.frames), names, args.minutes, asked)
    team.wait()
    if team.main and not args.estimate:
        plan.save(run)
    team.wait()
    plan = plan if args.estimate else open_plan(run, recipe, stages.data)
    left_s = remaining_s(plan, run, names)
    view.say(announce(plan, left_s, time.time()))
    if args.estimate:
        return
    stages.steps = plan.steps
    for number, name in enumerate(names):
        if name == "ablations":
            train_ablations(stages, args.steps_ablation)
            continue
        view.stage(name, sum(left_s.get(later, 0.0) for later in names[number + 1 :]))
        getattr(stages, name)()


def main(argv: list[str]) -> int:
    """Run the stages that ``argv`` asks for; 0 on success, 2 on a user's mistake."""
    args = parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    team = assemble()
    try:
        train(args, team)
    except KeyboardInterrupt:
        print("daetalker train: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except (DataError, FileNotFoundError, PermissionError) as error:
        return _sorry(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _sorry(f"the disk that holds {args.run} is full: make room, the same command goes "
                      "on from the last checkpoint")  # fmt: skip
    team.disband()
    return 0


def _sorry(message: str) -> int:
    print(f"daetalker train: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
