"""What fuzzing and sieges have found once (docs/security.md): it stays mended."""

from __future__ import annotations

import io
import json
import logging

import pytest

from daetalker.streamer.addresses import host_name
from daetalker.streamer.logs import configure_logging
from daetalker.streamer.peer import check_offer
from daetalker.streamer.protocol import ProtocolError, parse_client_message
from tests.fuzz.rooms import OFFER


def test_a_good_offer_passes() -> None:
    check_offer(OFFER)


@pytest.mark.parametrize(
    ("without", "words"),
    [("a=fingerprint", "without a fingerprint"), ("a=ice-pwd", "without ICE credentials")],
)
def test_offers_that_would_only_fail_while_connecting_are_refused(without: str, words: str) -> None:
    lines = [line for line in OFFER.split("\r\n") if not line.startswith(without)]
    with pytest.raises(ProtocolError, match=words):
        check_offer("\r\n".join(lines))


def test_a_refusal_quotes_little_and_on_one_line() -> None:
    with pytest.raises(ProtocolError) as refused:
        check_offer("v=0\r\nm=" + "a" * 9000)
    assert len(refused.value.message) < 200
    text = json.dumps({"type": "natural", "\n" + "x" * 9000: 1})
    with pytest.raises(ProtocolError) as refused:
        parse_client_message(text)
    assert len(refused.value.message) < 200 and "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("header", "name"),
    [("127.0.0.1:80", "127.0.0.1"), ("[::1]:80", "::1"), ("[::1", ""), ("", ""), ("A.b", "a.b")],
)
def test_a_host_header_is_a_name_or_nothing(header: str, name: str) -> None:
    assert host_name(header) == name


def test_what_libraries_say_of_clients_mistakes_is_logged_once_without_a_trace() -> None:
    root, stream = logging.getLogger(), io.StringIO()
    handlers, root.handlers = root.handlers, []
    uvicorn = logging.getLogger("uvicorn.error")
    filters, level = list(uvicorn.filters), root.level
    try:
        configure_logging("info", stream=stream)
        for _ in range(5):
            try:
                b"\xff".decode()
            except UnicodeDecodeError:
                uvicorn.exception("Invalid UTF-8 sequence received from client.")
    finally:
        root.handlers, uvicorn.filters = handlers, filters
        root.setLevel(level)
    assert stream.getvalue().count("Invalid UTF-8") == 1
    assert "Traceback" not in stream.getvalue() and "ERROR" not in stream.getvalue()
