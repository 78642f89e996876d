"""ICE servers: credentials that expire, several TURN servers, and media where UDP is blocked."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aioice import stun
from aioice.turn import create_turn_endpoint

from daetalker.streamer.ice import TurnFinder, ice_servers, parts_of, probe
from daetalker.streamer.settings import Settings
from daetalker.streamer.tls import main_address
from tests.streamer.coturn import coturn
from tests.streamer.serving import PATIENCE_S, Running, running, settings_for, talker

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a secret that coturn shares with us"
CLIENT = Path(__file__).with_name("behind_a_firewall.py")


def with_turn(folder: Path, *servers: str, **more: Any) -> Settings:
    return settings_for(folder, turn_servers=",".join(servers), turn_secret=SECRET, **more)


def test_each_session_has_credentials_of_its_own_that_expire(tmp_path: Path) -> None:
    settings = with_turn(
        tmp_path, "turn:a.example", "turns:b.example", stun_servers="stun:s.example", turn_hours=2
    )
    stun_server, first, second = ice_servers(settings, "1f0a", 1_800_000_000.5)
    assert stun_server == {"urls": ["stun:s.example"]}
    assert (first["urls"], second["urls"]) == (["turn:a.example"], ["turns:b.example"])
    assert first["username"] == second["username"] == "1800007200:1f0a"
    wanted = hmac.new(SECRET.encode(), b"1800007200:1f0a", hashlib.sha1).digest()
    assert base64.b64decode(first["credential"]) == wanted
    assert ice_servers(settings, "2e", 1_800_000_000.5)[1]["credential"] != first["credential"]


def test_fixed_credentials_go_out_as_they_are(tmp_path: Path) -> None:
    flags = {"turn_servers": "turn:a.example", "turn_username": "ann", "turn_credential": "pw"}
    (server,) = ice_servers(settings_for(tmp_path, **flags), "1f", 0.0)
    assert server == {"urls": ["turn:a.example"], "username": "ann", "credential": "pw"}
    assert ice_servers(settings_for(tmp_path), "1f", 0.0) == []


def test_addresses_have_ports_and_transports() -> None:
    assert parts_of("turn:a.example") == ("turn", "a.example", 3478, "udp")
    assert parts_of("turn:a.example:80?transport=tcp") == ("turn", "a.example", 80, "tcp")
    assert parts_of("turns:[2001:db8::1]:443") == ("turns", "2001:db8::1", 443, "tcp")


@pytest.fixture
def nobody() -> Iterator[int]:
    """A UDP port where nothing is ever answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        yield mute.getsockname()[1]


async def test_our_own_end_uses_the_first_turn_server_that_answers(
    tmp_path: Path, nobody: int, caplog: pytest.LogCaptureFixture
) -> None:
    with coturn(tmp_path, "--use-auth-secret", f"--static-auth-secret={SECRET}") as port:
        mute, alive = f"turn:127.0.0.1:{nobody}", f"turn:127.0.0.1:{port}?transport=tcp"
        settings = with_turn(tmp_path, mute, alive, alive, stun_servers="stun:127.0.0.1")
        servers = ice_servers(settings, "1f", time.time())
        finder = TurnFinder()
        began_s = time.monotonic()
        chosen = await finder.first_that_answers(servers)
        assert [server["urls"][0] for server in chosen] == ["stun:127.0.0.1", alive]
        assert time.monotonic() - began_s < 30
        await finder.first_that_answers(servers)
        warnings = [record.getMessage() for record in caplog.records]
        assert len(warnings) == 1 and mute in warnings[0] and "no answer" in warnings[0]
        assert await probe(f"turn:127.0.0.1:{port}") is None
    # Remembered for a minute; a new finder asks again.
    assert (await finder.first_that_answers(servers)) == chosen
    assert await TurnFinder().first_that_answers(servers) == chosen[:1]


async def test_coturn_takes_our_credentials_until_they_expire(tmp_path: Path) -> None:
    with coturn(tmp_path, "--use-auth-secret", f"--static-auth-secret={SECRET}") as port:
        settings = with_turn(tmp_path, f"turn:127.0.0.1:{port}")

        async def ask(now_s: float) -> None:
            (server,) = ice_servers(settings, "1f", now_s)
            transport, _ = await create_turn_endpoint(
                asyncio.DatagramProtocol,
                server_addr=("127.0.0.1", port),
                username=server["username"],
                password=server["credential"],
            )
            transport.close()
            await asyncio.sleep(0.1)

        await ask(time.time())
        with pytest.raises(stun.TransactionFailed) as caught:
            await ask(time.time() - 13 * 3600)
        assert caught.value.response.attributes["ERROR-CODE"][0] == 401


async def client_of(server: Running, policy: str, *within: str) -> dict[str, Any]:
    """What a client in a process of its own got to see."""
    url = server.url.replace("http", "ws", 1) + "/ws"
    path = os.pathsep.join([str(ROOT / ".dev"), *sys.path])
    process = await asyncio.create_subprocess_exec(
        *(*within, sys.executable, str(CLIENT), url, policy),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 3 * PATIENCE_S)
    found: dict[str, Any] = json.loads(out)
    return found


async def test_a_client_that_may_only_use_the_relay_over_tcp_sees_the_avatar(
    bundle: Path, tmp_path: Path
) -> None:
    address = main_address()
    if address is None or ":" in address:
        pytest.skip("WebRTC leaves loopback out, and this machine has no other IPv4 address")
    flags = ("--use-auth-secret", f"--static-auth-secret={SECRET}")
    with coturn(tmp_path, *flags, address=address) as port:
        settings = with_turn(bundle, f"turn:{address}:{port}?transport=tcp")
        async with running(settings) as server:
            found = await client_of(server, "relay")
            assert found["kinds"] == ["relay"]
            assert found["frames"] >= 10
            await server.empty()


async def test_where_no_udp_gets_out_the_avatar_comes_by_tcp(bundle: Path, tmp_path: Path) -> None:
    flags = ("--use-auth-secret", f"--static-auth-secret={SECRET}")
    async with walled_in() as (within, host):
        with coturn(tmp_path, *flags, address=host) as port:
            turn = f"turn:{host}:{port}"
            settings = with_turn(
                bundle, turn, f"{turn}?transport=tcp", host=host, access="open", tls="off"
            )
            async with running(settings) as server:
                found = await client_of(server, "all", *within)
                assert not found["udp"]
                assert found["frames"] >= 10
                await server.empty()


async def test_the_welcome_carries_them(bundle: Path, nobody: int) -> None:
    uri = f"turn:127.0.0.1:{nobody}"
    async with running(with_turn(bundle, uri)) as server, talker(server.url) as client:
        welcome = await client.hello()
        (turn,) = welcome["ice_servers"]
        expiry, _, name = turn["username"].partition(":")
        assert name == welcome["session"]
        assert 11.9 * 3600 < int(expiry) - time.time() <= 12 * 3600


@contextlib.asynccontextmanager
async def walled_in() -> AsyncIterator[tuple[tuple[str, ...], str]]:
    """A network namespace that no UDP leaves: the command that runs one inside, and our address."""
    name, net = f"daetalker-wall-{os.getpid()}", f"10.214.{os.getpid() % 250}"
    ours, theirs = f"dw{os.getpid() % 10**8}o", f"dw{os.getpid() % 10**8}i"
    if shutil.which("ip") is None:
        pytest.skip("the program ip is not installed (iproute2)")
    inside = ("ip", "-n", name)
    try:
        for command in (
            ("ip", "netns", "add", name),
            ("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name),
            ("ip", "address", "add", f"{net}.1/24", "dev", ours),
            ("ip", "link", "set", ours, "up"),
            (*inside, "address", "add", f"{net}.2/24", "dev", theirs),
            (*inside, "link", "set", theirs, "up"),
            (*inside, "link", "set", "lo", "up"),
            # No packet filter is needed: datagrams are sent by a table that leads nowhere.
            (*inside, "rule", "add", "ipproto", "udp", "table", "100"),
            (*inside, "route", "add", "prohibit", "default", "table", "100"),
        ):
            problem = await _run(*command)
            if problem:
                pytest.skip(f"no network namespaces here: {problem}")
        yield ("ip", "netns", "exec", name), f"{net}.1"
    finally:
        await _run("ip", "link", "delete", ours)
        await _run("ip", "netns", "delete", name)


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    return errors.decode().strip() if process.returncode else ""
