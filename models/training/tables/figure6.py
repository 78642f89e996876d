"""Figure 6: the held-out error of predicted latents while training, with and without pose adaptor.

Read from the logs that `daetalker train --stage ablations` writes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from daetalker.models.training.data import DataError

CURVES = ("reference", "no_pose")
LOG = "speech2latent.jsonl"
SUFFIX = "_latent"
Points = list[list[float]]


def figure6(ablations: Path) -> dict[str, dict[str, Points]]:
    """Set name to curve name to points ``[step, mean square error]``.

    Raises:
        DataError: if a log is missing or holds no held-out losses.
    """
    logs = {name: _read(ablations / name / LOG) for name in CURVES}
    sets = [key for key in logs[CURVES[0]] if key in logs[CURVES[1]]]
    if not sets:
        raise DataError(
            f"the logs in {ablations} hold no held-out latent losses; run "
            "`daetalker train DATA -o RUN --stage ablations` to its end"
        )
    return {key.removesuffix(SUFFIX): {name: logs[name][key] for name in CURVES} for key in sets}


def gap(curves: dict[str, Points]) -> dict[str, float]:
    """The last losses of one set's curves and how many times smaller the pose adaptor makes it."""
    with_pose, without = (curves[name][-1][1] for name in CURVES)
    return {
        "steps": curves[CURVES[0]][-1][0],
        "with_pose_adaptor": with_pose,
        "without": without,
        "times_smaller": without / with_pose if with_pose > 0 else math.nan,
    }


def _read(path: Path) -> dict[str, Points]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise DataError(
            f"{path} is missing: --ablations names the folder RUN/ablations of a training run"
        ) from None
    curves: dict[str, Points] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row: dict[str, Any] = json.loads(line)
            step = float(row["step"])
        except (ValueError, KeyError, TypeError):
            if number == len(lines):  # a run that was killed while it wrote
                break
            raise DataError(f"{path}, line {number}: expected a JSON object with a step") from None
        for key, value in row.items():
            if key.endswith(SUFFIX) and isinstance(value, int | float):
                curves.setdefault(key, []).append([step, float(value)])
    return curves
