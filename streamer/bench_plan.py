"""What a bench is to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.bench_network import Network

__all__ = ["BenchPlan"]


@dataclass(frozen=True)
class BenchPlan:
    """What to measure.

    Attributes:
        seconds: measured time, after two seconds of settling.
        voice: ``[N]`` int16 mono 48 kHz, repeated if it is shorter.
        audio: what the voice is, for the report.
        check_s: seconds whose frames are compared with the offline render; 0 leaves that out.
        clients: people who talk at the same time, each with a session of its own.
        network: poor network that the media goes through; None for the plain loopback.
        load: busy processes beside the server in the middle third of the time.
        log: folder for the raw times and voices; None to forget them.
        onsets: beginnings of speech whose first moving frame is looked for; 0 leaves that out.
        seed: for the dice of the network.
    """

    seconds: float
    voice: NDArray[np.int16]
    audio: str
    check_s: float = 8.0
    clients: int = 1
    network: Network | None = None
    load: int = 0
    log: Path | None = None
    onsets: int = 8
    seed: int = 1
