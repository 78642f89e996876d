"""Weights that others published as pickled tensors, read without running what a pickle may hold."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from daetalker.models.training.landmarks import MeasureError

# What torch raises for files that are no pickle, are cut off, or hold more than tensors.
_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    TypeError,
    AttributeError,
    ValueError,
    pickle.UnpicklingError,
)


def load_state(
    network: nn.Module, path: Path, what: str, may_miss: Callable[[str], bool] = lambda name: False
) -> None:
    """Fill ``network`` from a state dictionary, on the CPU; it is then ready to be used.

    Args:
        what: name of the network and of its public file, for the message.
        may_miss: whether the file may lack the tensor of this name.

    Raises:
        MeasureError: if the file is missing or does not hold exactly this network.
    """
    if not path.is_file():
        raise MeasureError(f"there is no file {path}; pass the path of {what}")
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        missing, unknown = network.load_state_dict(state, strict=False)
    except _UNREADABLE as error:
        raise MeasureError(f"{path} does not hold {what}; pass the public file") from error
    if unknown or not all(map(may_miss, missing)):
        raise MeasureError(f"{path} does not hold {what}; pass the public file")
    network.eval().requires_grad_(False)
