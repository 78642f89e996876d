"""The beginning of every conversation on a WebSocket: who is there, and what they want.

``converse`` is the whole story from top to bottom; what follows the hello is in `conversation`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.websockets import WebSocket, WebSocketDisconnect

from daetalker.streamer import protocol as p
from daetalker.streamer.conversation import Client, Conversation, End, require
from daetalker.streamer.hub import Avatar, Hub
from daetalker.streamer.line import Line
from daetalker.streamer.live_session import LiveSession

logger = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 15.0


async def converse(
    socket: WebSocket, hub: Hub, plugins: Callable[[], list[p.PluginInfo]] = list
) -> None:
    """Serve one client from its first message to the last.  Returns when the socket is closed."""
    await socket.accept()
    line = Line(socket)
    reason = "the client left"
    client = Client(line, hub, socket.scope["operator"], plugins)
    try:
        wanted = await _wait_for_hello(client)
        if isinstance(wanted, LiveSession):
            await Conversation(client, wanted, watches=True).run()
            return
        with hub.seat() as session_id:
            logger.info("session %s: %s", session_id, wanted.bundle.manifest.name)
            try:
                live = hub.handle(hub.new_session(wanted, session_id))
                await Conversation(client, live, watches=False).run()
            finally:
                logger.info("session %s: ended", session_id)
    except End as end:
        reason = end.reason
    except p.ProtocolError as error:  # what reaches here cannot be repaired
        reason = error.message
        await line.send(p.Error(code=error.code, message=error.message, fatal=True))
    except WebSocketDisconnect:
        pass
    except Exception:  # a fault of ours ends one conversation, not the server
        logger.exception("a conversation failed")
        reason = "an internal error"
    finally:
        await line.close(reason)


async def _wait_for_hello(client: Client) -> Avatar | LiveSession:
    """What the first good ``hello`` asks for: an avatar, or a session that is there."""
    line = client.line
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            while True:
                message = await line.receive()
                if isinstance(message, p.Hello):
                    try:
                        if message.watch is not None:
                            return _watched(client, message.watch)
                        return await client.hub.avatar(message.avatar)
                    except p.ProtocolError as error:
                        await line.complain(error)
                elif isinstance(message, p.Ping):
                    await line.send(p.Pong(id=message.id))
                elif isinstance(message, p.Bye):
                    raise End("bye")
                else:
                    await line.complain(p.ProtocolError("hello_first", "Send hello first."))
    except TimeoutError:
        raise End("no hello came") from None


def _watched(client: Client, which: str) -> LiveSession:
    """A running session to watch.  Whoever knows its id was told by its owner."""
    if which == "latest":
        require(client.operator)
    return client.hub.find_session(which)
