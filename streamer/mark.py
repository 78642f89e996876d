"""Mark: the small visible text that says the picture is made by a computer.

It is drawn into the pixels at the one gate that all pictures of a session go through
(`screen.py`), and by `offline.synthesise` for renders, so that every outlet shows it.
docs/honest-media.md says what else is marked, and how.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.glyphs import drawn

__all__ = ["MOST_CHARACTERS", "UNMARKED", "Corner", "Mark"]

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
MOST_CHARACTERS = 32
SHORTEST = "AI"

# At 256 pixels a letter is 14 high: readable after VP8 at 300 kbit/s, and clear of the face.
_PIXELS_A_DOT = 128
_INK, _INK_OPACITY = 255.0, 0.92
_PLATE, _PLATE_OPACITY = 0.0, 0.5
_BORDER_DOTS = 2
# A 32nd of the picture: pages like to cut the outermost corners off round.
_MARGIN = 32


class Mark:
    """A text in a corner.  Holds no state of any session; every thread may draw.

    Attributes:
        text: what is drawn; empty for nothing.
        corner: where.
    """

    def __init__(self, text: str = "AI", corner: Corner = "bottom-right") -> None:
        """Check the text.

        Args:
            text: up to 32 printable ASCII characters; empty for no mark.
            corner: ``top-left``, ``top-right``, ``bottom-left`` or ``bottom-right``.

        Raises:
            ValueError: if the text is too long or a character cannot be drawn.
        """
        self.text = text.strip()
        self.corner = corner
        if len(self.text) > MOST_CHARACTERS:
            raise ValueError(f"'{self.text}' is too long: {MOST_CHARACTERS} characters at most")
        drawn(self.text)

    def on(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture with the mark on it; without a text the very picture that was given.

        Args:
            rgb: ``[S, S, 3]``; not written to, because frames share pictures.
        """
        if not self.text:
            return rgb
        patch = _patch(self.text, len(rgb))
        height, width = patch.ink.shape[:2]
        margin = len(rgb) // _MARGIN
        vertical, horizontal = self.corner.split("-")
        top = margin if vertical == "top" else len(rgb) - margin - height
        left = margin if horizontal == "left" else len(rgb) - margin - width
        marked = rgb.copy()
        place = marked[top : top + height, left : left + width]
        place[:] = (place * patch.rest + patch.ink) >> 8
        return marked


class _Patch:
    """The mark in pixels: ``picture * rest + ink``, both ``[H, W, 1]`` uint16 in 1/256."""

    def __init__(self, ink: NDArray[np.bool_]) -> None:
        opacity = np.where(ink, _INK_OPACITY, _PLATE_OPACITY)[..., None]
        level = np.where(ink, _INK, _PLATE)[..., None]
        self.rest = np.rint(256 * (1 - opacity)).astype(np.uint16)
        self.ink = np.rint(256 * opacity * level).astype(np.uint16)


@lru_cache(maxsize=64)
def _patch(text: str, size: int) -> _Patch:
    """The mark for pictures of so many pixels; as large as fits, from 1/18 of the height down."""
    for words in (text, SHORTEST):
        dots = np.pad(drawn(words), _BORDER_DOTS)
        for scale in range(max(1, round(size / _PIXELS_A_DOT)), 0, -1):
            if max(dots.shape) * scale + 2 * (size // _MARGIN) <= size:
                return _Patch(np.kron(dots, np.ones((scale, scale), np.bool_)))
    return _Patch(np.zeros((0, 0), np.bool_))  # below 13 pixels there is no room for a face either


UNMARKED = Mark("")
"""Draws nothing: for measuring, where pictures are compared with true ones."""
