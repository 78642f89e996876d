"""The options of `daetalker bench`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

__all__ = ["BENCH_SETTINGS", "add_benches"]

BENCH_SETTINGS = (
    "avatar", "profile", "allowance_ms", "threads", "video_kbit_s", "log_level", "mark",
    "mark_corner",
)  # fmt: skip


def add_benches(benches: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add what can be measured, each with its options."""
    live = benches.add_parser(
        "live",
        help="a real server and real clients on this machine",
        description="Start a server, speak to it as browsers would, and measure what comes back: "
        "mouth-to-screen delay and its parts, first moving frame, frames and freezes, picture "
        "against voice, processor, memory.  docs/benchmarks.md defines every figure.",
    )
    live.set_defaults(command="bench live")
    _add_length(live, default_s=60.0)
    live.add_argument(
        "--clients",
        type=_counts,
        default=(1,),
        metavar="N[,N...]",
        help="people who talk at the same time; several numbers are measured one after the other, "
        "which tells how many this machine serves (1)",
    )
    live.add_argument(
        "--network",
        metavar="NAME",
        help="send the media through a poor network; 'list' names them",
    )
    live.add_argument(
        "--load",
        type=_whole(0, 64),
        default=0,
        metavar="N",
        help="busy processes beside the server in the middle third of the time (0)",
    )
    live.add_argument(
        "--check-seconds",
        type=_number(0, 600),
        default=8.0,
        help="seconds whose pictures are compared with the offline render; 0 for none (8)",
    )
    live.add_argument(
        "--onsets",
        type=_whole(0, 100),
        default=8,
        metavar="N",
        help="beginnings of speech whose first moving frame is looked for; 0 for none (8)",
    )
    live.add_argument(
        "--log",
        type=Path,
        metavar="DIR",
        help="keep the raw times and voices in this folder (12 MB a minute and client)",
    )
    _add_voice(live)
    _add_output(live)

    soak = benches.add_parser(
        "soak",
        help="one client stays, others come and go: does anything grow?",
        description="One client talks all the time and is measured; visitors come and go, a third "
        "with a goodbye, a third killed, a third asleep.  Memory, threads, files and sessions are "
        "sampled.  Ends with 1 if a bar fails.",
    )
    soak.set_defaults(command="bench soak")
    _add_length(soak, default_s=3600.0)
    soak.add_argument(
        "--clients",
        type=_whole(1, 32),
        default=1,
        metavar="N",
        help="visitors at the same time, beside the one who stays (1)",
    )
    _add_voice(soak)
    _add_output(soak)

    check = benches.add_parser(
        "check",
        help="has it become slower than this machine explains?",
        description="Half a minute: a baseline of bare connections and networks, a live run, and "
        "the baseline again.  Ends with 1 if the delay is more than 25 % above the baseline, "
        "picture and voice drift, or frames freeze.",
    )
    check.set_defaults(command="bench check")
    _add_length(check, default_s=10.0)
    _add_voice(check)
    _add_output(check)


def _add_length(parser: argparse.ArgumentParser, default_s: float) -> None:
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds",
        type=_number(1, 86_400),
        default=default_s,
        help=f"measured time in seconds ({default_s:g})",
    )
    length.add_argument(
        "--minutes",
        dest="seconds",
        type=lambda text: 60 * _number(0.1, 1440)(text),
        default=default_s,
        help="the same in minutes",
    )


def _add_voice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--audio", type=Path, help="speech file to speak; left out: a voice-like signal is made"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write one self-contained page as well"
    )


def _number(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"'{text}' must be {low:g} to {high:g}")
        return value

    return number


def _whole(low: int, high: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"'{text}' must be a whole number, {low} to {high}")
        return int(text)

    return whole


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_whole(1, 64)(part) for part in text.split(","))
