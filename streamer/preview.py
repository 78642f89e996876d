"""A still picture of an avatar at rest, for the page before a session and for lists."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.engine import Engine


def idle_frame(engine: Engine) -> NDArray[np.uint8]:
    """The avatar silent, looking straight ahead, eyes open: ``[S, S, 3]`` RGB."""
    hidden = engine.silence().hidden
    latents = engine.latents(hidden, np.zeros((len(hidden), 4), np.float32))
    frame: NDArray[np.uint8] = engine.frames(latents[-1:])[0]
    return frame


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """A PNG file of an ``[H, W, 3]`` RGB picture."""
    height, width, _ = rgb.shape
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "rgb24"
    codec.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
