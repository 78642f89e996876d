"""Refusals: every "no" to a client is counted, and logged once, without what the client sent."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, get_args

from daetalker.streamer.addresses import address_key
from daetalker.streamer.messages import ErrorCode

__all__ = ["REASONS", "Refusals"]

logger = logging.getLogger(__name__)

REASONS = frozenset(get_args(ErrorCode)) | {
    "bad_bundle",
    "bad_request",
    "expired_token",
    "no_hello",
    "no_token",
    "time_is_up",
    "too_much_audio",
    "used_token",
    "wrong_host",
    "wrong_origin",
}
"""The words that a refusal may be counted under; anything else is counted as ``other``."""

SUMMARY_S = 60.0
MAX_KINDS = 1024
"""Pairs of reason and address that are told apart within a minute; further ones share a line."""

_MAX_DETAIL = 200


class _Counter(Protocol):
    def refused(self, reason: str) -> None: ...


@dataclass
class _Kind:
    since_s: float
    repeats: int = 0


class Refusals:
    """Notes refusals.  For any thread.

    The first of a reason and an address is logged at once; those of the next 60 s are counted and
    logged as one line when the time is over, or at ``flush``.
    """

    def __init__(
        self,
        metrics: _Counter,
        now: Callable[[], float] = time.monotonic,
        summary_s: float = SUMMARY_S,
    ) -> None:
        self._metrics = metrics
        self._now = now
        self._summary_s = summary_s
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def note(self, reason: str, who: str, detail: str = "") -> None:
        """Count and log one refusal.

        Args:
            reason: one of ``REASONS``.
            who: the client's address; networks of IPv6 count as one.
            detail: our own words; never what the client sent, nor a secret.
        """
        reason = reason if reason in REASONS else "other"
        self._metrics.refused(reason)
        lines = []
        with self._lock:
            lines += self._due()
            key = (reason, address_key(who))
            if key not in self._kinds and len(self._kinds) >= MAX_KINDS:
                key = (reason, "others")
            kind = self._kinds.get(key)
            if kind is None:
                self._kinds[key] = _Kind(self._now())
                lines.append(_line(reason, key[1], detail))
            else:
                kind.repeats += 1
                if kind.repeats == 1:
                    self._look_later()
        for line in lines:
            logger.warning("%s", line)

    def flush(self) -> None:
        """Log what was counted and is not told yet, as the server stops."""
        with self._lock:
            lines = self._due(everything=True)
        for line in lines:
            logger.warning("%s", line)

    def _look_later(self) -> None:
        """Tell of a flood that has ended too; without a loop the next refusal does it."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        loop.call_later(self._summary_s * 1.02, self._look)

    def _look(self) -> None:
        with self._lock:
            lines = self._due()
        for line in lines:
            logger.warning("%s", line)

    def _due(self, everything: bool = False) -> list[str]:
        """Forget what is older than a minute; the lines that sum it up."""
        now = self._now()
        over = [
            key
            for key, kind in self._kinds.items()
            if everything or now - kind.since_s >= self._summary_s
        ]
        gone = [(key, self._kinds.pop(key)) for key in over]
        return [
            _line(reason, who, f"{kind.repeats} more within {now - kind.since_s:.0f} s")
            for (reason, who), kind in gone
            if kind.repeats
        ]


def _line(reason: str, who: str, detail: str) -> str:
    clean = "".join(letter if letter.isprintable() else "?" for letter in detail[:_MAX_DETAIL])
    return f"refused reason={reason} from={who} {clean}".rstrip()
