from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from daetalker.streamer.logs import JsonFormatter, TextFormatter, configure_logging, in_session

Reads = Callable[[], list[str]]


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest) -> Iterator[tuple[logging.Logger, Reads]]:
    """A logger of its own with the format under test, and what it has written by line."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    secrets = ["correct horse", "abc"]
    handler.setFormatter(
        JsonFormatter(secrets) if request.param == "json" else TextFormatter(secrets)
    )
    logger = logging.getLogger(f"tests.logs.{request.param}")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger, lambda: stream.getvalue().splitlines()
    logger.removeHandler(handler)


def test_every_line_says_when_what_where_and_whom(log: tuple[logging.Logger, Reads]) -> None:
    logger, lines = log
    logger.info("before")
    with in_session("5eed"):
        logger.warning("frame %d is late", 7, extra={"late_ms": 12})
    (before, line) = lines()
    assert "5eed" not in before
    if logger.name.endswith("json"):
        told = json.loads(line)
        assert told.pop("time").endswith("Z")
        assert told == {
            "level": "warning",
            "logger": logger.name,
            "message": "frame 7 is late",
            "session": "5eed",
            "late_ms": 12,
        }
    else:
        assert line.endswith(f"WARNING {logger.name} [session 5eed]: frame 7 is late late_ms=12")


async def test_what_a_session_starts_carries_its_id(log: tuple[logging.Logger, Reads]) -> None:
    """Tasks, timers and threads: as the media libraries use them."""
    logger, lines = log
    loop = asyncio.get_running_loop()

    async def talk(session_id: str) -> None:
        with in_session(session_id):
            task = asyncio.create_task(asyncio.to_thread(logger.info, "thread of %s", session_id))
            rang = asyncio.Event()
            loop.call_later(0.01, logger.info, "timer of %s", session_id)
            loop.call_later(0.02, rang.set)
            await asyncio.gather(task, rang.wait())

    await asyncio.gather(talk("one"), talk("two"))
    logger.info("nobody's")
    told = lines()
    assert len(told) == 5
    for line in told[:-1]:
        assert line.count("one") in (0, 2) and line.count("two") in (0, 2), line
    assert "session" not in told[-1]


def test_secrets_and_tokens_are_blotted_out(log: tuple[logging.Logger, Reads]) -> None:
    logger, lines = log
    logger.info("GET /ws?token=s3cr3t&x=1 with Authorization: Bearer s3cr3t")
    logger.info("the password is %s", "correct horse")
    try:
        raise RuntimeError("turn_credential=s3cr3t; correct horse")
    except RuntimeError:
        logger.exception("failed", extra={"url": "/?page_token=s3cr3t"})
    logger.info("abc is too short to be kept secret")
    text = "\n".join(lines())
    assert "s3cr3t" not in text and "correct horse" not in text
    assert "x=1" in text and "RuntimeError" in text and "abc is" in text


def test_a_client_cannot_write_lines_of_its_own(log: tuple[logging.Logger, Reads]) -> None:
    logger, lines = log
    logger.info("hello %s", "x\n2026 INFO forged\r\x1b[31m")
    (line,) = lines()
    assert "forged" in line and "\x1b" not in line


def test_every_line_of_json_is_json_even_under_threads() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("tests.logs.many")
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)

    def shout(name: str) -> None:
        with in_session(name):
            for number in range(50):
                logger.info('"%s"\n%d', name, number, extra={"thing": object()})

    threads = [threading.Thread(target=shout, args=(f"s{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logger.removeHandler(handler)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(told) == 200
    assert all(line["message"].startswith(f'"{line["session"]}"') for line in told)


@contextlib.contextmanager
def _fresh_logging() -> Iterator[io.StringIO]:
    """No handlers at first; afterwards everything that `configure_logging` changes is put back."""
    names = ("aiortc", "aioice", "libav", "uvicorn", "uvicorn.error", "uvicorn.asgi", "websockets")
    levels = {name: logging.getLogger(name).level for name in names}
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        yield io.StringIO()
    finally:
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)
        root.handlers[:] = handlers
        root.setLevel(level)


def test_at_debug_the_libraries_that_write_whole_messages_stay_quiet() -> None:
    with _fresh_logging() as stream:
        configure_logging("debug", "json", stream=stream)
        logging.getLogger("websockets").debug("< TEXT %s", "v=0 the SDP")
        logging.getLogger("uvicorn.error").debug("< TEXT %s", "v=0 the SDP")
        logging.getLogger("aiortc.rtcpeerconnection").debug("a state")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == "a state"


def test_at_info_the_media_libraries_only_warn() -> None:
    with _fresh_logging() as stream:
        configure_logging("info", stream=stream)
        logging.getLogger("aioice.ice").info("gathering")
        logging.getLogger("daetalker.anything").info("ours")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("INFO daetalker.anything: ours")
