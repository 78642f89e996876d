"""Training folders on disk: frames, audio and ground truth of one person.

A folder holds ``video.mp4`` (25 fps, square), ``audio.wav`` (16 kHz mono, 640 samples a frame) and
``truth.npz`` with ``pose_deg [T, 3]`` (yaw, pitch, roll) and ``landmarks [T, 68, 2]`` (iBUG order,
pixels of the video).  T frames, S pixels a side.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
FPS = 25
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS

MOUTH = slice(48, 68)
INNER_TOP, INNER_BOTTOM = [61, 62, 63], [67, 66, 65]
EYES = (slice(36, 42), slice(42, 48))


class DataError(ValueError):
    """A training or evaluation folder is unusable; the message says what to do."""


@dataclass(frozen=True)
class Person:
    """One loaded folder.

    Attributes:
        frames: ``[T, S, S, 3]`` uint8 RGB, memory-mapped.
        audio: ``[640 T]`` float32 in [-1, 1] at 16 kHz.
        pose_deg: ``[T, 3]`` yaw, pitch, roll in degrees.
        landmarks: ``[T, 68, 2]`` in pixels of ``frames``.
        segment_starts: ``[N]`` first frame of every contiguous piece, ascending, the first 0.
    """

    frames: NDArray[np.uint8]
    audio: NDArray[np.float32]
    pose_deg: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    segment_starts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    def first(self, count: int) -> Person:
        """The first ``count`` frames."""
        return Person(
            self.frames[:count],
            self.audio[: count * SAMPLES_PER_FRAME],
            self.pose_deg[:count],
            self.landmarks[:count],
            self.segment_starts[self.segment_starts < count],
        )

    @property
    def blink(self) -> NDArray[np.float32]:
        """``[T]`` eye closure: 0 at the usual opening, 1 shut, slightly negative wide open."""
        return eye_closure(self.landmarks)


def eye_closure(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[T, 68, 2]`` to ``[T]``: lid gap over nose length, which yaw and scale leave alone."""
    gaps = []
    for eye in EYES:
        points = landmarks[:, eye]
        gaps.append(np.linalg.norm(points[:, 1] - points[:, 5], axis=-1))
        gaps.append(np.linalg.norm(points[:, 2] - points[:, 4], axis=-1))
    nose = np.linalg.norm(landmarks[:, 27] - landmarks[:, 33], axis=-1)
    ratio = np.mean(gaps, axis=0) / np.maximum(nose, 1e-3)
    closure = 1.0 - ratio / max(float(np.median(ratio)), 1e-6)
    return np.clip(closure, -0.4, 1.0).astype(np.float32)


def lip_opening(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[T, 68, 2]`` to ``[T]``: mean gap of the inner lips over the nose length."""
    gap = np.linalg.norm(landmarks[:, INNER_TOP] - landmarks[:, INNER_BOTTOM], axis=-1).mean(-1)
    nose = np.linalg.norm(landmarks[:, 27] - landmarks[:, 33], axis=-1)
    return (gap / np.maximum(nose, 1e-3)).astype(np.float32)


def read_audio(path: Path) -> NDArray[np.float32]:
    """Any file PyAV opens, as 16 kHz mono float32 in [-1, 1].

    Raises:
        DataError: if the file cannot be read or holds no sound.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise DataError(f"{path} holds no audio stream")
            resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
            chunks = [
                out.to_ndarray().reshape(-1)
                for frame in container.decode(audio=0)
                for out in resampler.resample(frame)
            ]
            chunks += [out.to_ndarray().reshape(-1) for out in resampler.resample(None)]
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"cannot read audio from {path}: {error}") from error
    if not chunks or not sum(map(len, chunks)):
        raise DataError(f"{path} holds no audio samples")
    return np.concatenate(chunks).astype(np.float32) / 32768.0


def folder_key(folder: Path) -> str:
    """A name for a folder's cached files: its last part and a digest of its whole path."""
    whole = folder.resolve()
    return f"{whole.name}-{hashlib.sha256(str(whole).encode()).hexdigest()[:8]}"


def reserve(path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap[Any, Any]:
    """A new array file with its whole size taken from the disk now.

    A sparse file would end the process by SIGBUS when the disk fills up; this raises instead.

    Raises:
        OSError: if the disk is too full.
    """
    out = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return out


def decode_frames(video: Path, size: int, cache: Path) -> NDArray[np.uint8]:
    """Decode a square video once into an array file and map it: ``[T, size, size, 3]`` uint8.

    Raises:
        DataError: if the video cannot be read or is not square.
    """
    target = cache / f"{folder_key(video.parent)}-{size}.npy"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".part.npy")
        try:
            with av.open(str(video)) as container:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                if stream.width != stream.height:
                    raise DataError(f"{video} is {stream.width}x{stream.height}; crop it square")
                out = reserve(partial, (stream.frames, size, size, 3), np.uint8)
                count = 0
                for frame in container.decode(video=0):
                    if count == len(out):
                        raise DataError(f"{video} holds more frames than it announces")
                    out[count] = frame.to_ndarray(
                        format="rgb24", width=size, height=size, interpolation="AREA"
                    )
                    count += 1
        except (av.FFmpegError, IndexError) as error:
            raise DataError(f"cannot read video from {video}: {error}") from error
        if count != out.shape[0]:
            raise DataError(f"{video} announces {out.shape[0]} frames but holds {count}")
        out.flush()
        partial.rename(target)
    frames: NDArray[np.uint8] = np.load(target, mmap_mode="r")
    return frames


SET_FILES = ("video.mp4", "audio.wav", "truth.npz")


def is_set(folder: Path) -> bool:
    """Whether ``folder`` is one set, as opposed to a dataset of several."""
    return any((folder / name).is_file() for name in SET_FILES)


def sets_of(folder: Path) -> list[Path]:
    """Held-out sets of a dataset (``test*``, sorted); a set is its own and only one.

    Raises:
        DataError: if there is none.
    """
    if is_set(folder):
        return [folder]
    found = sorted(child for child in folder.glob("test*") if is_set(child))
    if not found:
        raise DataError(
            f"{folder} holds no test set: expected a folder made by `daetalker prepare` "
            "(with train/ and test/) or one set with video.mp4, audio.wav and truth.npz"
        )
    return found


def train_set_of(folder: Path) -> Path:
    """The training set of a dataset, or the set itself.

    Raises:
        DataError: if there is none.
    """
    if is_set(folder):
        return folder
    if not is_set(folder / "train"):
        raise DataError(
            f"{folder} holds no training set: expected a folder made by `daetalker prepare` "
            "(with train/ and test/) or one set with video.mp4, audio.wav and truth.npz"
        )
    return folder / "train"


def load_person(folder: Path, size: int, cache: Path) -> Person:
    """Load a folder in the format above.

    Raises:
        DataError: if a file is missing or lengths disagree; the message names the file.
    """
    for name in SET_FILES:
        if not (folder / name).is_file():
            raise DataError(f"{folder} is not a training folder: {name} is missing")
    frames = decode_frames(folder / "video.mp4", size, cache)
    with np.load(folder / "truth.npz") as truth:
        pose = truth["pose_deg"].astype(np.float32)
        landmarks = truth["landmarks"].astype(np.float32)
        starts = truth.get("segment_start_frame", [0])
    with av.open(str(folder / "video.mp4")) as container:
        native = container.streams.video[0].width
    if not len(frames) == len(pose) == len(landmarks):
        raise DataError(f"{folder}: video, pose and landmarks differ in length")
    audio = read_audio(folder / "audio.wav")
    return Person(frames, audio, pose, landmarks * (size / native), np.asarray(starts, np.int64))
