"""The tables as rows of text, from an evaluation's numbers: for people, Markdown and the page.

Everything here reads the JSON of `daetalker evaluate`, so a saved one can be shown again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daetalker.models.training.tables import paper
from daetalker.models.training.tables.table1 import LABELS, METRICS, STUDENT, Metric
from daetalker.models.training.tables.table3 import BASELINE_LABEL
from daetalker.models.training.tables.table4 import DIRECTIONS

MISSING, UNCLEAR = "not measured", "unclear"
OFFSET_CONFIDENCE = 0.3  # see `sync.SyncFigures.av_offset_confidence`
PAPER_COLUMN = " / ".join(name.removeprefix("test set ") for name in paper.SETS)
LIP_METRICS = METRICS[:-1]
STEADY = (
    Metric("jitter_levels", "jitter, levels", -1, 4),
    Metric("flicker_levels", "flicker, levels", -1, 3),
    Metric("pose_jerk_deg", "pose, deg/frame²", -1, 3),
)


@dataclass(frozen=True)
class Line:
    """One row; ``kind`` is "ours", "paper", "control" or nothing in particular."""

    cells: tuple[str, ...]
    kind: str = ""


@dataclass(frozen=True)
class Sheet:
    """One table ready to be shown; ``table`` is the key it was made from."""

    table: str
    title: str
    head: tuple[str, ...]
    lines: list[Line]
    notes: list[str] = field(default_factory=list)


def sheets(result: Mapping[str, Any]) -> list[Sheet]:
    """Every table that ``result`` holds."""
    made: list[Sheet] = []
    for key, make in (
        ("table1", _table1),
        ("table2", _table2),
        ("table3", _table3),
        ("table4", _table4),
    ):
        if key in result:
            made += make(result[key])
    return made


def as_text(sheet: Sheet) -> str:
    """Aligned columns for a terminal."""
    rows = [sheet.head, *(line.cells for line in sheet.lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(sheet.head))]

    def aligned(row: Sequence[str]) -> str:
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return "  ".join(cells).rstrip()

    return "\n".join([sheet.title, *(aligned(row) for row in rows), *sheet.notes])


def as_markdown(sheet: Sheet) -> str:
    """A section with a pipe table."""
    rule = "|---|" + "---:|" * (len(sheet.head) - 1)
    rows = [sheet.head, *(line.cells for line in sheet.lines)]
    head, *body = ("| " + " | ".join(cell.strip() for cell in row) + " |" for row in rows)
    notes = [line for note in sheet.notes for line in ("", note)]
    return "\n".join([f"### {sheet.title}", "", head, rule, *body, *notes])


def cell(value: Any, digits: int) -> str:
    """A number with so many digits after the point; `MISSING` for None."""
    if value is None:
        return MISSING
    if isinstance(value, float) and 0 < abs(value) < 0.5 * 10**-digits:
        return f"{value:.1g}"
    return f"{value:.{digits}f}"


def _table1(table: Mapping[str, Any]) -> list[Sheet]:
    made = []
    for name, one in table["sets"].items():
        lines = [
            Line(
                (
                    LABELS[row].format(steps=table["decoder_steps"]),
                    *_cells(figures, METRICS),
                    _seconds(figures),
                ),
                "control" if row.startswith("control") else "ours" if row == STUDENT else "",
            )
            for row, figures in one["rows"].items()
        ]
        lines += _paper_lines(paper.TABLE1, METRICS, extra=1)
        lose = one["controls_lose"]
        lost = [m.label.split(",")[0] for m in METRICS if lose.get(m.key)]
        kept = [m.label.split(",")[0] for m in METRICS if lose.get(m.key) is False]
        notes = [f"Landmarks and pose of {name}: {_truth(one)}."]
        if lost:
            notes.append(f"The controls lose on {', '.join(lost)}.")
        if kept:
            notes.append(f"The controls do NOT lose on {', '.join(kept)}.")
        notes += table.get("notes", [])
        head = ("", *(m.label for m in METRICS), "length")
        made.append(Sheet("table1", f"Table 1, lip-sync: {name}", head, lines, notes))
    return made


def _table2(table: Mapping[str, Any]) -> list[Sheet]:
    columns = (*LIP_METRICS, *STEADY)
    made = []
    for name, one in table["sets"].items():
        lines, reasons = [], []
        for row in one["rows"]:
            figures = row["figures"]
            cells = _cells(figures, columns) if figures else ["–"] * len(columns)
            length = _seconds(figures) if figures else MISSING
            lines.append(Line((row["label"], *cells, length), row["kind"]))
            if row.get("reason"):
                reasons.append(f"{row['label'].strip()}: {row['reason']}.")
        lines += _paper_lines(paper.TABLE2, columns, extra=1)
        notes = [f"Landmarks and pose of {name}: {_truth(one)}.", *dict.fromkeys(reasons)]
        if one.get("explanation"):
            notes.append(one["explanation"])
        head = ("", *(m.label for m in columns), "length")
        made.append(Sheet("table2", f"Table 2, ablations: {name}", head, lines, notes))
        if one.get("noise"):
            made.append(_noise(name, one["noise"]))
    return made


def _noise(name: str, sweep: Mapping[str, Mapping[str, Any]]) -> Sheet:
    lines = [
        Line(
            (
                f"T = {steps}",
                cell(at["shared_jitter_levels"], 4),
                cell(at["fresh_jitter_levels"], 4),
                cell(at["jitter_ratio"], 2),
                cell(at["shared_flicker_levels"], 3),
                cell(at["fresh_flicker_levels"], 3),
                cell(at["apart_levels"], 3),
            )
        )
        for steps, at in sorted(sweep.items(), key=lambda item: int(item[0]))
    ]
    head = (
        "", "jitter, one x_T", "new noise a frame", "ratio",
        "flicker, one x_T", "new noise a frame", "apart",
    )  # fmt: skip
    notes = [
        "Levels of 255 before rounding. Jitter: change a frame where the true video is still. "
        "Flicker: second difference of the whole picture. Apart: two pictures of one latent."
    ]
    return Sheet("table2", f"x_T shared or not, by evaluations: {name}", head, lines, notes)


def _table3(table: Mapping[str, Any]) -> list[Sheet]:
    digits = (("psnr_db", 2), ("ssim", 4), ("lpips", 4), ("mouth_psnr_db", 2))
    lines = []
    for row in table["rows"]:
        steps = row["evaluations"]
        lines.append(
            Line(
                (
                    row["label"],
                    "–" if steps is None else str(steps),
                    *(cell(row[key], count) for key, count in digits),
                ),
                {"student": "ours", "baseline": "control"}.get(row["kind"], ""),
            )
        )
    for name, figures in paper.TABLE3.items():
        steps = "100" if name.startswith("DAE") else "–"
        cells = [cell(figures[key], count) for key, count in digits[:3]]
        lines.append(Line((f"paper: {name}", steps, *cells, "–"), "paper"))
    notes = [f"{table['frames']} frames of {table['set']}, evenly spaced, the same for every row."]
    notes += [f"{BASELINE_LABEL}: {row['reason']}." for row in table["rows"] if row.get("reason")]
    if table.get("student_gain_db") is not None:
        notes.append(
            f"Student against its teacher at the most evaluations: "
            f"{table['student_gain_db']:+.2f} dB, LPIPS {-table['student_gain_lpips']:+.4f}."
        )
    head = ("", "evaluations", "PSNR, dB", "SSIM", "LPIPS", "mouth PSNR, dB")
    title = "Table 3, reconstruction from the latent"
    return [Sheet("table3", title, head, lines, notes)]


def _table4(table: Mapping[str, Any]) -> list[Sheet]:
    rows = (
        ("natural", "natural: to the specified poses", "ours"),
        ("specified", "specified: to the specified poses", "ours"),
        *(("specified_by_pose." + d, f"  {d}", "") for d in DIRECTIONS),
        ("natural_against_prediction", "natural: to its own prediction", ""),
        ("natural_against_truth", "natural: to the true head", ""),
        ("floor", "the measure's error on the true video", ""),
    )
    sets = table["sets"]
    lines = []
    for key, label, kind in rows:
        cells = [_pose_cell(one, key) for one in sets.values()]
        published = paper.TABLE4.get(key)
        lines.append(Line((label, *cells, _triple(published, 2) if published else "–"), kind))
    notes = [
        "Mean square distance in square degrees, averaged over yaw, pitch and roll, and summed in "
        "brackets (the paper does not say which). Poses are measured by MediaPipe.",
        "As in the paper, whose test set C has no video, natural is compared with the same "
        "specified poses; the rows below it compare with the prediction and with the truth ("
        + ", ".join(f"{name}: {_truth(one)}" for name, one in sets.items())
        + ").",
    ]
    head = ("", *sets, f"paper, {PAPER_COLUMN}")
    made = [Sheet("table4", "Table 4, head pose", head, lines, notes)]
    figure = table.get("figure6")
    if figure:
        made.append(_figure6(figure))
    elif table.get("figure6_reason"):
        made[0].notes.append(f"Figure 6: {table['figure6_reason']}.")
    return made


def _figure6(figure: Mapping[str, Any]) -> Sheet:
    lines = [
        Line(
            (
                name,
                cell(gap["with_pose_adaptor"], 4),
                cell(gap["without"], 4),
                cell(gap["times_smaller"], 2),
                f"{gap['steps']:.0f}",
            )
        )
        for name, gap in figure["gaps"].items()
    ]
    head = ("", "with pose adaptor", "without", "times smaller", "steps")
    return Sheet("table4", "Figure 6, mean square error of predicted latents", head, lines)


def _cells(figures: Mapping[str, Any], metrics: Iterable[Metric]) -> list[str]:
    return [
        UNCLEAR
        if m.key == "av_offset_ms" and _unclear(figures)
        else cell(figures.get(m.key), m.digits)
        for m in metrics
    ]


def _unclear(figures: Mapping[str, Any]) -> bool:
    confidence = figures.get("av_offset_confidence")
    return confidence is not None and confidence < OFFSET_CONFIDENCE


def _paper_lines(
    rows: Mapping[str, paper.Row], metrics: Sequence[Metric], extra: int
) -> list[Line]:
    made = []
    for name, values in rows.items():
        cells = [_triple(values[m.key], m.digits) if m.key in values else "–" for m in metrics]
        made.append(Line((f"paper: {name} ({PAPER_COLUMN})", *cells, *["–"] * extra), "paper"))
    return made


def _triple(values: Sequence[float | None], digits: int) -> str:
    return " / ".join("–" if v is None else f"{v:.{digits}f}" for v in values)


def _pose_cell(one: Mapping[str, Any], key: str) -> str:
    value: Any = one
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if not value or value["msd_deg2"] is None:
        return MISSING
    return f"{value['msd_deg2']:.2f} ({value['msd_sum_deg2']:.2f})"


def _truth(one: Mapping[str, Any]) -> str:
    return str(one["truth"])


def _seconds(figures: Mapping[str, Any]) -> str:
    return f"{figures['frames'] / 25:.0f} s"
