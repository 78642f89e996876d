"""Last resort: the process ends in time, whatever hangs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["end_after", "end_now"]


def end_after(seconds: float, leave: Callable[[int], None] = os._exit) -> threading.Timer:
    """End the process after so many seconds, unless it has ended by itself.

    What hangs may be a thread that Python would wait for, or the event loop: so this comes from a
    thread of its own and asks nobody.
    """
    timer = threading.Timer(
        seconds, end_now, ("the server did not stop in time and was ended", 1, leave)
    )
    timer.daemon = True
    timer.start()
    return timer


def end_now(why: str, status: int, leave: Callable[[int], None] = os._exit) -> None:
    """Say why and end the process, from any thread or signal handler."""
    # Not by logging: its lock may be held by what hangs.
    with suppress(OSError):
        os.write(2, f"daetalker: {why}\n".encode())
    with suppress(Exception):
        sys.stdout.flush()
    leave(status)
