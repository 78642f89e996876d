"""The figures of an evaluation as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# key, what it is, unit, aim, key of the measure's own floor or ceiling
ROWS: tuple[tuple[str, str, str, str, str], ...] = (
    ("psnr_db", "held-out frames, student: PSNR", "dB", ">= 32", ""),
    ("ssim", "  SSIM", "", ">= 0.94", ""),
    ("lpips", "  LPIPS (AlexNet, v0.1)", "", "<= 0.04", ""),
    ("mouth_psnr_db", "  PSNR of the mouth crop", "dB", "", ""),
    ("student_on_teacher_frames.psnr_db", "student on the teacher's frames: PSNR", "dB", "", ""),
    ("teacher_psnr_db", "teacher, same frames: PSNR", "dB", "<= student + 0.5", ""),
    ("student_on_teacher_frames.lpips", "student on the teacher's frames: LPIPS", "", "", ""),
    ("teacher_lpips", "teacher, same frames: LPIPS", "", "", ""),
    ("lip_corr", "lip opening against truth: correlation", "", ">= 0.85", "lip_corr_ceiling"),
    ("lip_lag_frames", "  lag (positive: lips late)", "frames", "-1 to 1", ""),
    ("pbm_closed", "lips shut on p, b, m within one frame", "", ">= 0.85", "pbm_closed_ceiling"),
    ("pbm_control", "  the same in open vowels (control)", "", "<= 0.1", ""),
    ("lmd", "LMD: mouth landmarks against truth", "pixels at 256", "<= 1.55", ""),
    ("lmd_eye_distances", "  head turned to the front", "eye distances", "", ""),
    ("silence_motion", "lip movement in silence / speech", "", "<= 0.05", "silence_motion_floor"),
    ("silence_motion_visible", "  with shut lips counted as equal", "", "<= 0.05", ""),
    ("seam_ratio", "latent steps at seams / inside windows", "", "<= 1.15", ""),
    ("jitter_levels", "change of still regions", "levels of 255", "", "jitter_truth_levels"),
    (
        "pose_msd_deg2",
        "specified pose, mean square distance",
        "deg^2",
        "<= 15",
        "pose_floor_msd_deg2",
    ),
    ("stream_max_abs_diff", "live against offline, largest difference", "levels", "0", ""),
)


# What the report's page begins with: key, name, digits after the point, unit.
HEADLINES: tuple[tuple[str, str, int, str], ...] = (
    ("psnr_db", "held-out frames, PSNR", 1, "dB"),
    ("ssim", "SSIM", 3, ""),
    ("lpips", "LPIPS", 3, ""),
    ("lmd", "mouth landmarks off (LMD)", 2, "px"),
    ("lip_corr", "lip opening: correlation", 2, ""),
    ("pbm_closed", "lips shut on p, b, m", 2, ""),
    ("pose_msd_deg2", "specified pose off", 2, "deg²"),
)


def format_table(result: Mapping[str, Any]) -> str:
    """The main figures with their aims and the measure's own value on the true video."""
    lines = [("figure", "value", "unit", "aim", "on true video"), *base_lines(result)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    head = " ".join(str(result[k]) for k in ("avatar", "data") if k in result)
    if "size" in result:
        head += f", {result['size']}x{result['size']}"
    rows = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(filter(None, (head, *rows)))


def base_lines(result: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Label, value, unit, aim and bound of each of `ROWS`."""
    return [
        (label, _show(_get(result, key)), unit, aim, _show(_get(result, bound)) if bound else "")
        for key, label, unit, aim, bound in ROWS
    ]


def _get(result: Mapping[str, Any], path: str) -> Any:
    value: Any = result
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _show(value: Any) -> str:
    if value is None:
        return "not measured"
    return f"{value:.4g}"
