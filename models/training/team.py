"""The processes that train together, their device and arithmetic.

Started plainly there is one process and nothing here costs anything.  Under `torchrun` or
`accelerate launch` each process draws its own share of every batch and gradients are averaged by
hand after the backward pass: the stages call submodules one by one and rest some of them half way,
which a wrapper such as DistributedDataParallel would have to be told about, and the checkpoints
keep the names of the bare modules.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import Tensor, nn

# One process fills the caches while the others wait, which may take hours on a slow machine.
PATIENCE = timedelta(hours=12)


def best_device() -> torch.device:
    """CUDA if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half_type(device: torch.device) -> torch.dtype:
    """bfloat16, except on GPUs that lack it: float16 with a scaled loss."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16


def autocast(device: torch.device) -> torch.autocast:
    """Mixed precision as every stage uses it."""
    return torch.autocast(device.type, half_type(device))


@dataclass(frozen=True)
class Team:
    """One process's view of all of them."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=best_device)

    @property
    def main(self) -> bool:
        """Whether this process logs, measures, saves and exports."""
        return self.rank == 0

    def share(self, count: int) -> int:
        """This process's part of ``count`` samples, rounded up."""
        return -(-count // self.size)

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def average_gradients(self, modules: nn.Module) -> None:
        """Replace every gradient by its mean over the processes, in one exchange."""
        if self.size == 1:
            return
        from accelerate.utils import reduce

        grads = [p.grad for p in modules.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in grads])
        mean = reduce(flat, "mean")
        for grad, part in zip(grads, mean.split([g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over the processes."""
        if self.size == 1:
            return values
        from accelerate.utils import reduce

        result: Tensor = reduce(values, "mean")
        return result

    def disband(self) -> None:
        """At the end: no process waits for us any more."""
        if self.size > 1:
            torch.distributed.destroy_process_group()

    def scaler(self) -> torch.amp.GradScaler:
        """Scales the loss where float16 is all there is; passes everything through elsewhere."""
        needed = half_type(self.device) is torch.float16
        return torch.amp.GradScaler(self.device.type, enabled=needed)


def assemble() -> Team:
    """The team that `torchrun` or `accelerate launch` describes in the environment, or just us.

    Raises:
        ImportError: if several processes were started and `accelerate` is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return Team()
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    return Team(state.process_index, state.num_processes, state.device)
