"""Raw times of one session, for `daetalker bench`: what came in when, what went out when.

The tap only notes; nothing waits for it and nothing in a session depends on it.  All times are
``time.monotonic()`` seconds, which processes of one machine share on Linux.  It holds ten minutes
at most (about 60 MB); what comes later is not noted.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_S = 600
_MAX_CHUNKS = MAX_S * 50
_MAX_FRAMES = MAX_S * 25


class MediaTap:
    """Notes of one session's media, at the edge of the WebRTC library."""

    def __init__(self) -> None:
        self._heard: list[tuple[float, int, int]] = []
        self._heard_pcm: list[NDArray[np.int16]] = []
        self._voice_start: list[int] = []
        self._voice_pcm: list[NDArray[np.int16]] = []
        self._taken: list[tuple[float, int]] = []
        self._sent: list[tuple[float, int]] = []

    def heard(self, pts: int, pcm: NDArray[np.int16]) -> None:
        """Decoded audio left the receiver: 48 kHz position within the client's stream, samples."""
        if len(self._heard) < _MAX_CHUNKS:
            self._heard.append((time.monotonic(), pts, len(pcm)))
            self._heard_pcm.append(pcm)

    def voice(self, start: int, pcm: NDArray[np.int16]) -> None:
        """A voice chunk went to the encoder: 48 kHz position on the session's media timeline."""
        if len(self._voice_start) < _MAX_CHUNKS:
            self._voice_start.append(start)
            self._voice_pcm.append(pcm)

    def taken(self, index: int) -> None:
        """Frame ``index`` went to the encoder."""
        if len(self._taken) < _MAX_FRAMES:
            self._taken.append((time.monotonic(), index))

    def sent(self, index: int) -> None:
        """The last packet of frame ``index`` has left the sender."""
        if len(self._sent) < _MAX_FRAMES:
            self._sent.append((time.monotonic(), index))

    def save(self, path: Path, **extra: float) -> None:
        """Write everything to an ``.npz`` file; ``extra`` are further numbers to keep with it."""
        empty = np.zeros(0, np.int16)
        arrays: dict[str, Any] = {
            "heard": np.array(self._heard, np.float64).reshape(-1, 3),
            "heard_pcm": np.concatenate(self._heard_pcm) if self._heard_pcm else empty,
            "voice_start": np.array(self._voice_start, np.int64),
            "voice_pcm": np.concatenate(self._voice_pcm) if self._voice_pcm else empty,
            "taken": np.array(self._taken, np.float64).reshape(-1, 2),
            "sent": np.array(self._sent, np.float64).reshape(-1, 2),
        }
        arrays |= {name: np.array(value) for name, value in extra.items()}
        # Under another name first, so that whoever waits for the file finds it whole.
        partial = path.with_name(f".{path.name}.part")
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(path)
