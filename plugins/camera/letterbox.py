"""Letterbox: a square picture on the ground of a camera's frame, scaled, never stretched."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from daetalker.plugins.camera.errors import CameraError

__all__ = ["COLOURS", "Letterbox", "parse_colour"]

COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "gray": (128, 128, 128),
    "green": (0, 177, 64),
    "blue": (0, 71, 187),
}
"""Ground colours by name; green and blue are those of chroma keys."""


def parse_colour(text: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of ``#202020``, ``#222`` or a name.

    Raises:
        CameraError: if it is none of them.
    """
    if text.lower() in COLOURS:
        return COLOURS[text.lower()]
    digits = text.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    try:
        if len(digits) != 6:
            raise ValueError
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        names = ", ".join(COLOURS)
        raise CameraError(
            f"--background '{text}' is no colour; write #rrggbb such as '#202020', or {names}"
        ) from None
    return red, green, blue


class Letterbox:
    """Fits square pictures into frames of one size; belongs to one thread."""

    def __init__(self, width: int, height: int, ground: tuple[int, int, int]) -> None:
        """Frames of ``width`` x ``height`` pixels on ``ground``, an RGB colour of 0 to 255."""
        self.width, self.height = width, height
        self._empty = np.empty((height, width, 3), np.uint8)
        self._empty[:] = ground
        self._reformatter = VideoReformatter()
        self._last: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    def frame(self, picture: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """The camera's frame ``[height, width, 3]``, not to be written to.

        The same picture object gives the same frame again without work, as in the pauses.

        Args:
            picture: ``[S, S, 3]`` uint8 RGB, unchanged since it was last given; None: the ground
                alone.
        """
        if picture is None:
            return self._empty
        if self._last is None or self._last[0] is not picture:
            self._last = (picture, self._fit(picture))
        return self._last[1]

    def _fit(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        rows, columns = picture.shape[:2]
        # The largest size that fits, in whole pixels.
        scale = min(self.height / rows, self.width / columns)
        height, width = round(rows * scale), round(columns * scale)
        top, left = (self.height - height) // 2, (self.width - width) // 2
        frame = self._empty.copy()
        inside = frame[top : top + height, left : left + width]
        if (height, width) == (rows, columns):
            inside[:] = picture
        else:
            self._scale_into(picture, inside)
        return frame

    def _scale_into(self, picture: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Lanczos, each colour for itself.

        The three colours travel as the three planes of a 4:4:4 frame, which libswscale scales
        without converting colours: six times as fast as scaling RGB, and nothing is subsampled.
        """
        source = av.VideoFrame(picture.shape[1], picture.shape[0], "yuv444p")
        for colour in range(3):
            _pixels(source.planes[colour])[:] = picture[..., colour]
        scaled = self._reformatter.reformat(
            source,
            target.shape[1],
            target.shape[0],
            "yuv444p",
            interpolation=Interpolation.LANCZOS,
        )
        for colour in range(3):
            target[..., colour] = _pixels(scaled.planes[colour])


def _pixels(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    """A plane's pixels ``[H, W]``, without the padding of its lines."""
    lines = np.asarray(memoryview(plane), np.uint8).reshape(-1, plane.line_size)  # a view
    pixels: NDArray[np.uint8] = lines[: plane.height, : plane.width]
    return pixels
