"""A poor network in user space: a process that hands UDP packets on, late, or not at all.

Where the kernel cannot make a network poor (`bench_netem.py`), this stands between client and
server.  For each of their ICE candidates it opens a socket that stands in for it: what the server
sends to the stand-in of the client's candidate goes to the client, from the stand-in of the
server's candidate that it came from, and the other way round.  Both sides are told the stand-ins
only (`stand_in_sdp`), so every packet of the media passes through here.

The relay runs as a process of its own, ``python -m daetalker.streamer.bench_relay``, so that it
keeps time while the client decodes; it is told what to do in lines of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import heapq
import json
import random
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal, cast

from daetalker.streamer.bench_network import Network, NetworkError

__all__ = ["Address", "Relay", "Way", "running_relay", "stand_in_sdp"]

Address = tuple[str, int]
Side = Literal["client", "server"]

ANSWER_TIMEOUT_S = 10.0
_APART_S = 1e-6


class Way:
    """One direction of a network: decides what becomes of each packet.  Pure but for its dice."""

    def __init__(self, network: Network, seed: int) -> None:
        self.packets = 0
        self.lost = 0
        self.overflowed = 0
        self._network = network
        self._losses = random.Random(seed)
        self._jitter = random.Random(seed + 1)
        self._free_s = 0.0
        self._last_s = 0.0

    def due(self, size: int, now_s: float) -> float | None:
        """When a packet of ``size`` bytes that enters now leaves; None if it never does."""
        network = self._network
        self.packets += 1
        if self._losses.random() < network.loss:
            self.lost += 1
            return None
        leaves_s = now_s
        if network.rate_kbit_s is not None:
            begins_s = max(now_s, self._free_s)
            if begins_s - now_s > network.queue_ms / 1000:
                self.overflowed += 1
                return None
            leaves_s = self._free_s = begins_s + size * 8 / (network.rate_kbit_s * 1000)
        leaves_s += (network.delay_ms + network.jitter_ms * self._jitter.uniform(-1, 1)) / 1000
        # In order, and apart, so that sorting by time keeps the order.
        self._last_s = max(leaves_s, self._last_s + _APART_S)
        return self._last_s


class _StandIn(asyncio.DatagramProtocol):
    """A socket that looks to one side like a candidate of the other side."""

    def __init__(self, link: _Link, side: Side, stands_for: Address) -> None:
        self._link = link
        self._side = side
        self.stands_for = stands_for
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, sender: Any) -> None:
        self._link.pass_on(self._side, self.stands_for, (sender[0], sender[1]), data)

    def error_received(self, exc: Exception) -> None:
        """A side that has gone refuses packets; whoever sends notices by itself."""


class _Link:
    """One client's connection through the relay."""

    def __init__(self, up: Way, down: Way, later: Callable[[float, Callable[[], None]], None]):
        self._stand_ins: dict[Side, dict[Address, _StandIn]] = {"client": {}, "server": {}}
        self._ways: dict[Side, Way] = {"server": up, "client": down}
        self._later = later

    async def open(self, side: Side, candidates: Sequence[Address]) -> list[Address]:
        """Stand in for these candidates of that side; the addresses of the sockets."""
        opened: list[Address] = []
        for candidate in candidates:
            _, stand_in = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda candidate=candidate: _StandIn(self, side, candidate),  # type: ignore[misc]
                local_addr=(candidate[0], 0),
            )
            self._stand_ins[side][candidate] = stand_in
            host, port = stand_in.transport.get_extra_info("sockname")[:2]
            opened.append((host, port))
        return opened

    def pass_on(self, to: Side, candidate: Address, sender: Address, data: bytes) -> None:
        """Hand a packet to a candidate of side ``to``, as if its sender's stand-in had sent it."""
        other: Side = "server" if to == "client" else "client"
        source = self._stand_ins[other].get(sender)
        if source is None:  # not from a candidate that was told; ICE has other ways
            return
        due_s = self._ways[to].due(len(data), asyncio.get_running_loop().time())
        if due_s is not None:
            self._later(due_s, lambda: source.transport.sendto(data, candidate))

    def close(self) -> None:
        for stand_ins in self._stand_ins.values():
            for stand_in in stand_ins.values():
                stand_in.transport.close()


class _Relay:
    """The process: links by number, one queue of packets for all of them."""

    def __init__(self, network: Network, seed: int) -> None:
        self._network = network
        self._seed = seed
        self._links: dict[int, _Link] = {}
        self._ways: list[tuple[Way, Way]] = []
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    async def obey(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Do one order; returns the answer."""
        if order["do"] == "figures":
            up, down = (Way(self._network, 0) for _ in range(2))
            for ways in self._ways:
                for total, way in zip((up, down), ways, strict=True):
                    total.packets += way.packets
                    total.lost += way.lost
                    total.overflowed += way.overflowed
            return {"up": _figures(up), "down": _figures(down)}
        number = int(order["link"])
        if order["do"] == "close":
            self._links.pop(number).close()
            return {}
        if number not in self._links:
            seed = self._seed + 1000 * number
            ways = Way(self._network, seed), Way(self._network, seed + 500)
            self._ways.append(ways)
            self._links[number] = _Link(*ways, self._later)
        candidates = [(str(host), int(port)) for host, port in order["candidates"]]
        return {"opened": await self._links[number].open(order["side"], candidates)}

    def _later(self, due_s: float, send: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (due_s, self._count, send))
        if self._waiting[0][1] == self._count:
            self._send_due()

    def _send_due(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][0] <= loop.time() + _APART_S:
            heapq.heappop(self._waiting)[2]()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0][0], self._send_due)


def _figures(way: Way) -> dict[str, int]:
    return {"packets": way.packets, "lost": way.lost, "overflowed": way.overflowed}


class Relay:
    """A running relay, as the bench sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    async def stand_in(
        self, link: int, side: Side, candidates: Sequence[Address]
    ) -> dict[Address, Address]:
        """Open sockets that stand in for the candidates of one side of a connection."""
        answer = await self._ask(do="open", link=link, side=side, candidates=list(candidates))
        opened = [(host, port) for host, port in answer["opened"]]
        return dict(zip(candidates, opened, strict=True))

    async def close(self, link: int) -> None:
        """End a connection."""
        await self._ask(do="close", link=link)

    async def figures(self) -> dict[str, dict[str, int]]:
        """Packets so far, ``up`` to the server and ``down``: all, lost by dice, dropped as full."""
        return await self._ask(do="figures")

    async def _ask(self, **order: Any) -> dict[str, Any]:
        """Send an order and wait for its answer.

        Raises:
            NetworkError: if the relay has died or is stuck.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        async with self._turn:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    self._process.stdin.write(json.dumps(order).encode() + b"\n")
                    await self._process.stdin.drain()
                    line = await self._process.stdout.readline()
            except (TimeoutError, ConnectionError):
                line = b""
        if not line:
            raise NetworkError("the bench's network relay does not answer")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise NetworkError(f"the bench's network relay failed: {answer['error']}")
        return answer


@contextlib.asynccontextmanager
async def running_relay(network: Network, seed: int) -> AsyncIterator[Relay]:
    """A relay process; ended on the way out."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "daetalker.streamer.bench_relay"),
        json.dumps(dataclasses.asdict(network)),
        str(seed),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Relay(process)
    finally:
        if process.returncode is None:
            process.kill()  # it keeps nothing
        await process.communicate()


def sdp_candidates(sdp: str) -> list[Address]:
    """The IPv4 candidates of an SDP; the relay stands in for these."""
    found: list[Address] = []
    for line in sdp.splitlines():
        if line.startswith("a=candidate:"):
            host, port = line.split()[4:6]
            if ":" not in host and (host, int(port)) not in found:
                found.append((host, int(port)))
    return found


def stand_in_sdp(sdp: str, stand_ins: Mapping[Address, Address]) -> str:
    """The SDP with stand-ins in place of its candidates; candidates without one are left out."""
    lines: list[str] = []
    for line in sdp.splitlines():
        if line.startswith("a=candidate:"):
            words = line.split()
            stand_in = stand_ins.get((words[4], int(words[5])))
            if stand_in is None:
                continue
            words[4:6] = stand_in[0], str(stand_in[1])
            line = " ".join(words)
        lines.append(line)
    return "\r\n".join(lines) + "\r\n"


async def _main(network: Network, seed: int) -> None:
    """Obey lines of JSON on standard input until it ends."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    relay = _Relay(network, seed)
    while line := await orders.readline():
        try:
            answer = await relay.obey(json.loads(line))
        except OSError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(Network(**json.loads(sys.argv[1])), int(sys.argv[2])))
