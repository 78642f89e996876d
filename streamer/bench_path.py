"""The way between the bench's clients and the server: plain, through netem, or through the relay.

``netem`` is the kernel's: the server runs in a network namespace of its own at the other end of a
pair of virtual interfaces, and `tc` makes both of them poor, so that the WebSocket suffers as well
as the media.  It needs root and a kernel with the ``netem`` discipline.  Where either is missing
the media goes through the relay (`bench_relay.py`), which does the same to its packets; the
WebSocket stays as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from daetalker.streamer.bench_network import Network, NetworkError
from daetalker.streamer.bench_relay import Relay, running_relay

__all__ = ["BenchPath", "Namespace", "netem_arguments", "open_path"]

COMMAND_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class BenchPath:
    """A way that is there.

    Attributes:
        kind: what makes it poor, if anything.
        why_not: why the better kind could not be had; empty if it could.
        within: command that starts the server at its end.
        host: address that the server listens on.
        settings: what the server must be told so that it serves there.
        relay: what the media passes through, if it does.
    """

    kind: Literal["loopback", "netem", "relay"]
    why_not: str = ""
    within: Sequence[str] = ()
    host: str = "127.0.0.1"
    settings: dict[str, Any] = field(default_factory=dict)
    relay: Relay | None = None


@contextlib.asynccontextmanager
async def open_path(network: Network | None, seed: int) -> AsyncIterator[BenchPath]:
    """The way through a network; plain loopback for None."""
    async with contextlib.AsyncExitStack() as stack:
        if network is None:
            yield BenchPath("loopback")
            return
        namespace = Namespace(f"daetalker-{os.getpid()}")
        try:
            await stack.enter_async_context(namespace.opened())
            await namespace.impair(network)
        except NetworkError as error:
            relay = await stack.enter_async_context(running_relay(network, seed))
            yield BenchPath("relay", why_not=str(error), relay=relay)
            return
        # Beyond loopback a server asks for a token and TLS; nobody else can reach this one.
        settings = {"access": "open", "tls": "off"}
        yield BenchPath(
            "netem", within=namespace.within, host=namespace.server_host, settings=settings
        )


class Namespace:
    """A network namespace joined to ours by a pair of virtual interfaces."""

    def __init__(self, name: str) -> None:
        self._name = name
        # Interface names have 15 characters at most.
        self._ends = tuple(f"dt{os.getpid() % 10**8}{end}" for end in "cs")
        self._net = f"10.213.{os.getpid() % 250}"

    @property
    def within(self) -> tuple[str, ...]:
        """Command that runs another one inside."""
        return ("ip", "netns", "exec", self._name)

    @property
    def server_host(self) -> str:
        """The address inside."""
        return f"{self._net}.2"

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """There while the block runs.

        Raises:
            NetworkError: if it cannot be made, for want of a right or a program.
        """
        missing = [program for program in ("ip", "tc") if shutil.which(program) is None]
        if missing:
            raise NetworkError(f"the program {missing[0]} is not installed")
        ours, theirs = self._ends
        await _command("ip", "netns", "add", self._name)
        try:
            await _command(
                *("ip", "link", "add", ours, "type", "veth"),
                *("peer", "name", theirs, "netns", self._name),
            )
            await _command("ip", "address", "add", f"{self._net}.1/24", "dev", ours)
            await _command("ip", "link", "set", ours, "up")
            inside = ("ip", "-n", self._name)
            await _command(*inside, "address", "add", f"{self.server_host}/24", "dev", theirs)
            await _command(*inside, "link", "set", theirs, "up")
            await _command(*inside, "link", "set", "lo", "up")
            yield
        finally:
            # The pair goes with the namespace that one of its ends is in.
            with contextlib.suppress(NetworkError):
                await _command("ip", "link", "delete", ours)
            with contextlib.suppress(NetworkError):
                await _command("ip", "netns", "delete", self._name)

    async def impair(self, network: Network) -> None:
        """Make both directions poor.

        Raises:
            NetworkError: if the kernel cannot.
        """
        ours, theirs = self._ends
        arguments = netem_arguments(network)
        await _command("tc", "qdisc", "add", "dev", ours, "root", *arguments)
        await _command("tc", "-n", self._name, "qdisc", "add", "dev", theirs, "root", *arguments)


def netem_arguments(network: Network) -> list[str]:
    """What `tc qdisc add dev ... root` is told."""
    words = ["netem"]
    if network.delay_ms:
        words += ["delay", f"{network.delay_ms:g}ms"]
        if network.jitter_ms:
            words += [f"{network.jitter_ms:g}ms"]
    if network.loss:
        words += ["loss", "random", f"{network.loss:.2%}"]
    rate_kbit_s = network.rate_kbit_s
    if rate_kbit_s is None and network.jitter_ms:
        rate_kbit_s = 1_000_000  # with a rate, however high, netem keeps packets in order
    if rate_kbit_s is not None:
        words += ["rate", f"{rate_kbit_s}kbit"]
    if network.rate_kbit_s is not None:
        # The queue is counted in packets, which are of 600 bytes or so.
        queue = network.queue_ms * network.rate_kbit_s / 8 / 600
        words += ["limit", f"{max(int(queue), 2)}"]
    return words


async def _command(*words: str) -> None:
    """Run a program.

    Raises:
        NetworkError: if it fails, with what it said.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            _, said = await process.communicate()
    except (OSError, TimeoutError) as error:
        raise NetworkError(f"{' '.join(words[:3])}: {error or 'no answer'}") from None
    if process.returncode:
        text = said.decode(errors="replace").strip().splitlines()
        raise NetworkError(f"{' '.join(words[:3])}: {text[-1] if text else process.returncode}")
