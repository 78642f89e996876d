"""Poor networks: the dice of the relay, its sockets, and what the kernel would be told."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import Any

import pytest

from daetalker.streamer.bench_network import NETWORKS, Network, NetworkError, find_network
from daetalker.streamer.bench_path import Namespace, netem_arguments, open_path
from daetalker.streamer.bench_relay import Way, running_relay, sdp_candidates, stand_in_sdp

SDP = "\r\n".join(
    (
        "v=0",
        "m=audio 5000 UDP/TLS/RTP/SAVPF 96",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host",
        "a=candidate:2 1 udp 2130706431 2001:db8::1 5001 typ host",
        "m=video 5000 UDP/TLS/RTP/SAVPF 97",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host",
        "",
    )
)


def _dues(network: Network, count: int, every_s: float = 0.01) -> list[float | None]:
    way = Way(network, seed=3)
    return [way.due(1000, number * every_s) for number in range(count)]


def test_a_plain_network_changes_nothing() -> None:
    assert _dues(Network("none", ""), 5) == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.04], abs=1e-4)


def test_losses_are_as_many_as_promised_and_repeatable() -> None:
    dues = _dues(NETWORKS["loss10"], 5000)
    assert dues.count(None) == pytest.approx(500, abs=75)
    assert dues == _dues(NETWORKS["loss10"], 5000)


def test_delay_and_jitter_keep_the_order() -> None:
    dues = _dues(NETWORKS["delay100"], 100)
    assert all(due == pytest.approx(0.01 * i + 0.1) for i, due in enumerate(dues) if due)
    late = [due - 0.02 * i for i, due in enumerate(_dues(NETWORKS["jitter30"], 500, 0.02)) if due]
    assert 0 <= min(late) < 0.005
    assert 0.055 < max(late) <= 0.0601
    close = [due for due in _dues(NETWORKS["jitter30"], 500, 0.001) if due]
    assert close == sorted(close)


def test_a_full_queue_drops_and_the_rate_holds() -> None:
    network = NETWORKS["rate300"]
    # A megabit a second offered for two seconds.
    dues = _dues(network, 250, 0.008)
    through = [due for due in dues if due is not None]
    assert len(through) * 8000 / through[-1] == pytest.approx(300_000, rel=0.05)
    waits = [due - 0.008 * i for i, due in enumerate(dues) if due is not None]
    assert max(waits) < (network.queue_ms + 30) / 1000
    assert dues.count(None) > 100


def test_only_stand_ins_are_told() -> None:
    assert sdp_candidates(SDP) == [("192.0.2.1", 5000)]
    told = stand_in_sdp(SDP, {("192.0.2.1", 5000): ("192.0.2.1", 7000)})
    assert sdp_candidates(told) == [("192.0.2.1", 7000)]
    assert "2001:db8::1" not in told
    assert told.count("a=candidate:") == 2


class _Socket(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.got: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.got.put_nowait((data, addr))


async def test_the_relay_stands_between_two_sockets() -> None:
    loop = asyncio.get_running_loop()
    ends = [
        await loop.create_datagram_endpoint(_Socket, local_addr=("127.0.0.1", 0)) for _ in range(2)
    ]
    (client, at_client), (server, at_server) = ends
    addresses = [end.get_extra_info("sockname")[:2] for end, _ in ends]
    try:
        async with running_relay(Network("slow", "", delay_ms=50), 1) as relay, asyncio.timeout(30):
            as_client = (await relay.stand_in(0, "client", [addresses[0]]))[addresses[0]]
            as_server = (await relay.stand_in(0, "server", [addresses[1]]))[addresses[1]]
            start_s = loop.time()
            client.sendto(b"up", as_server)
            assert await at_server.got.get() == (b"up", as_client)
            assert loop.time() - start_s > 0.045
            server.sendto(b"down", as_client)
            assert await at_client.got.get() == (b"down", as_server)
            # From elsewhere: nobody's packet.
            server.sendto(b"strange", as_server)
            client.sendto(b"last", as_server)
            assert (await at_server.got.get())[0] == b"last"
            figures = await relay.figures()
            assert figures["up"] == {"packets": 2, "lost": 0, "overflowed": 0}
            assert figures["down"]["packets"] == 1
            with pytest.raises(NetworkError, match="relay failed"):
                await relay.stand_in(1, "client", [("203.0.113.9", 1)])
    finally:
        for end, _ in ends:
            end.close()


def test_what_the_kernel_is_told() -> None:
    told = {name: " ".join(netem_arguments(network)) for name, network in NETWORKS.items()}
    assert told == {
        "loss1": "netem loss random 1.00%",
        "loss5": "netem loss random 5.00%",
        "loss10": "netem loss random 10.00%",
        "delay100": "netem delay 100ms",
        "jitter30": "netem delay 30ms 30ms rate 1000000kbit",
        "rate300": "netem rate 300kbit limit 18",
    }


async def test_without_netem_the_relay_takes_over_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    async with open_path(NETWORKS["loss1"], 1) as path:
        assert path.kind == "relay"
        assert path.relay is not None
        assert "not installed" in path.why_not
    async with open_path(None, 1) as path:
        assert (path.kind, path.relay) == ("loopback", None)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None,
    reason="needs root, ip and tc",
)
async def test_a_namespace_is_joined_and_gone_afterwards() -> None:
    namespace = Namespace(f"daetalker-test-{os.getpid()}")
    try:
        async with namespace.opened():
            program = f"import socket; socket.create_server(({namespace.server_host!r}, 0)).close()"
            there = await asyncio.create_subprocess_exec(
                *namespace.within, "python3", "-c", program
            )
            assert await there.wait() == 0
            try:
                await namespace.impair(NETWORKS["loss1"])
            except NetworkError as error:
                assert "tc" in str(error)  # this kernel has no netem
    except NetworkError as error:
        pytest.skip(f"namespaces are not permitted here: {error}")
    listing = await asyncio.create_subprocess_exec(
        "ip", "netns", "list", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await listing.communicate()
    assert namespace.within[-1] not in said.decode()


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(NetworkError, match=r"'wet'; there are: loss1, loss5"):
        find_network("wet")
    with pytest.raises(ValueError, match="jitter"):
        Network("wrong", "", jitter_ms=5)
