"""A signal ends the server within five seconds, politely, whatever hangs; a second one at once."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
from pydantic import BaseModel
from websockets.exceptions import ConnectionClosed

from daetalker.streamer import protocol as p
from daetalker.streamer.bench_client import BenchClient
from daetalker.streamer.last_resort import end_after
from tests.streamer.odd import odd_server
from tests.streamer.serving import PATIENCE_S, buzz, running, settings_for, talker

EXIT_S = 5.0
LOADED_S = 5.0
"""A very busy machine gets as much again; the figure is printed."""


async def test_everybody_hears_the_goodbye_and_the_process_ends(bundle: Path) -> None:
    async with odd_server(bundle) as server:
        async with talker(server.url) as quiet, talker(server.url) as client:
            await client.hello()
            start_s = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            for one in (client, quiet):
                goodbye = await one.hear("goodbye")
                assert goodbye["message"] == "the server is stopping" and goodbye["retry_s"] == 3
                with pytest.raises(ConnectionClosed):
                    await one.socket.recv()
                assert one.socket.close_code == 1001
        assert await asyncio.wait_for(server.process.wait(), PATIENCE_S) == 0
        took_s = time.monotonic() - start_s
        print(f"a clean stop took {took_s:.2f} s")
        assert took_s < EXIT_S + LOADED_S


async def test_what_hangs_does_not_keep_it(bundle: Path) -> None:
    async with odd_server(bundle, "engine", "plugin", plugins=["hanging"]) as server:
        async with talker(server.url) as client:
            await client.hello()
            await asyncio.sleep(1.0)  # the plugin's session meets the engine that hangs
            start_s = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert (await client.hear("goodbye"))["retry_s"] == 3
            told_s = time.monotonic() - start_s
            status = await asyncio.wait_for(server.process.wait(), PATIENCE_S)
        took_s = time.monotonic() - start_s
        assert server.process.stderr is not None
        said = (await server.process.stderr.read()).decode()
        print(f"goodbye after {told_s:.2f} s, the end after {took_s:.2f} s with everything hanging")
        assert took_s < EXIT_S + LOADED_S
        assert status == 1 and "did not stop in time" in said


async def test_a_second_signal_ends_it_at_once(bundle: Path) -> None:
    async with odd_server(bundle, "plugin", plugins=["hanging"]) as server:
        async with talker(server.url) as client:
            await client.hello()
            server.process.send_signal(signal.SIGTERM)
            await client.hear("goodbye")
            start_s = time.monotonic()
            server.process.send_signal(signal.SIGINT)
            status = await asyncio.wait_for(server.process.wait(), PATIENCE_S)
        assert status == 128 + signal.SIGINT
        assert time.monotonic() - start_s < 3.0


class Listening(BenchClient):
    """Keeps the goodbye."""

    goodbye: p.Goodbye | None = None

    async def _next(self) -> BaseModel:
        message = await super()._next()
        if isinstance(message, p.Goodbye):
            self.goodbye = message
        return message


async def test_a_session_ends_when_its_time_is_over(bundle: Path) -> None:
    async with running(settings_for(bundle, session_minutes=0.02)) as server:
        client = Listening(server.url, buzz(1.0))
        await client.__aenter__()
        await server.empty()
        async with asyncio.timeout(PATIENCE_S):
            while client.goodbye is None:
                await asyncio.sleep(0.02)
        await client.close()
        assert client.goodbye.retry_s is None
        assert "0.02 minutes" in client.goodbye.message


def test_the_last_resort_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    left: list[int] = []
    timer = end_after(0.01, left.append)
    timer.join(10)
    assert left == [1] and "was ended" in capfd.readouterr().err
