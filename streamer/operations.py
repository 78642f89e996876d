"""Operations: what those who run the server ask it: is it alive, is there room, how is it doing?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import numpy as np
import onnxruntime
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from daetalker.streamer.addresses import LOCAL_NAMES, host_name, is_loopback
from daetalker.streamer.errors import EngineError
from daetalker.streamer.hub import Hub
from daetalker.streamer.metrics import Metrics
from daetalker.streamer.settings import Settings

__all__ = ["OPEN_PATHS", "may_read_metrics", "operations_routes", "watched_loop"]

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""These say nothing about anybody's session, and need no page token."""

LOOK_S = 0.25
"""Time between two looks at the event loop."""

RETRY_S = 10
"""When to ask again whether there is room."""

_NO_STORE = {"Cache-Control": "no-store"}

ENGINE_S = 2.0
"""An engine that has failed may take so long to show that it works again."""


def operations_routes(
    hub: Hub, plugins: Callable[[], list[dict[str, str]]], version: str
) -> list[Route]:
    """``/healthz``, ``/readyz`` and ``/metrics`` of a hub and its plugins' report."""
    metrics = hub.metrics
    metrics.build(version, onnxruntime=onnxruntime.__version__, profile=hub.profile.name)

    async def healthz(_: Request) -> Response:
        stopping = hub.stopping.is_set()
        body = {
            "status": "stopping" if stopping else "ok",
            "version": version,
            "avatar": hub.default_avatar,
            "profile": hub.profile.name,
            "sessions": hub.sessions,
            "max_clients": hub.settings.max_clients,
        }
        return JSONResponse(body, 503 if stopping else 200, headers=_NO_STORE)

    async def readyz(_: Request) -> Response:
        await _try_again(hub)
        refusal = unready(hub)
        if refusal is None:
            return JSONResponse({"ready": True}, headers=_NO_STORE)
        reason, message = refusal
        body = {"ready": False, "reason": reason, "message": message}
        return JSONResponse(body, 503, headers={**_NO_STORE, "Retry-After": str(RETRY_S)})

    async def figures(request: Request) -> Response:
        if not may_read_metrics(request.scope, hub.settings):
            who = request.client.host if request.client else ""
            hub.refusals.note("not_allowed", who, "the metrics")
            return Response(
                "Only programs on the server's own machine, or with its control token, may read "
                "the metrics: set control_token and send it as 'Authorization: Bearer ...'.\n",
                403,
                media_type="text/plain",
            )
        metrics.seats(hub.sessions, ready=unready(hub) is None)
        metrics.plugins({plugin["name"]: plugin["state"] for plugin in plugins()})
        body, kind = metrics.render()
        return Response(body, headers={**_NO_STORE, "Content-Type": kind})

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", figures),
    ]


def unready(hub: Hub) -> tuple[str, str] | None:
    """Why one more client would not be served now, in a word and in a sentence; else None."""
    if hub.stopping.is_set():
        return "stopping", "The server is stopping; it lets nobody in."
    if not hub.default_avatar:
        return "starting", "The avatar is being opened and warmed up."
    if hub.engine.failed:
        return "engine_failed", "The avatar's engine fails; the log says why."
    if full := hub.full():
        return "full", full
    return None


async def _try_again(hub: Hub) -> None:
    """Let an engine that has failed draw a frame: nobody else will ask it while we refuse."""
    if hub.stopping.is_set() or not hub.default_avatar or not hub.engine.failed:
        return
    manifest = hub.engine.engine.bundle.manifest
    with contextlib.suppress(EngineError, TimeoutError):
        async with asyncio.timeout(ENGINE_S):
            await hub.engine.frame(np.zeros(manifest.latent, np.float32))


def may_read_metrics(scope: Scope, settings: Settings) -> bool:
    """Whether a request may have the figures.

    Operators may.  So may programs on this machine, whatever the server listens on, as long as no
    control token is set: then everybody needs it, since a proxy makes the whole world local.
    """
    grant = scope["grant"]
    if grant is not None and grant.kind in ("operator", "metrics"):
        return True
    if settings.control_token is not None or settings.access == "token":
        return False
    headers = Headers(scope=scope)
    client = scope.get("client")
    if client is None or "x-forwarded-for" in headers or "forwarded" in headers:
        return False
    # A page elsewhere may let its own name point to this machine; it cannot change its name.
    return is_loopback(client[0]) and host_name(headers.get("host", "")) in LOCAL_NAMES


@contextlib.asynccontextmanager
async def watched_loop(metrics: Metrics) -> AsyncIterator[None]:
    """Measure how late the event loop wakes a sleeper, as long as the block lasts."""

    async def look() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            metrics.loop_lag(max(0.0, loop.time() - due_s))

    looking = asyncio.create_task(look(), name="event loop watch")
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
