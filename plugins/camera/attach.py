"""Attach: a session of a running server, seen and heard over its media socket.

What comes is put into an outlet of our own, as the session itself would, so that pairing picture
and voice is the same code as everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncGenerator, Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException

from daetalker.plugins.camera.errors import AttachError
from daetalker.streamer.media import FPS, VOICE_RATE, VideoFrame, VoiceChunk
from daetalker.streamer.outlet import Outlet
from daetalker.streamer.pairing import Moment, moments

__all__ = ["media_url", "watch"]

_HEAD = struct.Struct("<cB2xQ")
_SPEAKING = 1
_KEPT_FRAMES = 8
_OPEN_TIMEOUT_S = 10.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0
# Nothing is shown that a later try would not change: the server is not up, no session runs yet.
_PATIENT_CODES = frozenset({"unknown_session", "server_full"})
_NO_LATENT = np.zeros(512, np.float32)


def media_url(server: str, session: str, token: str | None) -> str:
    """Address of the media socket of a server, given as ``http://HOST:PORT``.

    Raises:
        AttachError: if ``server`` is no such address.
    """
    parts = urlsplit(server if "://" in server else f"http://{server}")
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise AttachError(f"--attach '{server}' is no address; write http://127.0.0.1:8080")
    query = {"session": session} | ({"token": token} if token else {})
    path = parts.path.rstrip("/")
    return f"{scheme}://{parts.netloc}{path}/plugins/agent/media?{urlencode(query)}"


async def watch(url: str, say: Callable[[str], None]) -> AsyncGenerator[Moment | None, None]:
    """Moments of that session, and of the next one when it has ended; None at each end.

    Where the connection is lost, or no session runs, it is tried again for good, with a message
    the first time.

    Args:
        url: of `media_url`.
        say: takes messages for the user.

    Raises:
        AttachError: if the server refuses for a reason that trying again does not change.
    """
    wait_s = _FIRST_WAIT_S
    told = ""
    while True:
        try:
            async with (
                _connection(url) as socket,
                contextlib.aclosing(_moments_of(socket)) as shown,
            ):
                async for moment in shown:
                    if told:
                        say("the session is there")
                    told, wait_s = "", _FIRST_WAIT_S
                    yield moment
            problem = "the session has ended"
        except _Later as error:
            problem = str(error)
        yield None
        if problem != told:
            told = problem
            say(f"{problem}; the last picture stays, and I keep trying")
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


class _Later(Exception):
    """It may work another time; the message says why not now."""


@contextlib.asynccontextmanager
async def _connection(url: str) -> AsyncGenerator[ClientConnection, None]:
    """An open socket.

    Raises:
        AttachError: if the server has no media socket.
        _Later: if it cannot be reached.
    """
    where = urlsplit(url).netloc
    try:
        socket = await connect(url, open_timeout=_OPEN_TIMEOUT_S, max_size=2**24, compression=None)
    except InvalidStatus as error:
        code = error.response.status_code
        if code in (403, 404):
            raise AttachError(
                f"the server at {where} gives no raw media (HTTP {code})",
                "start it with `daetalker serve --plugins agent`, and give its control_token with "
                "--token unless both run on this machine",
            ) from None
        raise _Later(f"the server at {where} answers HTTP {code}") from None
    except InvalidURI as error:
        raise AttachError(f"--attach: {error}") from None
    except (OSError, TimeoutError, InvalidHandshake):
        raise _Later(f"no server answers at {where}") from None
    try:
        yield socket
    finally:
        await socket.close()


async def _moments_of(socket: ClientConnection) -> AsyncGenerator[Moment, None]:
    """What one connection carries, to its end."""
    with Outlet(_KEPT_FRAMES) as outlet:
        receiving = asyncio.create_task(_receive(socket, outlet), name="camera attach")
        try:
            async for moment in moments(outlet):
                yield moment
            await receiving
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


async def _receive(socket: ClientConnection, outlet: Outlet) -> None:
    size = 0
    try:
        async for message in socket:
            if isinstance(message, str):
                size = _told(json.loads(message)) or size
                continue
            kind, flags, number = _HEAD.unpack_from(message)
            body = memoryview(message)[_HEAD.size :]
            if kind == b"V" and size:
                rgb = np.frombuffer(body, np.uint8).reshape(size, size, 3)
                speaking = bool(flags & _SPEAKING)
                outlet.offer_video(VideoFrame(number, rgb, (0.0, 0.0, 0.0), speaking, _NO_LATENT))
            elif kind == b"A":
                outlet.offer_voice(VoiceChunk(number, np.frombuffer(body, "<i2").astype(np.int16)))
    except (OSError, WebSocketException):
        raise _Later("the connection to the server is lost") from None
    except (ValueError, KeyError, TypeError, struct.error):
        raise AttachError("the server sends media that this version does not understand") from None
    finally:
        outlet.close()


def _told(message: dict[str, Any]) -> int | None:
    """Heed one JSON message; returns the pictures' size if it tells.

    Raises:
        AttachError: if the server refuses.
        _Later: if it refuses for now.
    """
    if message["type"] == "media":
        if (message["fps"], message["voice_rate"]) != (FPS, VOICE_RATE):
            raise AttachError("the server sends media that this version does not understand")
        return int(message["size"])
    if message["type"] == "error":
        if message["code"] in _PATIENT_CODES:
            raise _Later(message["message"].rstrip("."))
        raise AttachError(f"the server refuses: {message['message']}")
    return None
