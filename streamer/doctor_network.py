"""What `daetalker doctor` asks of the network: ports, STUN and TURN servers."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from daetalker.streamer.finding import Finding
from daetalker.streamer.ice import ice_servers, parts_of, probe
from daetalker.streamer.settings import Settings, SettingsError

__all__ = ["addresses", "ice", "network", "port", "udp"]

ANSWER_S = 3.0
"""A server that answers later than this makes every connection begin late."""

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FEWEST_PORTS = 1000
_PROBE = b"daetalker doctor"
_UNAUTHORISED, _FORBIDDEN, _QUOTA = 401, 403, 486


def port(settings: Settings) -> Finding:
    """Can the server listen where it is told to?"""
    from daetalker.streamer.server import bind

    try:
        bind(settings).close()
    except SettingsError as error:
        return Finding(
            "port", "error", str(error), "stop the other program, or serve on another --port"
        )
    return Finding("port", "ok", f"{settings.host} port {settings.port} is free")


def addresses() -> list[str]:
    """This machine's addresses on the way to others; WebRTC leaves loopback addresses out."""
    found = []
    for target, family in (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6)):
        with socket.socket(family, socket.SOCK_DGRAM) as probing:
            try:
                probing.connect((target, 9))  # a datagram socket: nothing is sent
                address = str(probing.getsockname()[0])
            except OSError:
                continue
            if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
                found.append(address)
    return found


def network(found: list[str]) -> Finding:
    """Is there an address for media, even if all clients are on this machine?"""
    if not found:
        return Finding(
            "network",
            "warning",
            "this machine has no network address but loopback, which WebRTC does not use",
            "connect to any network; it need not reach the internet",
        )
    return Finding("network", "ok", f"{len(found)} network address(es) for media over UDP")


def udp(found: list[str], range_file: Path = _PORT_RANGE) -> Finding:
    """Do datagrams arrive at the addresses that clients will be told?

    Media uses any free UDP port of the kernel's range.
    """
    try:
        first, last = (int(part) for part in range_file.read_text().split())
    except (OSError, ValueError):
        first, last = 32768, 60999  # what Linux starts with
    ports = f"UDP ports {first} to {last}"
    if last - first < _FEWEST_PORTS:
        return Finding(
            "udp",
            "warning",
            f"there are only {last - first + 1} {ports}",
            "sudo sysctl net.ipv4.ip_local_port_range='32768 60999'",
        )
    deaf = [address for address in found if not _hears_itself(address)]
    if deaf:
        return Finding(
            "udp",
            "error",
            f"datagrams do not arrive at {', '.join(deaf)}",
            f"allow {ports} in this machine's firewall",
        )
    return Finding("udp", "ok", f"datagrams arrive; clients need {ports}, or a TURN server")


def _hears_itself(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM) as here,
        socket.socket(family, socket.SOCK_DGRAM) as there,
    ):
        try:
            here.bind((address, 0))
            here.settimeout(1.0)
            there.bind((address, 0))
            there.sendto(_PROBE, here.getsockname())
            return here.recv(64) == _PROBE
        except OSError:
            return False


def ice(settings: Settings, answer_s: float = ANSWER_S) -> Iterator[Finding]:
    """Do the STUN and TURN servers answer, and does TURN take the credentials?"""
    servers = ice_servers(settings, "doctor", time.time())
    for server in servers:
        (uri,) = server["urls"]
        if uri.startswith("stun"):
            yield _soon(_stun(uri, answer_s), uri, answer_s)
        else:
            asking = _turn(uri, server["username"], server["credential"], answer_s)
            yield _soon(asking, uri, answer_s)
    if not settings.turn_servers and settings.beyond_loopback:
        yield Finding(
            "turn",
            "warning",
            "no TURN server: who sits behind a strict firewall hears and sees nothing",
            "run coturn (docs/operations.md) and set turn_servers and turn_secret; on one local "
            "network none is needed",
        )


def _soon(asking: Coroutine[Any, Any, Finding], uri: str, answer_s: float) -> Finding:
    """The finding; in a thread of its own, since nothing ends the search for a name early."""
    found: list[Finding] = []
    looking = threading.Thread(target=lambda: found.append(asyncio.run(asking)), daemon=True)
    looking.start()
    looking.join(answer_s + 1.0)
    if found:
        return found[0]
    return Finding(
        uri.partition(":")[0].rstrip("s"),
        "error",
        f"{uri}: its name was not found within {answer_s:g} s",
        "look at the name, and at this machine's name server",
    )


async def _stun(uri: str, answer_s: float) -> Finding:
    problem = await probe(uri, answer_s)
    if problem is not None:
        fix = "look at its address, its port and the firewall; or leave it out of stun_servers"
        return Finding("stun", "error", f"{uri}: {problem}", fix)
    return Finding("stun", "ok", f"{uri} answers")


async def _turn(uri: str, username: str, credential: str, answer_s: float) -> Finding:
    """Ask for an address on the TURN server, as every session does, and hand it back."""
    from aioice import stun, turn

    began_s = time.monotonic()
    scheme, host, number, transport = parts_of(uri)
    fix = "look at its address, its port and the firewall"
    try:
        async with asyncio.timeout(answer_s):
            endpoint, gone = await turn.create_turn_endpoint(
                _Receiver,
                server_addr=(host, number),
                username=username,
                password=credential,
                ssl=scheme == "turns" or None,
                transport=transport,
            )
    except TimeoutError:
        problem = f"no answer within {answer_s:g} s"
    except stun.TransactionFailed as error:
        problem, fix = _refusal(error.response.attributes.get("ERROR-CODE", (0, "")))
    except (stun.TransactionError, ConnectionError) as error:
        problem = str(error)
    except OSError as error:  # name unknown, refused, certificate wrong
        problem = error.strerror or str(error)
    else:
        took_ms = (time.monotonic() - began_s) * 1000
        relayed = endpoint.get_extra_info("sockname")[0]
        endpoint.close()
        await asyncio.wait({gone.lost}, timeout=answer_s)
        return Finding("turn", "ok", f"{uri} lends an address ({relayed}) in {took_ms:.0f} ms")
    return Finding("turn", "error", f"{uri}: {problem}", fix)


def _refusal(error: tuple[int, str]) -> tuple[str, str]:
    """What a TURN server's error means, and what to do."""
    code, reason = error
    if code == _UNAUTHORISED:
        return (
            "it does not take the credentials",
            "turn_secret must be coturn's static-auth-secret (with use-auth-secret), or "
            "turn_username and turn_credential one of its users; both clocks must be right",
        )
    if code == _QUOTA:
        return "all its places are taken", "raise its total-quota and user-quota"
    if code == _FORBIDDEN:
        return "it refuses this machine", "look at its allowed-peer-ip and denied-peer-ip"
    return f"it answers {code} {reason}".rstrip(), "look at its log"


class _Receiver(asyncio.DatagramProtocol):
    """Nobody sends anything; ``lost`` is done when the address is handed back."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
