"""Pictures and clips as data URIs, for a page that needs nothing beside itself.

S pixels a side.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from daetalker.models.training.data import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from daetalker.models.training.probes import Audio

Picture = NDArray[np.uint8]
JPEG_QUALITY = 90
CRF = 21


@dataclass(frozen=True)
class Strip:
    """Rows of pictures under each other: one row a decoder, one column a frame.

    Attributes:
        rows: name and pictures ``[S, S, 3]``, equally many in every row.
        columns: what stands over each column.
    """

    title: str
    note: str
    columns: list[str]
    rows: list[tuple[str, list[Picture]]]


@dataclass(frozen=True)
class Clip:
    """A few seconds with sound; pictures side by side are joined already."""

    title: str
    note: str
    frames: list[Picture]
    audio: Audio


@dataclass
class Album:
    """What an evaluation shows beside its numbers, by the table that it belongs to."""

    strips: dict[str, list[Strip]] = field(default_factory=dict)
    clips: dict[str, list[Clip]] = field(default_factory=dict)

    def add(self, table: str, *items: Strip | Clip) -> None:
        """Put strips and clips into the section of ``table``; empty ones are left out."""
        for item in items:
            if isinstance(item, Strip) and item.columns:
                self.strips.setdefault(table, []).append(item)
            elif isinstance(item, Clip) and item.frames:
                self.clips.setdefault(table, []).append(item)


def beside(*pictures: Picture) -> Picture:
    """Pictures of one height side by side."""
    return np.concatenate(pictures, axis=1)


def difference(a: Picture, b: Picture, gain: float) -> Picture:
    """Where two pictures differ, ``gain`` times enlarged around middle grey."""
    apart = a.astype(np.float32) - b
    shown: Picture = np.clip(128.0 + gain * apart, 0, 255).astype(np.uint8)
    return shown


def jpeg_uri(picture: Picture) -> str:
    """``[H, W, 3]`` as a data URI."""
    file = io.BytesIO()
    imsave(file, picture, format="jpeg", pil_kwargs={"quality": JPEG_QUALITY})
    return _uri("image/jpeg", file.getvalue())


def mp4_uri(frames: Sequence[Picture], audio: Audio) -> str:
    """H.264 and AAC in MP4 as a data URI; ``frames [H, W, 3]`` with even sides, 16 kHz sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as movie:
        video = movie.add_stream("libx264", rate=FPS, options={"crf": str(CRF), "preset": "fast"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        sound = movie.add_stream("aac", rate=SAMPLE_RATE, layout="mono", bit_rate=64_000)
        for index, rgb in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, FPS)
            movie.mux(video.encode(picture))
        pcm = np.clip(audio[: len(frames) * SAMPLES_PER_FRAME] * 32767.0, -32767, 32767)
        block = av.AudioFrame.from_ndarray(
            np.rint(pcm).astype(np.int16)[None], format="s16", layout="mono"
        )
        block.sample_rate, block.pts, block.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
        movie.mux(sound.encode(block))
        movie.mux(video.encode(None))
        movie.mux(sound.encode(None))
    return _uri("video/mp4", file.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
