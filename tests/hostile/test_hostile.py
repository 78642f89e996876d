"""A short siege of a real server; `python -m tests.hostile` is the long one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.attacks import ATTACKS
from tests.hostile.server import serving
from tests.hostile.siege import besiege
from tests.streamer.odd import POOL
from tests.tiny import make_tiny_bundle

CONNECTIONS = 8 * len(ATTACKS)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Our own end of broken connections has nothing to say."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_a_besieged_server_serves_on_and_keeps_nothing(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny")
    with serving(bundle, "--max-clients", "12", "--max-per-address", "100") as server:
        outcome = asyncio.run(besiege(server, CONNECTIONS))
        assert outcome.alive
        assert outcome.faults == []
        assert sum(outcome.attacks.values()) == CONNECTIONS
        assert outcome.fps > 5 and outcome.fps_after > 5  # 25 where nothing else runs
        assert outcome.before is not None and outcome.after is not None
        assert outcome.after.files <= outcome.before.files
        assert outcome.after.udp == 0
        assert outcome.after.threads < outcome.before.threads + POOL
        assert outcome.after.mb < outcome.before.mb + 100
        # One line and one summary of each reason, however many there were.
        assert {"bad_message", "bad_sdp", "bad_request"} <= outcome.refusals.keys()
        assert max(outcome.refusals.values()) <= 2 + outcome.seconds // 60
