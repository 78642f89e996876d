"""Table 1: do the lips follow the speech?  Ours in both decoders, the truth, and two controls.

The controls are videos that the student makes of wrong sound, the same audio six frames late and
audio from elsewhere in the set, judged like all rows against the true sound and the true video.  A
measure of sync on which they do not lose measures something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

TRUTH, DECODER, STUDENT, STRETCH = "truth", "paper_decoder", "student", "student_on_stretch"
SHIFTED, OTHER = "control_shifted", "control_other_sentence"
CONTROLS: dict[str, Literal["shifted", "foreign"]] = {SHIFTED: "shifted", OTHER: "foreign"}
LABELS = {
    TRUTH: "true video",
    DECODER: "ours, paper's decoder (T = {steps})",
    STRETCH: "ours, student on that stretch",
    STUDENT: "ours, student (1 evaluation)",
    SHIFTED: "control: audio 6 frames late",
    OTHER: "control: another sentence",
}


@dataclass(frozen=True)
class Metric:
    """One column.

    Attributes:
        better: 1 if more is better, -1 if less is, 0 if nearer to zero is.
        digits: shown after the point.
        sync: whether it hears if the speech fits; Light-ASD's mean score sees that somebody speaks
            and hardly what, so the controls are not asked to lose on it.
    """

    key: str
    label: str
    better: int
    digits: int
    sync: bool = True


METRICS = (
    Metric("lse_d", "LSE-D", -1, 2),
    Metric("lse_c", "LSE-C", 1, 2),
    Metric("lmd", "LMD, px", -1, 2),
    Metric("light_asd", "Light-ASD", 1, 2, sync=False),
    Metric("light_asd_contrast", "Light-ASD contrast", 1, 2),
    Metric("lip_corr", "lip corr.", 1, 3),
    Metric("lip_lag_frames", "lag, frames", 0, 0),
    Metric("pbm_closed", "p b m shut", 1, 2),
    Metric("av_offset_ms", "A/V offset, ms", 0, 0),
)
# An unrelated video has no lag: where the best match falls is chance.
ONLY_SHIFTED = ("lip_lag_frames", "av_offset_ms")


def controls_lose(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, bool | None]:
    """Whether both controls are worse than the student, by sync metric; None: not measured.

    Lag and offset are asked of the shifted control alone.
    """
    return {metric.key: _loses(rows, metric) for metric in METRICS if metric.sync}


def _loses(rows: Mapping[str, Mapping[str, Any]], metric: Metric) -> bool | None:
    controls = (SHIFTED,) if metric.key in ONLY_SHIFTED else tuple(CONTROLS)
    ours = _goodness(rows[STUDENT].get(metric.key), metric)
    theirs = [_goodness(rows[name].get(metric.key), metric) for name in controls]
    if ours is None or None in theirs:
        return None
    return all(value is not None and value < ours for value in theirs)


def _goodness(value: Any, metric: Metric) -> float | None:
    if value is None or value != value:
        return None
    return metric.better * float(value) if metric.better else -abs(float(value))
