"""The last figures of every stage's log, to be quoted in the bundle that the run exports."""

from __future__ import annotations

import json
from pathlib import Path

LEARNING = ("autoencoder", "speech2latent", "student")
_PROGRESS = {"rate", "grad", "left_min"}


def training_figures(run: Path) -> dict[str, dict[str, float]]:
    """By stage, the newest value of each figure in ``run/STAGE.jsonl``; no log, no figures.

    Held-out figures carry the names that the stage gives them; the others are means over the last
    steps.
    """
    found: dict[str, dict[str, float]] = {}
    for stage in LEARNING:
        log = run / f"{stage}.jsonl"
        figures: dict[str, float] = {}
        for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
            try:
                row = json.loads(line)
            except ValueError:  # a kill in the middle of a line
                continue
            numbers = {k: v for k, v in row.items() if isinstance(v, int | float)}
            figures |= {k: v for k, v in numbers.items() if k not in _PROGRESS}
        if figures:
            found[stage] = {key: float(f"{value:.6g}") for key, value in figures.items()}
    return found
