"""Table 3: how well a frame comes back from its latent, by number of evaluations.

The rows of the teacher and of the student are read from the base figures, which measured them on
the same frames; only the landmark baseline is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from daetalker.models.training.data import Person
from daetalker.models.training.probes import spread
from daetalker.models.training.progress import track
from daetalker.models.training.reconstruct import KEYS, Score, Show, compare, means, to_unit
from daetalker.models.training.tables.baseline import References, warp

STEPS = (1, 2, 4, 10, 50, 100)
BASELINE = "landmarks"
BASELINE_LABEL = "nearest training frame, warped onto the landmarks"


def landmark_baseline(
    references: References, person: Person, score: Score, frames: int, show: Show
) -> dict[str, float]:
    """Figures of the baseline on the frames that the teacher's figures are of."""
    indices = [int(i) for i in spread(len(person.frames), frames)]
    sources = {i: references.nearest(person.landmarks[i]) for i in indices}
    pictures = references.frames(sources.values())
    scores = []
    for index in track(indices, "landmark baseline", len(indices)):
        source = sources[index]
        rgb = warp(pictures[source], references.landmarks[source], person.landmarks[index])
        show(BASELINE, index, rgb)
        scores.append(compare(to_unit(rgb), to_unit(person.frames[index]), person, index, score))
    return means(scores)


def table3(
    base: Mapping[str, Any], steps: Sequence[int], baseline: Mapping[str, float] | str
) -> dict[str, Any]:
    """The table from the base figures.

    Args:
        base: as `reconstruction` returns it; the first of its ``teacher_steps`` has no number in
            its keys.
        baseline: figures, or why there are none.
    """
    rows: list[dict[str, Any]] = []
    if isinstance(baseline, str):
        rows.append(_row(BASELINE_LABEL, "baseline", None, {}) | {"reason": baseline})
    else:
        rows.append(_row(BASELINE_LABEL, "baseline", None, baseline))
    for count in sorted(steps):
        prefix = "teacher_" if count == base.get("teacher_steps") else f"teacher_{count}_steps_"
        if base.get(prefix + KEYS[0]) is not None:
            figures = {key: base[prefix + key] for key in KEYS}
            rows.append(_row(f"DDIM, T = {count}", "teacher", count, figures))
    student = base["student_on_teacher_frames"]
    if student is not None:
        rows.append(_row("student", "student", 1, student))
    result: dict[str, Any] = {"set": base.get("data"), "frames": base["teacher_frames"]}
    most = next((row for row in reversed(rows) if row["kind"] == "teacher"), None)
    if student is not None and most is not None:
        # The student against its teacher at the most evaluations; positive: the student is better.
        result["student_gain_db"] = student["psnr_db"] - most["psnr_db"]
        result["student_gain_lpips"] = most["lpips"] - student["lpips"]
    return {**result, "rows": rows}


def _row(
    label: str, kind: str, evaluations: int | None, figures: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "label": label,
        "kind": kind,
        "evaluations": evaluations,
        **{key: figures.get(key) for key in KEYS},
    }
