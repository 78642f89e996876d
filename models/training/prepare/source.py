"""Clips as filmed: found, opened, and read upright at 25 frames a second.

Any container and codec FFmpeg knows, any frame rate, constant or not.  Frame f stands for the time
from f / 25 s to (f + 1) / 25 s after the clip's first picture, and shows the picture that is on
screen in the middle of it.  For a constant rate that is the picture whose own middle is nearest, so
the error is unbiased and at most half a source frame; at 25 a second it takes every picture once,
however roughly the container rounds its times.

Shapes: H, W the upright picture's height and width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.data import FPS, DataError

SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
# Less than this share of the announced length means a file cut off in copying.
WHOLE = 0.9


@dataclass(frozen=True)
class Clip:
    """One file.

    Attributes:
        width, height: of the upright picture, with square pixels.
        start_s: time of the first picture on the container's clock.
        duration_s: as the container announces it; 0 if it does not.
        rate: pictures a second on average, as announced; 0 if unknown.
        key: changes when the file does.
    """

    path: Path
    width: int
    height: int
    start_s: float
    duration_s: float
    rate: float
    key: str


@dataclass(frozen=True)
class Picture:
    """One frame of the 25 a second.

    Attributes:
        number: f.
        rgb: ``[H, W, 3]`` uint8, upright.
        age_s: for how long it had been on screen at (f + 0.5) / 25 s.
    """

    number: int
    rgb: NDArray[np.uint8]
    age_s: float


def find_clips(paths: Iterable[Path]) -> list[Path]:
    """The files named, and the videos right inside the folders named, sorted in each folder.

    Raises:
        DataError: if something does not exist or a folder holds no video.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise DataError(f"{path} holds no video files; name the files or another folder")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path} does not exist; check the name")
    return list(dict.fromkeys(found))


def probe(path: Path) -> Clip:
    """Open a clip and look at its first picture.

    Raises:
        DataError: if it is no video, is damaged, or has no sound.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path} holds no video, only sound; film the face too")
            if not container.streams.audio:
                raise DataError(f"{path} has no sound; film with the microphone on")
            stream = container.streams.video[0]
            duration = (container.duration or 0) / 1e6
            rate = float(stream.average_rate or 0)
            first = next(iter(container.decode(stream)), None)
            if first is None:
                raise DataError(f"{path} holds no pictures; it may be cut off: copy it again")
            height, width = upright(first, float(stream.sample_aspect_ratio or 1)).shape[:2]
            start = float(first.time or 0.0)
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from error
    state = path.stat()
    name = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    key = hashlib.sha256(name.encode()).hexdigest()[:16]
    return Clip(path, width, height, start, duration, rate, key)


def upright(frame: av.VideoFrame, aspect: float) -> NDArray[np.uint8]:
    """``[H, W, 3]`` RGB: turned as the file asks (phones!), with square pixels.

    Args:
        aspect: width over height of a stored pixel.
    """
    width = round(frame.width * aspect)
    rgb = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
    rgb = rgb.astype(np.uint8, copy=False)
    quarter_turns = round(frame.rotation / 90) % 4  # counterclockwise
    return np.ascontiguousarray(np.rot90(rgb, quarter_turns)) if quarter_turns else rgb


def frames_before(time_s: float) -> int:
    """How many frames at 25 a second have their middle before ``time_s``, counted from 0 s."""
    return max(0, int(np.ceil(time_s * FPS - 0.5 - 1e-6)))


def pictures(clip: Clip, wanted: Callable[[int], bool] = lambda number: True) -> Iterator[Picture]:
    """The clip at 25 frames a second, by its pictures' own times.

    Args:
        wanted: frames for which it is false are left out, which saves converting them.

    Raises:
        DataError: if the file is damaged or cut off.
    """
    following, end_s = 0, 0.0
    held: av.VideoFrame | None = None
    held_s = 0.0
    usual_s = 1.0 / clip.rate if clip.rate else 1.0 / FPS
    try:
        with av.open(str(clip.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            aspect = float(stream.sample_aspect_ratio or 1)
            for frame in container.decode(stream):
                # Raw streams carry no times: then pictures come at the announced rate.
                time_s = end_s if frame.time is None else float(frame.time) - clip.start_s
                lasting_s = _lasting_s(frame, usual_s)
                if held is not None:
                    if time_s <= held_s:
                        continue
                    lasting_s = min(lasting_s, time_s - held_s)  # containers announce too much
                    stop = frames_before(time_s)
                    yield from _shown(held, held_s, range(following, stop), wanted, aspect)
                    following = max(following, stop)
                held, held_s, end_s = frame, time_s, time_s + lasting_s
            if held is not None:
                last = range(following, frames_before(end_s))
                yield from _shown(held, held_s, last, wanted, aspect)
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(clip.path, error) from error
    if clip.duration_s and end_s < WHOLE * clip.duration_s - 1.0:
        raise DataError(
            f"{clip.path} stops after {end_s:.0f} of {clip.duration_s:.0f} s: the file is cut off; "
            "copy it again"
        )


def picture_at(clip: Clip, number: int) -> NDArray[np.uint8] | None:
    """The picture of one frame, ``[H, W, 3]``; None if the file cannot be searched."""
    middle_s = (number + 0.5) / FPS + clip.start_s
    try:
        with av.open(str(clip.path)) as container:
            stream = container.streams.video[0]
            container.seek(max(0, int(middle_s * av.time_base)))
            shown = None
            for frame in container.decode(stream):
                if frame.time is None or (shown is not None and frame.time > middle_s):
                    break
                shown = frame
            return None if shown is None else upright(shown, float(stream.sample_aspect_ratio or 1))
    except (av.FFmpegError, OSError):
        return None


def _shown(
    frame: av.VideoFrame,
    since_s: float,
    numbers: range,
    wanted: Callable[[int], bool],
    aspect: float,
) -> Iterator[Picture]:
    chosen = [number for number in numbers if wanted(number)]
    if chosen:
        rgb = upright(frame, aspect)
        for number in chosen:
            yield Picture(number, rgb, (number + 0.5) / FPS - since_s)


def _lasting_s(frame: av.VideoFrame, usual_s: float) -> float:
    duration = getattr(frame, "duration", None)
    return float(duration * frame.time_base) if duration and frame.time_base else usual_s


def _unreadable(path: Path, error: Exception) -> DataError:
    """The error of FFmpeg or the system as one sentence."""
    if isinstance(error, av.error.InvalidDataError | av.error.EOFError):
        return DataError(f"{path} is not a video or is damaged or cut off; copy it again")
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(f"cannot read {path}: {reason}")
