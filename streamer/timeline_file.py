"""Timeline files: what the head does when, one line a change, for `daetalker render`.

::

    # time, preset
    0, straight
    2.5, left
    1:02, natural     # back to the speech
    1:05, mute
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from daetalker.models.bundle import Manifest
from daetalker.streamer.control import Control, Timeline
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.media import FPS
from daetalker.streamer.presets import PresetBook, PresetError

__all__ = ["TimelineError", "parse_timeline", "read_timeline"]

MAX_FILE_BYTES = 1024 * 1024
_TIME = re.compile(r"(?:(?P<minutes>\d{1,4}):(?=[0-5]?\d(?:\.|$)))?(?P<seconds>\d{1,6}(?:\.\d+)?)")


class TimelineError(StreamerError, ValueError):
    """A timeline file cannot be used; the message names the line."""


def read_timeline(path: Path, book: PresetBook, manifest: Manifest) -> Timeline:
    """The timeline in a file; see `parse_timeline`.

    Raises:
        TimelineError: naming file, line and what is wrong.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise TimelineError(f"there is no timeline file {path}") from None
    except OSError as error:
        raise TimelineError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise TimelineError(f"{path} is larger than a timeline may be (1 MB)")
    try:
        return parse_timeline(data.decode("utf-8-sig"), book, manifest)
    except UnicodeDecodeError:
        raise TimelineError(f"{path} is not UTF-8 text; save it as such") from None
    except TimelineError as error:
        raise TimelineError(f"{path}, {error}") from None


def parse_timeline(text: str, book: PresetBook, manifest: Manifest) -> Timeline:
    """The timeline that a text stands for.

    Args:
        text: lines ``time, preset``; time in seconds (``2.5``) or as ``m:ss``, rising; the words
            ``natural``, ``mute`` and ``unmute`` take the place of a preset.

    Raises:
        TimelineError: naming line and what is wrong.
    """
    entries: dict[int, Control] = {}
    control, last_s = Control(), -1.0
    for number, line in enumerate(text.splitlines(), start=1):
        said = line.partition("#")[0].strip()
        if not said:
            continue
        time, comma, word = (part.strip() for part in said.partition(","))
        found = _TIME.fullmatch(time)
        if not comma or not word or found is None:
            raise TimelineError(
                f"line {number}: must be a time and a preset, such as '2.5, left' or "
                f"'1:30, natural', not {_short(said)}"
            )
        time_s = 60.0 * int(found["minutes"] or 0) + float(found["seconds"])
        if time_s <= last_s:
            raise TimelineError(
                f"line {number}: times must rise, and {time} does not come after the one before"
            )
        last_s = time_s
        try:
            control = _then(control, word, book, manifest)
        except PresetError as error:
            raise TimelineError(f"line {number}: {error}, and natural, mute, unmute") from None
        entries[round(time_s * FPS)] = control  # two within a frame: the later one holds both
    return Timeline(tuple(entries.items()))


def _then(control: Control, word: str, book: PresetBook, manifest: Manifest) -> Control:
    match word:
        case "natural":
            return Control(muted=control.muted)
        case "mute" | "unmute":
            return replace(control, muted=word == "mute")
    return Control.of(book.find(manifest, word), control.muted)


def _short(text: str) -> str:
    shown = "".join(c if c.isprintable() else " " for c in text)
    return repr(shown if len(shown) <= 60 else shown[:59] + "…")
