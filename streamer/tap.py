"""Raw times of one session, for `daetalker bench`: what came in when, what went out when.

The tap only notes; nothing waits for it and nothing in a session depends on it.  All times are
``time.monotonic()`` seconds, which processes of one machine share on Linux.  It writes to a folder
as it goes (12 MB a minute, nearly all of it voice), so that an hour takes no more memory than a
second; `bench_log.py` reads it.
"""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["MediaTap"]

_BUFFER_BYTES = 1 << 16


class MediaTap:
    """Notes of one session's media, at the edge of the WebRTC library."""

    def __init__(self, folder: Path) -> None:
        """Begin a log; ``folder`` is made if need be.

        Raises:
            OSError: if it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        names = ("heard.f64", "heard.s16", "voice.i64", "voice.s16", "taken.f64", "sent.f64")
        self._files = {name: (folder / name).open("wb", _BUFFER_BYTES) for name in names}

    def heard(self, pts: int, pcm: NDArray[np.int16]) -> None:
        """Decoded audio left the receiver: 48 kHz position within the client's stream, samples."""
        self._write("heard.f64", struct.pack("=3d", time.monotonic(), pts, len(pcm)))
        self._write("heard.s16", pcm.tobytes())

    def voice(self, start: int, pcm: NDArray[np.int16]) -> None:
        """A voice chunk went to the encoder: 48 kHz position on the session's media timeline."""
        self._write("voice.i64", struct.pack("=q", start))
        self._write("voice.s16", pcm.tobytes())

    def taken(self, index: int) -> None:
        """Frame ``index`` went to the encoder."""
        self._write("taken.f64", struct.pack("=2d", time.monotonic(), index))

    def sent(self, index: int) -> None:
        """The last packet of frame ``index`` has left the sender."""
        self._write("sent.f64", struct.pack("=2d", time.monotonic(), index))

    def save(self, **numbers: float) -> None:
        """Write what is left, and the further numbers to keep; the log is complete then."""
        self.close()
        # Under another name first, so that whoever waits for the file finds it whole.
        partial = self._folder / ".session.json.part"
        partial.write_text(json.dumps(numbers))
        partial.replace(self._folder / "session.json")

    def close(self) -> None:
        """Free the files; may be called again.  What comes later is not noted."""
        for file in self._files.values():
            file.close()
        self._files = {}

    def _write(self, name: str, data: bytes) -> None:
        file = self._files.get(name)
        if file is not None:
            file.write(data)
