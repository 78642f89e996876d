"""Findings of `daetalker doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Status"]

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        fix: what to do; empty if all is well.
    """

    name: str
    status: Status
    message: str
    fix: str = ""
