"""What every training stage shares: steps, learning rate, EMA, checkpoints, log.

The random numbers of a step come from (seed, stage, step, process) alone and a checkpoint holds all
that a step changes, so a run killed at any moment and resumed makes the steps it would have made.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from daetalker.models.training.board import Board
from daetalker.models.training.data import DataError
from daetalker.models.training.ema import Ema
from daetalker.models.training.log import Log
from daetalker.models.training.progress import View
from daetalker.models.training.store import cached_rows, load_state, save_state
from daetalker.models.training.team import Team

LOG_EVERY = 10
WARM_UP_STEPS = 200

_M = TypeVar("_M", bound=nn.Module)


class TrainingError(DataError):
    """Training cannot go on; the message says where it stands and what to do."""


@dataclass
class Rehearsal:
    """A few timed steps that leave nothing behind, for the plan.

    Attributes:
        steps: how many at most; the first is not counted, it warms things up.
        patience_s: no further step is begun after this time.
        seconds: filled with the duration of each.
    """

    steps: int = 4
    patience_s: float = 15.0
    seconds: list[float] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether enough is known."""
        return len(self.seconds) >= self.steps or sum(self.seconds) > self.patience_s

    @property
    def step_s(self) -> float:
        """Seconds a step: the median of all but the first."""
        return float(np.median(self.seconds[1:] or self.seconds))


@dataclass(frozen=True)
class Run:
    """Where and how a stage runs.

    Attributes:
        folder: of checkpoints and logs.
        seed: of all random numbers.
        team: the processes that train together.
        view: where progress is shown.
        save_every_s: longest time between checkpoints, which are made at logged steps only.
        rehearsal: if given, the stage makes only its few steps and saves nothing.
    """

    folder: Path
    seed: int = 0
    team: Team = field(default_factory=Team)
    view: View = field(default_factory=View)
    save_every_s: float = 60.0
    rehearsal: Rehearsal | None = None

    def rng(self, stage: str, step: int = -1) -> np.random.Generator:
        """The numbers of one step of ``stage`` (-1: of its preparation); seeds torch likewise."""
        name = int.from_bytes(hashlib.sha256(stage.encode()).digest()[:4])
        numbers, weights = np.random.SeedSequence(
            [self.seed, name, step + 1, self.team.rank if step >= 0 else 0]
        ).spawn(2)
        torch.manual_seed(int(weights.generate_state(1, np.uint64)[0] >> 1))
        return np.random.default_rng(numbers)

    def rows(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: type,
        compute: Callable[[int, int], NDArray[Any]],
        chunk: int,
        progress: Callable[[int, int], None],
    ) -> NDArray[Any]:
        """:func:`store.cached_rows` in the run's cache: the main process computes, all read.

        Args:
            name: ends in a dash and a digest; files of other digests are superseded and deleted.
        """
        if self.rehearsal is not None:
            return compute(0, shape[0])
        path = self.cache / f"{name}.npy"
        if self.team.main:
            for old in self.cache.glob(f"{name.rsplit('-', 1)[0]}-*"):
                if not old.name.startswith(name):
                    old.unlink()
            cached_rows(path, shape, dtype, compute, chunk, progress)
        self.team.wait()
        return cached_rows(path, shape, dtype, compute, chunk)

    @property
    def cache(self) -> Path:
        """Folder of everything that can be computed again."""
        return self.folder / "cache"


@dataclass(frozen=True)
class Step:
    """One step of a loop.

    Attributes:
        number: steps made before it.
        share: the share of the stage made before it, in [0, 1).
        rng: its random numbers; torch is seeded too.
    """

    number: int
    share: float
    rng: np.random.Generator


def place(module: _M, device: torch.device) -> _M:
    """Move a module and lay its convolutions out with channels last, which CPUs like best."""
    module = module.to(device)
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def rate_at(step: int, steps: int) -> float:
    """Share of the peak learning rate: warm-up, level, and from 30 % on a cosine to 2 %."""
    warm = min(1.0, (step + 1) / min(WARM_UP_STEPS, max(1, steps // 10)))
    late = max(0.0, step / steps - 0.3) / 0.7
    return warm * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * late)))


class Loop:
    """One stage's steps, checkpoint and log, resumable at any moment.

    Iterating yields a :class:`Step` until all are made, those before an interruption included.

    Args:
        run: its folder holds ``NAME.pt`` (checkpoint) and ``NAME.jsonl`` (log).
        modules: what to checkpoint and average; an :class:`Ema` is kept.
        steps: of the whole stage.
        rate: peak learning rate.
        decay: of the averaged weights.
        schedule: step and steps to the share of ``rate``.
        samples: of one step, over all processes, for the samples a second that are shown.
        measure: held-out figures, taken every ``measure_every`` steps and at the end, by the main
            process alone.
    """

    def __init__(
        self,
        name: str,
        run: Run,
        modules: nn.Module,
        optimizer: torch.optim.Optimizer,
        steps: int,
        rate: float,
        decay: float = 0.999,
        schedule: Callable[[int, int], float] = rate_at,
        samples: int = 1,
        measure: Callable[[], dict[str, float]] | None = None,
        measure_every: int = 400,
    ) -> None:
        self.name, self.run, self.modules, self.optimizer = name, run, modules, optimizer
        self.steps, self.rate, self.samples = steps, rate, samples
        self.measure, self.measure_every = measure, measure_every
        self.schedule = schedule
        self.ema = Ema(modules, decay)
        self.scaler = run.team.scaler()
        self.step, self.spent_s = 0, 0.0
        self.path, self._rows = run.folder / f"{name}.pt", Log(run.folder / f"{name}.jsonl")
        self._totals: dict[str, Tensor] = {}
        self._counted, self._started = 0, time.monotonic()
        self.board = Board(None)
        if run.rehearsal is not None:
            return
        if self.path.exists():
            self._resume()
        run.team.wait()  # nobody saves before everybody has read
        if run.team.main:
            run.folder.mkdir(parents=True, exist_ok=True)
            self._rows.forget_after(self.step)
            if self.step < steps:
                self.board = Board(run.folder / "tensorboard" / name, self.step)

    def __iter__(self) -> Iterator[Step]:
        rehearsal, team = self.run.rehearsal, self.run.team
        saved = began = time.monotonic()
        self._started = began - self.spent_s
        while self.step < self.steps and not (rehearsal and rehearsal.over):
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * self.schedule(self.step, self.steps)
            rng = self.run.rng(self.name, self.step)
            yield Step(self.step, self.step / self.steps, rng)
            self.ema.update(self.modules)
            self.step += 1
            if rehearsal is not None:
                now = time.monotonic()
                rehearsal.seconds.append(now - began)
                began = now
                continue
            self.run.view.step(self.step, self.steps, self.samples)
            logged = self.step % LOG_EVERY == 0 or self.step == self.steps
            figures = self._means() if logged else {}
            if team.main and (self.step % self.measure_every == 0 or self.step == self.steps):
                figures |= self._measured()
            if figures:
                self.note(**figures)
            if team.main and logged and time.monotonic() - saved > self.run.save_every_s:
                self.save()
                saved = time.monotonic()
        self.save()
        self.board.close()
        team.wait()

    def learn(self, loss: Tensor | Iterable[Tensor]) -> None:
        """One optimiser step: gradients averaged over the team, norm clipped at 1.

        Args:
            loss: or its summands one after the other, each freed before the next is computed.
        """
        self.optimizer.zero_grad(set_to_none=True)
        for part in [loss] if isinstance(loss, Tensor) else loss:
            self.scaler.scale(part).backward()
        self.run.team.average_gradients(self.modules)
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def log(self, **values: Tensor) -> None:
        """Accumulate figures (the first is the main loss); every tenth step writes their means."""
        self._counted += 1
        for key, value in values.items():
            value = value.detach().float()
            self._totals[key] = self._totals[key] + value if key in self._totals else value

    def note(self, **values: float) -> None:
        """Write figures that are not averages, such as held-out measurements."""
        if not self.run.team.main or self.run.rehearsal is not None:
            return
        minutes = round((time.monotonic() - self._started) / 60, 2)
        self._rows.add({"step": self.step, "minutes": minutes, **values})
        self.board.scalars(values, self.step)

    def save(self) -> None:
        """Write the checkpoint; a kill at any moment leaves the old or the new one."""
        if self.run.rehearsal is not None or not self.run.team.main:
            return
        self.board.flush()
        self.spent_s = time.monotonic() - self._started
        save_state(
            self.path,
            {
                "modules": self.modules.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "ema": self.ema.state_dict(),
                "step": self.step,
                "spent_s": self.spent_s,
            },
        )

    def _resume(self) -> None:
        state = load_state(self.path, self.name)
        self.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state.get("scaler", {}))
        self.ema.load_state_dict(state["ema"])
        self.step, self.spent_s = state["step"], state["spent_s"]

    def _means(self) -> dict[str, float]:
        """The row of means since the last one."""
        if not self._counted:
            return {}
        keys = list(self._totals)
        means = self.run.team.mean(torch.stack(list(self._totals.values())) / self._counted)
        figures = dict(zip(keys, means.tolist(), strict=True))
        self._totals, self._counted = {}, 0
        if not all(math.isfinite(value) for value in figures.values()):
            raise TrainingError(self._diverged())
        self.run.view.loss(keys[0], figures[keys[0]])
        rate = self.optimizer.param_groups[0]["lr"]
        return {key: round(value, 6) for key, value in figures.items()} | {"rate": rate}

    def _measured(self) -> dict[str, float]:
        """Held-out figures, for the same row."""
        if self.measure is None:
            return {}
        figures = self.measure()
        self.run.view.held_out(figures)
        return figures

    def _diverged(self) -> str:
        text = f"{self.name}: the loss is not a number at step {self.step}; "
        if self.path.exists():
            step = load_state(self.path, self.name)["step"]
            return text + f"{self.path} holds step {step}: lower the stage's rate and go on from it"
        return text + "no checkpoint was made yet: lower the stage's rate in the configuration"
