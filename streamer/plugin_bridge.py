"""Bridge: lets a plugin answer HTTP and WebSocket requests in its own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from daetalker.streamer.plugin_thread import PluginThread

__all__ = ["Bridge"]

_T = TypeVar("_T")


class Bridge:
    """An ASGI application that runs the plugin's there and carries the messages across."""

    def __init__(self, thread: PluginThread) -> None:
        self._thread = thread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, loop = self._thread.app, self._thread.loop
        if self._thread.state != "running" or app is None or loop is None:
            await _refuse(scope, receive, send)
            return
        here = asyncio.get_running_loop()
        answered = False

        async def receive_there() -> Message:
            return await _across(here, receive)

        async def send_there(message: Message) -> None:
            nonlocal answered
            answered = True
            await _across(here, lambda: send(message))

        serving = asyncio.ensure_future(
            _across(loop, lambda: app(scope, receive_there, send_there))
        )
        out = asyncio.ensure_future(self._thread.out.wait())
        try:
            await asyncio.wait({serving, out}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            out.cancel()
            serving.cancel()
        try:
            await serving
        except asyncio.CancelledError:
            if self._thread.out.is_set() and not answered:
                await _refuse(scope, receive, send)
            elif not self._thread.out.is_set():
                raise
        except Exception:
            self._thread.log.exception("a request failed")


async def _across(loop: asyncio.AbstractEventLoop, job: Callable[[], Awaitable[_T]]) -> _T:
    async def work() -> _T:
        return await job()

    coroutine: Coroutine[Any, Any, _T] = work()
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:  # that loop is closed
        coroutine.close()
        raise asyncio.CancelledError from None
    return await asyncio.wrap_future(future)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1011})
        return
    body = {"code": "removed", "message": "This plugin is not running."}
    await JSONResponse(body, 503)(scope, receive, send)
