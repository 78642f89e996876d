"""The beginning of every conversation on a WebSocket: who is there, and what they want.

``converse`` is the whole story from top to bottom; what follows the hello is in `conversation`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from daetalker.streamer import protocol as p
from daetalker.streamer.conversation import RETRY_S, Client, Conversation, End, require
from daetalker.streamer.hub import Hub
from daetalker.streamer.line import Line
from daetalker.streamer.live_session import LiveSession
from daetalker.streamer.loading import Avatar

logger = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 15.0

_T = TypeVar("_T")

_CLOSE: dict[p.ErrorCode, int] = {
    "server_full": 1013,
    "not_allowed": 4401,
    "engine_failed": 1011,
    "too_fast": 1008,
}
_RETRY_S: dict[p.ErrorCode, float | None] = {
    "server_full": 5.0,
    "not_allowed": None,
    "too_fast": None,
}


async def converse(
    socket: WebSocket, hub: Hub, plugins: Callable[[], list[p.PluginInfo]] = list
) -> None:
    """Serve one client from its first message to the last.  Returns when the socket is closed."""
    await socket.accept()
    end, session = End("the client left"), ""
    address = socket.client.host if socket.client else "unknown"
    line = Line(socket, refused=lambda reason: hub.refusals.note(reason, address))
    client = Client(line, hub, socket.scope["grant"], plugins, address)
    try:
        wanted = await _unless_stopping(hub, _wait_for_hello(client))
        if isinstance(wanted, LiveSession):
            with hub.watching(wanted, client.address):
                await Conversation(client, wanted, watches=True).run()
            return
        with hub.seat(wanted, client.address, "talk") as session_id:
            session = session_id
            logger.info("session %s: %s", session_id, wanted.bundle.manifest.name)
            live = hub.handle(hub.new_session(wanted, session_id))
            await Conversation(client, live, watches=False).run()
    except End as error:
        end = error
    except p.ProtocolError as error:  # what reaches here cannot be repaired
        end = End(error.message, _RETRY_S.get(error.code, RETRY_S), _CLOSE.get(error.code, 1000))
        with suppress(WebSocketDisconnect):
            await line.refuse(error)
    except WebSocketDisconnect:
        pass
    except Exception:  # a fault of ours ends one conversation, not the server
        logger.exception("a conversation failed")
        end = End("an internal error", code=1011)
    finally:
        if session:
            logger.info("session %s: ended: %s", session, end.reason, extra={"session": session})
        await line.close(end.reason, end.retry_s, end.code)


async def _unless_stopping(hub: Hub, work: Coroutine[Any, Any, _T]) -> _T:
    """Do it, or end the conversation because the server stops."""
    tasks = asyncio.ensure_future(work), asyncio.ensure_future(hub.stopping.wait())
    working, stopping = tasks
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise End.stopping()
        return await working
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
                        require(client.grant.talks)
                        return await client.hub.avatar(message.avatar)
                    except p.ProtocolError as error:
                        await line.complain(error)
                elif isinstance(message, p.Ping):
                    await line.send(p.Pong(id=message.id))
                elif isinstance(message, p.Bye):
                    raise End("bye", retry_s=None)
                else:
                    await line.complain(p.ProtocolError("hello_first", "Send hello first."))
    except TimeoutError:
        client.hub.refusals.note("no_hello", client.address)
        raise End("no hello came") from None


def _watched(client: Client, which: str) -> LiveSession:
    """A running session to watch.  Whoever knows its id was told by its owner, or has a link."""
    grant = client.grant
    if which == "latest" and grant.session is not None:
        which = grant.session
    require(grant.operates if which == "latest" else grant.watches(which))
    return client.hub.find_session(which)
