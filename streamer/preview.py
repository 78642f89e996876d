"""A still picture of an avatar at rest, for the page before a session and for lists."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daetalker.models.still import encode_png
from daetalker.streamer.engine import Engine

__all__ = ["encode_png", "idle_frame"]


def idle_frame(engine: Engine) -> NDArray[np.uint8]:
    """The avatar silent, looking straight ahead, eyes open: ``[S, S, 3]`` RGB."""
    hidden = engine.silence().hidden
    latents = engine.latents(hidden, np.zeros((len(hidden), 4), np.float32))
    frame: NDArray[np.uint8] = engine.frames(latents[-1:])[0]
    return frame
