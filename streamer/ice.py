"""ICE servers: STUN as it is, TURN with a user name and password that expire."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from daetalker.streamer.settings import Settings

__all__ = ["TurnFinder", "ice_servers", "turn_password", "turn_user"]

logger = logging.getLogger(__name__)

PROBE_S = 2.0
"""How long a TURN server may take to answer before the next one is preferred."""

REMEMBERED_S = 60.0
_STUN_PORT, _TLS_PORT = 3478, 5349
_MAGIC = bytes.fromhex("2112a442")
_BINDING_REQUEST = b"\x00\x01\x00\x00" + _MAGIC


def ice_servers(settings: Settings, session_id: str, now_s: float) -> list[dict[str, Any]]:
    """STUN and TURN servers as the browser's ``iceServers`` wants them.

    Args:
        session_id: goes into the TURN user name, so that a TURN server's log can be matched.
        now_s: seconds since 1970, from which the TURN password's life is counted.
    """
    servers: list[dict[str, Any]] = [{"urls": [server]} for server in settings.stun_servers]
    if not settings.turn_servers:
        return servers
    username = settings.turn_username
    credential = settings.turn_credential.get_secret_value()
    if settings.turn_secret is not None:
        username = turn_user(session_id, now_s + settings.turn_hours * 3600)
        credential = turn_password(username, settings.turn_secret.get_secret_value())
    # One entry for each, in the order of the settings, so that one can be moved to the front.
    servers += [
        {"urls": [server], "username": username, "credential": credential}
        for server in settings.turn_servers
    ]
    return servers


def turn_user(name: str, expires_s: float) -> str:
    """User name of coturn's ``use-auth-secret``: seconds since 1970, a colon, any name."""
    return f"{int(expires_s)}:{name}"


def turn_password(username: str, secret: str) -> str:
    """Its password: HMAC-SHA1 of the user name under the shared secret, in base 64."""
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


class TurnFinder:
    """Finds the TURN server that answers, for the server's own end, which can use only one.

    A browser asks all of them; the WebRTC library takes the first of a list and waits for it.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._answers: dict[str, tuple[float, bool]] = {}

    async def first_that_answers(self, servers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The same servers with no TURN server but the first one that answers, if any does."""
        turns = [server for server in servers if server["urls"][0].startswith("turn")]
        others = [server for server in servers if server not in turns]
        answers = await asyncio.gather(*(self._answers_now(turn["urls"][0]) for turn in turns))
        for turn, answered in zip(turns, answers, strict=True):
            if answered:
                return [*others, turn]
        return others

    async def _answers_now(self, uri: str) -> bool:
        known = self._answers.get(uri)
        if known is not None and self._now() - known[0] < REMEMBERED_S:
            return known[1]
        problem = await probe(uri)
        self._answers[uri] = (self._now(), problem is None)
        if problem is not None and (known is None or known[1]):
            logger.warning("TURN server %s: %s", uri, problem)
        return problem is None


async def probe(uri: str, timeout_s: float = PROBE_S) -> str | None:
    """Ask a STUN or TURN server whether it is there, by a STUN binding request.

    Returns:
        None if it answered, or else why not, in a few words.
    """
    scheme, host, port, transport = parts_of(uri)
    try:
        async with asyncio.timeout(timeout_s):
            if transport == "udp":
                await _ask_udp(host, port)
            else:
                await _ask_tcp(host, port, tls=scheme in ("turns", "stuns"))
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except OSError as error:  # name unknown, refused, certificate wrong
        return error.strerror or str(error)
    return None


def parts_of(uri: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and transport (``udp`` or ``tcp``) of a STUN or TURN address."""
    scheme, _, rest = uri.partition(":")
    parts = urlsplit(f"//{rest}")
    secure = scheme in ("turns", "stuns")
    transport = parse_qs(parts.query).get("transport", ["tcp" if secure else "udp"])[0]
    return (
        scheme,
        parts.hostname or "",
        parts.port or (_TLS_PORT if secure else _STUN_PORT),
        (transport),
    )


async def _ask_udp(host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[None] = loop.create_future()

    class Asking(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _: Any) -> None:
            if data[4:8] == _MAGIC and not answered.done():
                answered.set_result(None)

        def error_received(self, exc: Exception) -> None:
            if not answered.done():
                answered.set_exception(exc)

    transport, _ = await loop.create_datagram_endpoint(Asking, remote_addr=(host, port))
    try:
        while not answered.done():  # datagrams get lost
            transport.sendto(_BINDING_REQUEST + secrets.token_bytes(12))
            await asyncio.wait({answered}, timeout=0.5)
        answered.result()
    finally:
        transport.close()
        answered.cancel()


async def _ask_tcp(host: str, port: int, tls: bool) -> None:
    reader, writer = await asyncio.open_connection(host, port, ssl=tls or None)
    try:
        writer.write(_BINDING_REQUEST + secrets.token_bytes(12))
        answer = await reader.readexactly(20)
        if answer[4:8] != _MAGIC:
            raise OSError("what answers there is no TURN server")
    except asyncio.IncompleteReadError:
        raise OSError("it closed the connection") from None
    finally:
        writer.close()
