"""Logs: one line an event, for people or for machines, with the session that it is about.

The session's id travels in a context variable: every task, timer and thread call that a session
starts inherits it, so that lines of the media libraries carry it too.

Nothing of what clients send goes into a log: no voice, no SDP, no tokens.  Our own lines do not
contain any; the libraries that would write messages or headers at level ``debug`` are kept above
it; and what looks like a token, or is one of the secrets of the settings, is blotted out.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

__all__ = ["JsonFormatter", "LogFormat", "TextFormatter", "configure_logging", "in_session"]

LogFormat = Literal["text", "json"]

_session: ContextVar[str] = ContextVar("daetalker_session", default="")

BLOT = "***"
SHORTEST_SECRET = 6
"""Shorter secrets are ordinary words too often for blotting them out of every line."""

_TOKEN = re.compile(
    r"(?P<name>[\w-]*(?:token|credential|password|secret)=|\bBearer +)"
    r"[^\s&\"',;]+",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")

_MEDIA_LIBRARIES = ("aioice", "aiortc", "libav")
# At level debug these write whole headers and messages, that is tokens and SDP.
_TALKATIVE = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "websockets")

_OF_EVERY_RECORD = frozenset(logging.makeLogRecord({}).__dict__) | {"asctime", "message"}


@contextlib.contextmanager
def in_session(session_id: str) -> Iterator[None]:
    """Lines logged inside the block, and by whatever is started there, name this session."""
    before = _session.set(session_id)
    try:
        yield
    finally:
        _session.reset(before)


class TextFormatter(logging.Formatter):
    """``2026-01-31 12:00:00,123 INFO daetalker.streamer.hub [session 1f0a]: message``."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = _worth_blotting(secrets)

    def format(self, record: logging.LogRecord) -> str:
        session = _session_of(record)
        about = f" [session {session}]" if session else ""
        message = _CONTROL.sub(_escaped, record.getMessage())
        more = "".join(f" {name}={value}" for name, value in _fields(record).items())
        line = f"{self.formatTime(record)} {record.levelname} {record.name}{about}: {message}{more}"
        trace = _trace(self, record)
        return _blot(f"{line}\n{trace}" if trace else line, self._secrets)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, ``session`` and
    ``trace`` where there is one, and what a line was given as ``extra``.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = _worth_blotting(secrets)

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if session := _session_of(record):
            line["session"] = session
        line |= {name: value for name, value in _fields(record).items() if name not in line}
        if trace := _trace(self, record):
            line["trace"] = trace
        # Blotted before it is written as JSON: a mark inside an escape would break the line.
        clean = {name: _clean(value, self._secrets) for name, value in line.items()}
        return json.dumps(clean, ensure_ascii=False, default=str)


def configure_logging(
    level: str,
    log_format: LogFormat = "text",
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Log on standard error from now on; the libraries speak up only when something is wrong.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        secrets: words that no line may contain, whoever writes it.
        stream: instead of standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(secrets) if log_format == "json" else TextFormatter(secrets))
    # Does nothing where somebody else has set up logging already, as a test runner does.
    logging.basicConfig(handlers=[handler], level=level.upper())
    quiet = logging.DEBUG if level == "debug" else logging.WARNING
    for name in _MEDIA_LIBRARIES:
        logging.getLogger(name).setLevel(quiet)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(quiet, logging.INFO))
    for name in ("asyncio", "uvicorn.error"):
        logging.getLogger(name).addFilter(_OnceAMinute())


class _OnceAMinute(logging.Filter):
    """Lets what libraries say of clients' mistakes through once a minute, without a traceback.

    They say it for every message, so that a client could fill the disk with it.
    """

    SAID = ("Invalid UTF-8 sequence received from client.", "socket.send() raised exception.")

    def __init__(self) -> None:
        super().__init__()
        self._next_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if said not in self.SAID:
            return True
        if time.monotonic() < self._next_s.get(said, 0.0):
            return False
        self._next_s[said] = time.monotonic() + 60.0
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.exc_info = record.exc_text = None
        return True


def _session_of(record: logging.LogRecord) -> str:
    # Formatted where it is logged: the handler is called in the thread and context of the line.
    given = getattr(record, "session", None)
    return given if isinstance(given, str) else _session.get()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the line was given as ``extra``."""
    return {
        name: value
        for name, value in record.__dict__.items()
        if name not in _OF_EVERY_RECORD and name != "session" and not name.startswith("_")
    }


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


def _worth_blotting(secrets: Iterable[str]) -> tuple[str, ...]:
    return tuple(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)


def _clean(value: Any, secrets: tuple[str, ...]) -> Any:
    return _blot(value, secrets) if isinstance(value, str) else value


def _blot(text: str, secrets: tuple[str, ...]) -> str:
    text = _TOKEN.sub(rf"\g<name>{BLOT}", text)
    for secret in secrets:
        text = text.replace(secret, BLOT)
    return text


def _escaped(match: re.Match[str]) -> str:
    """A line of the log stays one line, whatever was put into it."""
    return match.group().encode("unicode_escape").decode()
