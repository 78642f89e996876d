"""The folders that training and evaluation read, written piece by piece from the sources.

A set is built beside its place and moved there when it is whole.  Shapes: T frames of a set.
"""

from __future__ import annotations

import os
import shutil
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.data import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, DataError
from daetalker.models.training.prepare.crop import Crop
from daetalker.models.training.prepare.measure import Measures
from daetalker.models.training.prepare.source import Clip, pictures

CRF, KEYFRAMES = 12, 50
TICK_EVERY = 25


@dataclass(frozen=True)
class Part:
    """The frames of one clip that go into one set.

    Attributes:
        samples: the whole clip's sound, already in step with its pictures.
        pieces: first frame and one past the last, in the clip's own count, in order.
    """

    clip: Clip
    crop: Crop
    seen: Measures
    samples: NDArray[np.float32]
    pieces: list[tuple[int, int]]

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The clip's frames that are kept, ascending."""
        return np.concatenate([np.arange(*piece) for piece in self.pieces]).astype(np.int64)

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self.pieces)


def split(parts: list[Part], test_share: float) -> tuple[list[Part], list[Part]]:
    """The last ``test_share`` of the frames apart: whole clips, else whole pieces, else a cut.

    A border between clips, or between pieces, is taken if it lies within a third of the wanted
    share; then no sentence is in both sets.
    """
    total = sum(map(len, parts))
    wanted = round(total * (1 - test_share))
    tolerance = total * test_share / 3
    clip_ends = np.cumsum([len(part) for part in parts])[:-1]
    piece_ends = np.cumsum([b - a for part in parts for a, b in part.pieces])[:-1]
    border = wanted
    for ends in (clip_ends, piece_ends):
        if len(ends) and np.abs(ends - wanted).min() <= tolerance:
            border = int(ends[np.abs(ends - wanted).argmin()])
            break
    return _take(parts, 0, border), _take(parts, border, total)


def _take(parts: list[Part], first: int, last: int) -> list[Part]:
    """The kept frames from ``first`` to before ``last``, counted over all parts."""
    taken, before = [], 0
    for part in parts:
        pieces = []
        for start, stop in part.pieces:
            low = start + max(0, first - before)
            high = stop - max(0, before + stop - start - last)
            if low < high:
                pieces.append((low, high))
            before += stop - start
        if pieces:
            taken.append(Part(part.clip, part.crop, part.seen, part.samples, pieces))
    return taken


def write_set(
    folder: Path, parts: list[Part], size: int, tick: Callable[[int], None] = lambda frames: None
) -> None:
    """Write video.mp4, audio.wav and truth.npz of one set.

    Args:
        tick: told how many frames of the set are written, now and then.

    Raises:
        DataError: if a source is damaged or the disk is full.
    """
    building = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        _write_video(building / "video.mp4", parts, size, tick)
        _write_audio(building / "audio.wav", parts)
        lengths = [stop - start for part in parts for start, stop in part.pieces]
        np.savez(
            building / "truth.npz",
            pose_deg=np.concatenate([part.seen.pose_deg[part.numbers] for part in parts]),
            landmarks=np.concatenate([part.seen.landmarks[part.numbers] for part in parts]),
            segment_start_frame=np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
            fps=np.int64(FPS),
            sample_rate=np.int64(SAMPLE_RATE),
        )
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(building, folder)
    except (av.FFmpegError, OSError) as error:
        shutil.rmtree(building, ignore_errors=True)
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from error


def _write_video(path: Path, parts: list[Part], size: int, tick: Callable[[int], None]) -> None:
    written = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = KEYFRAMES
        stream.options = {"crf": str(CRF), "preset": "medium"}
        for part in parts:
            wanted = set(part.numbers.tolist())
            found = 0
            for picture in pictures(part.clip, wanted.__contains__):
                rgb = part.crop.cut(picture.rgb, size)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
                found += 1
                if found % TICK_EVERY == 0:
                    tick(written + found)
            if found != len(part):
                raise DataError(f"{part.clip.path} changed while it was read; start again")
            written += found
            tick(written)
        container.mux(stream.encode(None))


def _write_audio(path: Path, parts: list[Part]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for part in parts:
            for start, stop in part.pieces:
                chunk = part.samples[start * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME]
                whole = np.clip(np.round(chunk * 32768), -32768, 32767)
                file.writeframes(whole.astype("<i2").tobytes())
