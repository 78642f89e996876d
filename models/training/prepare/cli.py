"""`daetalker prepare`: its options."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from daetalker.models.training.data import DataError
from daetalker.models.training.landmarks import FaceMeter, MeasureError
from daetalker.models.training.prepare.pipeline import Plan, prepare
from daetalker.models.training.prepare.progress import Progress
from daetalker.models.training.prepare.report import summary
from daetalker.models.training.weights import weight


def parser() -> argparse.ArgumentParser:
    """The options of `daetalker prepare`."""
    p = argparse.ArgumentParser(
        prog="daetalker prepare",
        description="Make a training and a test set from videos of one person talking: find the "
        "face, crop, 25 frames a second, 16 kHz sound in step with the lips, head pose and "
        "landmarks.  Run again, an interrupted preparation goes on.",
    )
    p.add_argument(
        "videos", type=Path, nargs="+", metavar="VIDEO", help="video files, or folders of them"
    )
    p.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DATA", help="folder to make"
    )
    p.add_argument("--size", type=_size, default=256, help="pixels a side of the pictures (256)")
    p.add_argument(
        "--test-share",
        type=_share,
        default=0.15,
        help="share at the end that is held out for the test set (0.15)",
    )
    p.add_argument(
        "--test",
        type=Path,
        nargs="+",
        default=[],
        metavar="VIDEO",
        help="videos or folders that make the test set; then nothing else is held out",
    )
    p.add_argument(
        "--weights",
        type=Path,
        help="folder with mediapipe/face_landmarker.task; left out: $DAETALKER_WEIGHTS, or "
        "downloaded once to ~/.cache/daetalker/weights",
    )
    p.add_argument(
        "--offset-ms",
        type=_offset,
        default=None,
        metavar="auto|MS",
        help="by how many milliseconds the sound comes after the picture (auto: measured)",
    )
    p.add_argument("--json", action="store_true", help="print the report as one JSON object")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 if the dataset was made, 2 with one sentence if it could not be."""
    options = parser().parse_args(argv)
    plan = Plan(
        videos=tuple(options.videos),
        output=options.output,
        test=tuple(options.test),
        size=options.size,
        test_share=options.test_share,
        offset_ms=options.offset_ms,
    )
    try:
        report = prepare(
            plan,
            lambda: FaceMeter(weight("face_landmarker", options.weights), faces=2),
            Progress(),
        )
    except (DataError, MeasureError) as error:
        print(f"daetalker prepare: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ndaetalker prepare: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    print(json.dumps(report) if options.json else summary(report, options.output))
    return 0


def _size(text: str) -> int:
    if not text.isdecimal() or not 64 <= int(text) <= 1024 or int(text) % 16:
        raise argparse.ArgumentTypeError(f"'{text}' must be a multiple of 16 from 64 to 1024")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0.01 <= share <= 0.5:
        raise argparse.ArgumentTypeError(f"'{text}' must be from 0.01 to 0.5")
    return share


def _offset(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        offset = float(text)
    except ValueError:
        offset = float("nan")
    if not abs(offset) <= 5000:
        raise argparse.ArgumentTypeError(f"'{text}' must be auto, or milliseconds up to 5000")
    return offset


if __name__ == "__main__":
    sys.exit(main())
