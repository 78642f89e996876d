"""What every training stage shares: clock, learning rate, EMA, checkpoints, log, progress line."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

_M = TypeVar("_M", bound=nn.Module)


def best_device() -> torch.device:
    """CUDA if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place(module: _M, device: torch.device) -> _M:
    """Move a module and lay its convolutions out with channels last, which CPUs like best."""
    module = module.to(device)
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


class Ema:
    """Exponential moving average of a module's parameters.

    The average warms up: after n updates its decay is at most (1 + n) / (10 + n).
    """

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.updates = 0
        self.shadow = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for key, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self.shadow[key].lerp_(value, 1.0 - decay)
            else:
                self.shadow[key].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]
        for key, value in state["shadow"].items():
            self.shadow[key].copy_(value)


class Loop:
    """One stage's clock, checkpoint and log, resumable at any moment.

    Iterating yields the fraction of the time budget spent, in [0, 1), once per step, until the
    budget is used up.  Time spent before an interruption counts.

    Args:
        run: folder for ``NAME.pt`` (checkpoint, written beside and renamed) and ``NAME.jsonl``.
        modules: what to checkpoint; an :class:`Ema` is kept of ``averaged``.
        minutes: wall-clock budget of the whole stage.
        rate: peak learning rate; warms up over 200 steps and decays by a cosine to 2 %.
    """

    def __init__(
        self,
        name: str,
        run: Path,
        modules: nn.Module,
        optimizer: torch.optim.Optimizer,
        minutes: float,
        rate: float,
        save_every_s: float = 120.0,
    ) -> None:
        self.name, self.run, self.modules, self.optimizer = name, run, modules, optimizer
        self.budget_s, self.rate, self.save_every_s = minutes * 60.0, rate, save_every_s
        self.ema = Ema(modules)
        self.step = 0
        self.spent_s = 0.0
        run.mkdir(parents=True, exist_ok=True)
        self.path = run / f"{name}.pt"
        self._totals: dict[str, float] = {}
        self._counted = 0
        if self.path.exists():
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            modules.load_state_dict(state["modules"])
            optimizer.load_state_dict(state["optimizer"])
            self.ema.load_state_dict(state["ema"])
            self.step, self.spent_s = state["step"], state["spent_s"]
            print(f"{name}: resumed at step {self.step}, {self.spent_s / 60:.1f} min", flush=True)

    def __iter__(self) -> Iterator[float]:
        last = saved = shown = time.monotonic()
        while self.spent_s < self.budget_s:
            fraction = self.spent_s / self.budget_s
            warm = min(1.0, (self.step + 1) / 200.0)
            cosine = 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * max(0.0, fraction - 0.3) / 0.7))
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * warm * cosine * group.get("scale", 1.0)
            yield fraction
            self.ema.update(self.modules)
            self.step += 1
            now = time.monotonic()
            self.spent_s += now - last
            last = now
            if now - shown > 10.0:
                self._show()
                shown = now
            if now - saved > self.save_every_s:
                self.save()
                saved = time.monotonic()
        self.save()

    def log(self, **values: float) -> None:
        """Accumulate figures; their means are printed and written every ten seconds."""
        self._counted += 1
        for key, value in values.items():
            self._totals[key] = self._totals.get(key, 0.0) + value

    def note(self, **values: float) -> None:
        """Write figures that are not averages, such as held-out measurements."""
        row = {"step": self.step, "minutes": round(self.spent_s / 60, 2), **values}
        with (self.run / f"{self.name}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        text = " ".join(f"{k} {v:.4g}" for k, v in row.items())
        print(f"{self.name}: {text}", file=sys.stdout, flush=True)

    def _show(self) -> None:
        if self._counted:
            means = {k: round(v / self._counted, 5) for k, v in self._totals.items()}
            self.note(left_min=round((self.budget_s - self.spent_s) / 60, 1), **means)
        self._totals, self._counted = {}, 0

    def save(self) -> None:
        """Write the checkpoint atomically; a kill at any moment leaves the old or the new one."""
        partial = self.path.with_suffix(".part")
        torch.save(
            {
                "modules": self.modules.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "ema": self.ema.state_dict(),
                "step": self.step,
                "spent_s": self.spent_s,
            },
            partial,
        )
        os.replace(partial, self.path)
