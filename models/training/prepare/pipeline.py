"""From clips to a dataset: look, listen, judge, put in step, split, write, report.

Everything slow leaves its result in ``DATA/.work``; run again, an interrupted preparation goes on
from there, and a changed source is measured anew.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from daetalker.models.training.data import FPS, DataError
from daetalker.models.training.prepare.advice import advice
from daetalker.models.training.prepare.crop import Crop, choose_crops
from daetalker.models.training.prepare.judge import KEPT, REASONS, judge, pieces
from daetalker.models.training.prepare.measure import Finder, Measures, Survey, measure, survey
from daetalker.models.training.prepare.progress import Progress
from daetalker.models.training.prepare.report import (
    Studied,
    lost_clips,
    material_of,
    names,
    report_of,
    write_report,
)
from daetalker.models.training.prepare.sheet import write_sheet
from daetalker.models.training.prepare.sound import Sound, read_sound, shifted
from daetalker.models.training.prepare.source import Clip, find_clips, probe
from daetalker.models.training.prepare.synchrony import synchronise
from daetalker.models.training.prepare.write import Part, split, write_set

LEAST_S = 20.0
SILENT_DB = -60.0
MOSTLY = 0.8


@dataclass(frozen=True)
class Plan:
    """What to make of what.

    Attributes:
        videos: files and folders.
        test: files and folders that make the test set; if empty, the last ``test_share`` of
            ``videos`` does.
        size: pixels a side of what is written.
        offset_ms: how late the sound is; None: find out.
    """

    videos: tuple[Path, ...]
    output: Path
    test: tuple[Path, ...] = ()
    size: int = 256
    test_share: float = 0.15
    offset_ms: float | None = None


def prepare(
    plan: Plan, open_finder: Callable[[], AbstractContextManager[Finder]], progress: Progress
) -> dict[str, Any]:
    """Make the dataset and return its report, which is also written to ``prepare.json``.

    Raises:
        DataError: one sentence about what is wrong with the videos or the output folder.
        MeasureError: if faces cannot be measured on this machine.
    """
    held_out = find_clips(plan.test)
    train = [path for path in find_clips(plan.videos) if path not in set(held_out)]
    clips = [probe(path) for path in train + held_out]
    work = _output_folder(plan.output)
    with open_finder() as finder:
        surveys = []
        for clip in clips:
            surveys.append(survey(clip, finder, work))
            progress("looking for the face, clips", len(surveys), len(clips))
        _long_enough(clips, surveys)
        heard = []
        for clip, looked in zip(clips, surveys, strict=True):
            heard.append(read_sound(clip, looked.frames))
            progress("listening, clips", len(heard), len(clips))
        _audible(clips, heard)
        studied = _study(plan, clips, surveys, heard, finder, work, progress)
    kept = [pieces(one.verdict) for one in studied]
    _enough_kept(studied)
    common, offsets, warnings = synchronise(
        [one.heard for one in studied],
        [one.seen for one in studied],
        kept,
        plan.offset_ms,
        lambda done, total: progress("comparing lips and voice, blocks", done, total),
    )
    parts = [
        Part(one.clip, one.crop, one.seen, shifted(one.heard.samples, offset.moved_ms), of_clip)
        for one, offset, of_clip in zip(studied, offsets, kept, strict=True)
    ]
    first_test = len(train)
    if held_out:
        sets = {"train": parts[:first_test], "test": parts[first_test:]}
    else:
        sets = dict(zip(("train", "test"), split(parts, plan.test_share), strict=True))
    sets = {name: [part for part in of_set if len(part)] for name, of_set in sets.items()}
    for name, of_set in sets.items():
        if not of_set:
            raise DataError(f"nothing is left for the {name} set; record more, or name other clips")
        total = sum(map(len, of_set))
        write_set(
            plan.output / name,
            of_set,
            plan.size,
            partial(_tell, progress, f"writing {name}, frames", total, 0),
        )
    material = material_of(studied, parts, plan.size)
    report = report_of(plan.size, studied, offsets, common, sets, material)
    report["warnings"] = lost_clips(studied) + warnings + advice(material)
    write_sheet(
        plan.output / "sheet.png",
        [(one.clip, one.crop, one.seen, one.verdict) for one in studied],
        plan.size,
    )
    write_report(plan.output / "prepare.json", report)
    return report


def _tell(progress: Progress, label: str, total: int, before: int, done: int) -> None:
    progress(label, before + done, total)


def _output_folder(output: Path) -> Path:
    """The working folder in ``output``, made if need be.

    Raises:
        DataError: if ``output`` is something else, or cannot be written.
    """
    if output.exists() and not output.is_dir():
        raise DataError(f"{output} is a file; name a new folder")
    try:
        there = {path.name for path in output.iterdir()} if output.exists() else set()
        if there and not there & {"prepare.json", ".work"}:
            raise DataError(f"{output} holds something else; name a new or empty folder")
        work = output / ".work"
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {output}: {error.strerror}") from error
    return work


def _study(
    plan: Plan,
    clips: list[Clip],
    surveys: list[Survey],
    heard: list[Sound],
    finder: Finder,
    work: Path,
    progress: Progress,
) -> list[Studied]:
    """Measure every frame and judge it; a clip without any face is judged unseen."""
    crops = choose_crops(
        [looked.seen for looked in surveys], [(clip.width, clip.height) for clip in clips]
    )
    if not any(crops):
        raise DataError(
            f"no face found in {names(clips)}: film one person from the front, head and shoulders"
        )
    total = sum(looked.frames for looked in surveys)
    before = 0
    studied = []
    for clip, looked, sound, crop in zip(clips, surveys, heard, crops, strict=True):
        if crop is None:
            seen, crop = _unseen(looked.frames), Crop(0, 0, min(clip.width, clip.height))
        else:
            seen = measure(
                clip,
                crop,
                plan.size,
                finder,
                work,
                partial(_tell, progress, "measuring, frames", total, before),
            )
        before += looked.frames
        if sound.level_db < SILENT_DB:
            sound = replace(sound, covered=np.zeros_like(sound.covered))
        studied.append(
            Studied(clip, crop, looked, seen, sound, judge(seen, sound, looked, plan.size))
        )
    return studied


def _unseen(frames: int) -> Measures:
    nan = np.full(frames, np.nan, np.float32)
    zero = np.zeros(frames, np.float32)
    shaped = {"landmarks": (frames, 68, 2), "pose_deg": (frames, 3), "box": (frames, 4)}
    return Measures(
        faces=zero,
        opening=nan,
        sharpness=nan,
        light=nan,
        change=zero,
        age_s=zero,
        **{name: np.full(shape, np.nan, np.float32) for name, shape in shaped.items()},
    )


def _long_enough(clips: list[Clip], surveys: list[Survey]) -> None:
    seconds = sum(looked.frames for looked in surveys) / FPS
    if seconds < LEAST_S:
        raise DataError(
            f"{names(clips)} is only {seconds:.0f} s long: at least {LEAST_S:.0f} s are needed, "
            "and 5 to 15 minutes make a good avatar"
        )


def _audible(clips: list[Clip], heard: list[Sound]) -> None:
    if all(sound.level_db < SILENT_DB for sound in heard):
        raise DataError(f"{names(clips)} is silent; film with the microphone on")


def _enough_kept(studied: list[Studied]) -> None:
    verdict = np.concatenate([one.verdict for one in studied])
    seconds = (verdict == KEPT).sum() / FPS
    if seconds >= LEAST_S:
        return
    counts = np.bincount(verdict[verdict != KEPT], minlength=len(REASONS))
    reason = REASONS[int(counts.argmax())]
    share = counts.max() / len(verdict)
    if reason == "two faces" and share > MOSTLY:
        raise DataError("two people are in the picture nearly all the time; film one alone")
    raise DataError(
        f"only {seconds:.0f} s of {len(verdict) / FPS:.0f} s can be used (most was dropped for: "
        f"{reason}); film one person from the front, well lit, for some minutes"
    )
