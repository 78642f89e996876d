"""The report's curves as inline SVG, drawn by Matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

INK, MUTED, OURS, OTHER, BASE = "#1f2933", "#7b8794", "#1d6fb8", "#d1495b", "#b08900"
STYLE: Any = {
    "svg.fonttype": "none",  # letters stay letters, in the page's own font
    "svg.hashsalt": "daetalker",  # the same numbers give the same file
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "legend.frameon": False,
    "lines.linewidth": 2.0,
}


def quality_plot(table: Mapping[str, Any]) -> str | None:
    """Table 3: PSNR and LPIPS against evaluations; None if the teacher was not measured."""
    rows = table["rows"]
    steps = [row["evaluations"] for row in rows if row["kind"] == "teacher"]
    if not steps:
        return None
    student = next((row for row in rows if row["kind"] == "student"), None)
    baseline = next((row for row in rows if row["kind"] == "baseline"), None)

    def draw(axes: Any) -> None:
        for place, key, label in zip(
            axes, ("psnr_db", "lpips"), ("PSNR, dB (higher is better)", "LPIPS (lower is better)"),
            strict=True,
        ):  # fmt: skip
            place.plot(
                steps,
                [row[key] for row in rows if row["kind"] == "teacher"],
                "o-",
                color=OURS,
                label="DDIM, T evaluations",
            )
            if student is not None:
                place.plot(
                    [1],
                    [student[key]],
                    "*",
                    color=OTHER,
                    markersize=15,
                    label="student, 1 evaluation",
                )
            if baseline is not None:
                place.axhline(
                    baseline[key], color=BASE, linestyle="--", label="from landmarks (baseline)"
                )
            place.set_xscale("log")
            place.set_xticks(steps, [str(s) for s in steps], minor=False)
            place.minorticks_off()
            place.set_xlabel("evaluations a frame")
            place.set_title(label, loc="left", fontsize=11, color=INK)
        axes[0].legend(loc="center right")

    return _svg(draw, panels=2)


def jitter_plot(sweep: Mapping[str, Mapping[str, float | None]]) -> str | None:
    """Table 2: change of still regions against evaluations, one x_T or new noise a frame."""
    steps = sorted(int(key) for key in sweep)
    pairs = [
        (s, sweep[str(s)]["shared_jitter_levels"], sweep[str(s)]["fresh_jitter_levels"])
        for s in steps
    ]
    known = [(s, a, b) for s, a, b in pairs if a and b]
    if len(known) < 2:
        return None

    def draw(axes: Any) -> None:
        place = axes[0]
        xs = [s for s, _, _ in known]
        place.plot(xs, [a for _, a, _ in known], "o-", color=OURS, label="one shared x_T")
        place.plot(xs, [b for _, _, b in known], "o-", color=OTHER, label="new noise each frame")
        place.set_xscale("log")
        place.set_xticks(xs, [str(s) for s in xs])
        place.set_ylim(bottom=0)
        place.minorticks_off()
        place.set_xlabel("evaluations a frame")
        place.set_title(
            "change of still regions a frame, levels of 255", loc="left", fontsize=11, color=INK
        )
        place.legend()

    return _svg(draw)


def loss_plot(figure6: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> str | None:
    """Figure 6: held-out latent loss with and without the pose adaptor.

    Args:
        figure6: set name to curve name (``reference``, ``no_pose``) to points (step, loss).
    """
    if not figure6:
        return None

    def draw(axes: Any) -> None:
        for place, (name, curves) in zip(axes, figure6.items(), strict=True):
            for curve, colour, label in (
                ("no_pose", OTHER, "without pose adaptor"),
                ("reference", OURS, "with pose adaptor"),
            ):
                points = curves[curve]
                place.plot(
                    [p[0] for p in points], [p[1] for p in points], color=colour, label=label
                )
            place.set_xlabel("training step")
            place.set_ylim(bottom=0)
            place.set_title(f"mean square error of latents, {name}", loc="left", fontsize=11)
        axes[0].legend()

    return _svg(draw, panels=len(figure6))


def opening_plot(truth: Sequence[float], ours: Sequence[float], fps: int) -> str:
    """Lip opening over time, true video and ours, both measured in the pictures."""

    def draw(axes: Any) -> None:
        place = axes[0]
        seconds = [f / fps for f in range(len(truth))]
        place.plot(seconds, truth, color=MUTED, label="true video")
        place.plot(seconds, ours, color=OURS, label="ours")
        place.set_xlabel("seconds")
        place.set_title("lip opening, outer eye distances", loc="left", fontsize=11, color=INK)
        place.legend(ncols=2, loc="upper right")

    return _svg(draw, wide=True)


def _svg(draw: Any, panels: int = 1, wide: bool = False) -> str:
    with rc_context(STYLE):
        width = 9.0 if wide or panels > 1 else 5.4
        figure = Figure(figsize=(width, 2.6 if wide else 3.3), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        draw(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    text = file.getvalue()
    return text[text.index("<svg") :]  # without the XML prologue, which HTML does not know
