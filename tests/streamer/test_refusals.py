"""Every refusal is counted, logged once, and never with what the client sent."""

from __future__ import annotations

import asyncio
import logging

import pytest

from daetalker.streamer.refusals import MAX_KINDS, SUMMARY_S, Refusals


class Counted:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def refused(self, reason: str) -> None:
        self.reasons.append(reason)


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_one_refusal_is_one_warning_and_one_count(caplog: pytest.LogCaptureFixture) -> None:
    counted = Counted()
    Refusals(counted).note("server_full", "192.0.2.7", "4 places")
    assert counted.reasons == ["server_full"]
    assert lines(caplog) == ["refused reason=server_full from=192.0.2.7 4 places"]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_flood_is_one_line_and_its_sum(caplog: pytest.LogCaptureFixture) -> None:
    counted, hand = Counted(), Hand()
    refusals = Refusals(counted, hand)
    for _ in range(500):
        refusals.note("too_fast", "192.0.2.7")
    refusals.note("too_fast", "192.0.2.8")
    assert len(lines(caplog)) == 2 and len(counted.reasons) == 501
    hand.now_s += SUMMARY_S
    refusals.note("bad_sdp", "192.0.2.9")
    assert lines(caplog)[2:] == [
        "refused reason=too_fast from=192.0.2.7 499 more within 60 s",
        "refused reason=bad_sdp from=192.0.2.9",
    ]
    refusals.note("too_fast", "192.0.2.7")  # a new minute, a new line
    assert len(lines(caplog)) == 5


def test_the_sum_is_not_lost_when_the_server_stops(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(Counted(), Hand())
    refusals.note("no_token", "192.0.2.7")
    refusals.note("no_token", "192.0.2.7")
    refusals.flush()
    refusals.flush()
    assert lines(caplog)[1:] == ["refused reason=no_token from=192.0.2.7 1 more within 0 s"]


async def test_the_sum_of_a_flood_that_has_ended_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals(Counted(), summary_s=0.2)
    refusals.note("no_token", "192.0.2.7")
    refusals.note("no_token", "192.0.2.7")
    async with asyncio.timeout(30):
        while len(lines(caplog)) < 2:
            await asyncio.sleep(0.02)
    assert "1 more" in lines(caplog)[1]


def test_addresses_of_one_network_share_a_line_and_memory_is_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals(Counted(), Hand())
    for number in range(50):
        refusals.note("no_token", f"2001:db8::{number:x}")
    assert lines(caplog) == ["refused reason=no_token from=2001:db8::/64"]
    for number in range(2 * MAX_KINDS):
        refusals.note("no_token", f"10.{number >> 8}.{number & 255}.1")
    assert len(refusals._kinds) <= MAX_KINDS + 1
    assert len(lines(caplog)) <= MAX_KINDS + 1


def test_words_outside_the_list_and_bad_addresses_do_not_spread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted = Counted()
    Refusals(counted).note("invented", "a\nb", "line\nbreak \x1b[31m" + "x" * 1000)
    assert counted.reasons == ["other"]
    (line,) = lines(caplog)
    assert line.startswith("refused reason=other from=unknown line?break ?[31m")
    assert len(line) < 260
