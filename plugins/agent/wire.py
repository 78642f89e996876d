"""What both sockets share: sending to a client that may have gone, and a session's raw media."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from daetalker.plugins.agent.media import pack_sound, pack_video
from daetalker.streamer import protocol as p
from daetalker.streamer.live_session import LiveSession

__all__ = ["End", "forward_media", "say_goodbye", "send"]

FRAMES_KEPT = 3
"""Frames kept for a reader on the network; a slow one loses the oldest."""

_FAREWELL_S = 2.0


class End(Exception):
    """The conversation is over; ``reason`` goes into the goodbye."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def send(socket: WebSocket, message: BaseModel | bytes) -> None:
    """Send one message.

    Raises:
        WebSocketDisconnect: if the client has gone.
    """
    if socket.application_state is not WebSocketState.CONNECTED:
        raise WebSocketDisconnect(1006)
    try:
        if isinstance(message, bytes):
            await socket.send_bytes(message)
        else:
            await socket.send_text(p.to_json(message))
    except (RuntimeError, OSError) as error:  # what servers raise after the peer's close
        raise WebSocketDisconnect(1006) from error


async def say_goodbye(socket: WebSocket, reason: str) -> None:
    """Close politely; nothing happens if the client has gone, or does not read."""
    try:
        async with asyncio.timeout(_FAREWELL_S):
            await send(socket, p.Goodbye(message=reason, retry_s=None))
            await socket.close()
    except (WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
        return


async def forward_media(socket: WebSocket, session: LiveSession) -> None:
    """Send every frame and every 20 ms of voice until the session ends.

    Raises:
        SessionClosed: when it does.
        WebSocketDisconnect: if the client has gone.
    """
    async with session.outlet(FRAMES_KEPT) as outlet, asyncio.TaskGroup() as group:

        async def pictures() -> None:
            while True:
                frame = await outlet.video()
                await send(socket, pack_video(frame.index, frame.rgb, frame.speaking))

        async def sounds() -> None:
            while True:
                chunk = await outlet.voice()
                spoken = chunk.utterance is not None
                await send(socket, pack_sound(chunk.start, chunk.pcm, spoken, chunk.last))

        group.create_task(pictures(), name="agent pictures")
        group.create_task(sounds(), name="agent sounds")
