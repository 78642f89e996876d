"""What preparing is at, and how long it will take."""

from __future__ import annotations

import sys
import time


class Progress:
    """One line on stderr that says what is going on; on a terminal it rewrites itself."""

    def __init__(self) -> None:
        self._talks = sys.stderr.isatty()
        self._label = ""
        self._since_s = self._first = 0.0

    def __call__(self, label: str, done: float, total: float) -> None:
        """Say how far ``label`` is, and how long it will take at the pace so far."""
        now = time.monotonic()
        if label != self._label:
            self._label, self._since_s, self._first = label, now, done
            if not self._talks:
                print(label, file=sys.stderr, flush=True)
        if not self._talks:
            return
        line = f"\r\033[K{label}: {done:.0f} of {total:.0f}"
        if done > self._first and now - self._since_s > 2:
            left_s = (now - self._since_s) / (done - self._first) * (total - done)
            line += f", {left_s / 60:.0f} min left" if left_s > 90 else f", {left_s:.0f} s left"
        print(line, end="\n" if done >= total else "", file=sys.stderr, flush=True)
