"""Small videos for the tests of `daetalker prepare`, and a stand-in for the face landmarker.

A "face" is a red rectangle on blue; its mouth is a green bar whose height is the lips' opening.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.models.training.landmarks import Face

Draw = Callable[[float], NDArray[np.uint8]]


def scene(
    t: float,
    boxes: Iterable[tuple[float, float, float, float]] = ((0.3, 0.25, 0.7, 0.75),),
    size: tuple[int, int] = (128, 128),
    opening: float = 0.0,
) -> NDArray[np.uint8]:
    """A picture ``[H, W, 3]`` with faces at ``boxes`` (shares of width and height)."""
    width, height = size
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 2] = 90
    rgb[:, : width // 8, 0] = 40  # left and right differ: turns show
    for left, top, right, bottom in boxes:
        x0, x1 = round(left * width), round(right * width)
        y0, y1 = round(top * height), round(bottom * height)
        rgb[y0:y1, x0:x1] = (220, 60, 60)
        rgb[y0:y1:4, x0:x1, 1] = 20  # something to be sharp
        middle = (x0 + x1) // 2
        mouth = round(opening * (y1 - y0) / 4)
        rgb[y1 - 12 : y1 - 12 + mouth, middle - 5 : middle + 5] = (30, 200, 30)
    return rgb


def tone(seconds: float, rate: int = 16_000, hz: float = 220.0) -> NDArray[np.float32]:
    """``[N]`` a hum that swells four times a second."""
    t = np.arange(int(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * hz * t) * (0.5 + 0.5 * np.sin(8 * np.pi * t))).astype(
        np.float32
    )


def film(
    path: Path,
    draw: Draw,
    times_s: Iterable[float],
    sound: NDArray[np.float32] | None,
    rate: int = 16_000,
    sound_from_s: float = 0.0,
    crf: int = 18,
) -> Path:
    """Write pictures at their own times and sound, ``[N]`` or ``[2, N]``, to a Matroska file."""
    times = list(times_s)
    with av.open(str(path), "w", format="matroska") as container:
        first = draw(times[0])
        video = container.add_stream("libx264", rate=25)
        video.width, video.height = first.shape[1], first.shape[0]
        video.pix_fmt = "yuv420p"
        video.options = {"crf": str(crf), "preset": "ultrafast"}
        video.codec_context.time_base = Fraction(1, 1000)
        audio = None
        if sound is not None:
            layout = "mono" if sound.ndim == 1 else "stereo"
            audio = container.add_stream("pcm_s16le", rate=rate, layout=layout)
        for time in times:
            frame = av.VideoFrame.from_ndarray(draw(time), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None and audio is not None:
            packed = np.atleast_2d(sound).T.reshape(1, -1)
            whole = np.clip(np.round(packed * 32768), -32768, 32767).astype(np.int16)
            channels = 1 if sound.ndim == 1 else 2
            for start in range(0, whole.shape[1], 1024 * channels):
                chunk = np.ascontiguousarray(whole[:, start : start + 1024 * channels])
                heard = av.AudioFrame.from_ndarray(chunk, format="s16", layout=layout)
                heard.sample_rate, heard.time_base = rate, Fraction(1, rate)
                heard.pts = round(sound_from_s * rate) + start // channels
                container.mux(audio.encode(heard))
            container.mux(audio.encode(None))
    return path


class RedFinder:
    """Finds red rectangles as the face landmarker finds faces; use it in a ``with`` block."""

    def __init__(self) -> None:
        self.calls = 0

    def __enter__(self) -> RedFinder:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def measure_all(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Every rectangle, left to right."""
        self.calls += 1
        size = len(rgb)
        red = (rgb[..., 0] > 130) & (rgb[..., 1] < 110)
        columns = np.flatnonzero(red.sum(0) > 3)
        faces = []
        if columns.size:
            for run in np.split(columns, np.flatnonzero(np.diff(columns) > 4) + 1):
                rows = np.flatnonzero(red[:, run].sum(1) > 3)
                green = (rgb[:, run, 1] > 120) & (rgb[:, run, 0] < 110)
                mouth = green.any(1).sum() / max(1, rows[-1] - rows[0])
                faces.append(_face(run[0], rows[0], run[-1] + 1, rows[-1] + 1, mouth, size))
        return faces


def _face(left: float, top: float, right: float, bottom: float, mouth: float, size: int) -> Face:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (478, 3)).astype(np.float32)
    points[0, :2], points[1, :2] = 0, 1  # the box is known exactly
    points[33, :2], points[263, :2] = (0.2, 0.3), (0.8, 0.3)
    for upper, lower in ((13, 14), (82, 87), (312, 317)):
        points[upper, :2] = 0.5, 0.8
        points[lower, :2] = 0.5, 0.8 + mouth
    points[:, 0] = (left + points[:, 0] * (right - left)) / size
    points[:, 1] = (top + points[:, 1] * (bottom - top)) / size
    points[:, 2] = 0
    return Face(points, np.eye(3, dtype=np.float32))
