"""A program for `test_resume.py`: trains in peace, then again under SIGKILL at random moments.

It imports torch once and forks, so that twenty deaths take seconds.  The folder given holds the
data, the recipe and the weights; `peace/` and `war0/`, `war1/`, ... are made in it.
"""

import itertools
import json
import os
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path

import torch

from daetalker.models.training import cli, loop
from daetalker.models.training.loop import Run

STAGES = ("start", "autoencoder", "latents", "speech2latent", "student")
LEARNING = ("autoencoder", "speech2latent", "student")


def argv(folder: Path, run: str) -> list[str]:
    steps = [f"--steps-{name}=24" for name in LEARNING]
    return [
        str(folder / "data"), "-o", str(folder / run), "--config", str(folder / "tiny.toml"),
        "--weights", str(folder / "weights"), "--no-export", *steps,
    ]  # fmt: skip


def begin(arguments: list[str]) -> int:
    """Train in a child of our own; its process id."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process lives
        os._exit(cli.main(arguments))
    return child


def finish(child: int) -> float:
    began = time.monotonic()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "training failed"
    return time.monotonic() - began


def stage_of(run: Path) -> str:
    """The stage that a killed run was in, by what lies there."""
    for name, trace in (
        ("student", "cache/predicted-*"),
        ("speech2latent", "probe.pt*"),
        ("latents", "cache/*logmel*"),
        ("autoencoder", "plan.json"),
    ):
        if any(run.glob(trace)):
            return name
    return "start"


def shown_steps(folder: Path) -> list[int]:
    """The steps that TensorBoard shows a learning rate for."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.step for event in events.Scalars("rate")]


def watch(child: int, run: Path, stage: str) -> bool:
    """Wait until ``run`` has come to ``stage``; False if the training ends before."""
    while STAGES.index(stage_of(run)) < STAGES.index(stage):
        if ended(child):
            return False
        time.sleep(0.01)
    return True


def ended(child: int) -> bool:
    done, status = os.waitpid(child, os.WNOHANG)
    assert not done or os.waitstatus_to_exitcode(status) == 0, "training failed"
    return bool(done)


def in_peace(folder: Path) -> dict[str, float]:
    """Train without a kill; seconds that each stage took."""
    child, seconds = begin(argv(folder, "peace")), {}
    for stage, later in itertools.pairwise(STAGES):
        began = time.monotonic()
        assert watch(child, folder / "peace", later)
        seconds[stage] = time.monotonic() - began
    return {**seconds, STAGES[-1]: finish(child)}


def main() -> None:
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    loop.LOG_EVERY = 1
    cli.SHORTEST_S = 1.0
    setattr(cli, "Run", partial(Run, save_every_s=0.1))  # noqa: B010 - it is a class elsewhere
    chance = random.Random(int(sys.argv[3]))
    seconds = in_peace(folder)
    starting_s = finish(begin(argv(folder, "peace")))  # nothing is left to do
    # Every stage has its share of the kills, so that none escapes on a machine that is busy.
    wanted = [STAGES[1 + number * (len(STAGES) - 1) // kills] for number in range(kills)]
    killed: list[str] = []
    rounds = 0
    while len(killed) < kills:
        run = folder / f"war{rounds}"
        rounds += 1
        while len(killed) < kills:
            stage, fresh = wanted[len(killed)], stage_of(run) != wanted[len(killed)]
            child = begin(argv(folder, run.name))
            if fresh and not watch(child, run, stage):
                break
            part = chance.uniform(0, 0.4 * seconds[stage])
            time.sleep(part if fresh else chance.uniform(0.5, 1.0) * starting_s + part)
            if ended(child):
                break
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed.append(stage_of(run))
        finish(begin(argv(folder, run.name)))
    board = {
        f"war{number}/{name}": shown_steps(folder / f"war{number}/tensorboard/{name}")
        for number in range(rounds)
        for name in LEARNING
    }
    print(json.dumps({"stages": killed, "rounds": rounds, "board": board}))


if __name__ == "__main__":
    main()
