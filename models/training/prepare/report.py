"""What was found, as numbers for ``prepare.json`` and as lines for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.data import FPS, SAMPLE_RATE
from daetalker.models.training.prepare.advice import Material, loudness_db
from daetalker.models.training.prepare.crop import Crop
from daetalker.models.training.prepare.judge import KEPT, REASONS, pieces
from daetalker.models.training.prepare.measure import Measures, Survey, whole_file
from daetalker.models.training.prepare.sound import Sound
from daetalker.models.training.prepare.source import Clip
from daetalker.models.training.prepare.synchrony import Offset
from daetalker.models.training.prepare.write import Part


@dataclass(frozen=True)
class Studied:
    """All that is known of one clip; ``verdict [T]`` as `judge` gives it."""

    clip: Clip
    crop: Crop
    looked: Survey
    seen: Measures
    heard: Sound
    verdict: NDArray[np.int64]


def material_of(studied: list[Studied], parts: list[Part], size: int) -> Material:
    """The kept frames of all clips, for `advice`; ``size`` pixels a side of what is written."""
    used = [
        (one, part, part.numbers) for one, part in zip(studied, parts, strict=True) if len(part)
    ]
    face_px = [
        (one.seen.box[n, 3] - one.seen.box[n, 1]).astype(np.float64) * one.crop.side / size
        for one, _, n in used
    ]
    rates = [one.clip.rate for one, _, _ in used if one.clip.rate]
    return Material(
        pose_deg=np.concatenate([one.seen.pose_deg[n] for one, _, n in used]),
        opening=np.concatenate([one.seen.opening[n] for one, _, n in used]),
        loudness_db=np.concatenate([loudness_db(part.samples)[n] for _, part, n in used]),
        light=np.concatenate([one.seen.light[n] for one, _, n in used]),
        face_px=np.concatenate(face_px),
        source_frames=sum(len(one.verdict) for one in studied),
        enlarged=any(one.crop.side < size for one, _, _ in used),
        rate=min(rates, default=0.0),
    )


def lost_clips(studied: Sequence[Studied]) -> list[str]:
    """A sentence about the clips of which nothing is left, if there are any."""
    lost = [one for one in studied if not (one.verdict == KEPT).any()]
    if not lost:
        return []
    return [f"nothing of {names([one.clip for one in lost])} could be used"]


def report_of(
    size: int,
    studied: list[Studied],
    offsets: list[Offset],
    common: Offset,
    sets: dict[str, list[Part]],
    material: Material,
) -> dict[str, Any]:
    """All figures, as ``prepare.json`` holds them, without the warnings."""

    def minutes(frames: int) -> float:
        return round(frames / FPS / 60, 3)

    verdict = np.concatenate([one.verdict for one in studied])
    sources = [
        {
            "path": str(one.clip.path),
            "width": one.clip.width,
            "height": one.clip.height,
            "rate": round(one.clip.rate, 3),
            "minutes": minutes(len(one.verdict)),
            "crop": asdict(one.crop),
            "kept": pieces(one.verdict),
            "dropped_frames": _by_reason(one.verdict, int),
            "offset": _plain(offset),
        }
        for one, offset in zip(studied, offsets, strict=True)
    ]
    return {
        "format": 1,
        "size": size,
        "fps": FPS,
        "sample_rate": SAMPLE_RATE,
        "minutes": minutes(len(verdict)),
        "kept_minutes": minutes(int((verdict == KEPT).sum())),
        "dropped_minutes": _by_reason(verdict, minutes),
        "sets": {
            name: {
                "minutes": minutes(sum(map(len, of_set))),
                "frames": sum(map(len, of_set)),
                "pieces": sum(len(part.pieces) for part in of_set),
            }
            for name, of_set in sets.items()
        },
        "offset": _plain(common),
        "pose_range_deg": {
            axis: [round(value, 1) for value in pair]
            for axis, pair in material.pose_range_deg.items()
        },
        "silence_s": round(material.silence_s, 1),
        "face_px": round(float(np.median(material.face_px)), 1),
        "light": round(float(np.median(material.light)), 1),
        "sources": sources,
    }


def _by_reason(verdict: NDArray[np.int64], unit: Callable[[int], Any]) -> dict[str, Any]:
    counts = ((reason, int((verdict == i).sum())) for i, reason in enumerate(REASONS))
    return {reason: unit(count) for reason, count in counts if count}


def _plain(offset: Offset) -> dict[str, float | None]:
    """Rounded, and None for what JSON has no number for."""
    return {
        name: None if np.isnan(value) else round(float(value), 3)
        for name, value in asdict(offset).items()
    }


def names(clips: Sequence[Clip]) -> str:
    """The first clip's path, and how many more there are."""
    first = str(clips[0].path)
    return first if len(clips) == 1 else f"{first} and {len(clips) - 1} more"


def summary(report: dict[str, Any], output: Path) -> str:
    """The report as people read it."""
    lines = [f"{output}: {report['kept_minutes']:.1f} of {report['minutes']:.1f} min kept"]
    lines += [
        f"  dropped {minutes * 60:.1f} s: {reason}"
        for reason, minutes in report["dropped_minutes"].items()
    ]
    for name, figures in report["sets"].items():
        pieces = figures["pieces"]
        noun = "piece" if pieces == 1 else "pieces"
        lines.append(f"  {name}: {figures['minutes']:.1f} min in {pieces} {noun}")
    offset = report["offset"]
    if offset["found_ms"] is None:
        moved = offset["moved_ms"]
        lines.append(f"  audio-video offset: not measured; sound moved by {moved:.0f} ms")
    else:
        late = "after" if offset["found_ms"] >= 0 else "before"
        lines.append(
            f"  audio-video offset: sound {abs(offset['found_ms']):.0f} ms {late} the lips "
            f"(correlation {offset['confidence']:.2f}); moved by {offset['moved_ms']:.0f} ms"
        )
    ranges = ", ".join(
        f"{axis} {low:.0f} to {high:.0f}" for axis, (low, high) in report["pose_range_deg"].items()
    )
    lines.append(f"  head pose in degrees: {ranges}")
    lines.append(f"  silence with the mouth shut: {report['silence_s']:.0f} s")
    lines += [f"  warning: {warning}" for warning in report["warnings"]]
    lines.append(f"  look at {output / 'sheet.png'}, then: daetalker train {output} -o RUN")
    return "\n".join(lines)


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write JSON so that the file is whole or not there.

    Raises:
        DataError: if it cannot be written.
    """
    with whole_file(path) as partial:
        partial.write_text(json.dumps(report, indent=1) + "\n")
