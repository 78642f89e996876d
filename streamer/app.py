"""The HTTP side: the pages, ``/ws``, ``/healthz``, the API, previews, and the plugins' routes."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from daetalker.streamer.access import is_operator, origin_allowed
from daetalker.streamer.api import api_routes
from daetalker.streamer.hub import Hub
from daetalker.streamer.page import SECURITY_HEADERS, Asset, asset, load_page
from daetalker.streamer.plugin_host import PluginHost
from daetalker.streamer.protocol import ProtocolError
from daetalker.streamer.settings import Settings
from daetalker.streamer.signalling import converse

STOP_TIMEOUT_S = 3.0


def create_app(
    hub: Hub, page: dict[str, Asset] | None = None, plugins: PluginHost | None = None
) -> Starlette:
    """The ASGI application of a started hub and its started plugins.

    It stops both when it is shut down.
    """
    plugins = plugins or PluginHost(hub)
    scripts = plugins.scripts()
    assets = (load_page() if page is None else page) | scripts

    async def page_file(request: Request) -> Response:
        path = request.url.path
        found = assets.get(path, assets.get(f"{path}.html"))
        if found is None:
            return Response("There is nothing here.\n", 404, media_type="text/plain")
        return _asset_response(request, found)

    async def healthz(_: Request) -> Response:
        status = "stopping" if hub.stopping.is_set() else "ok"
        body = {
            "status": status,
            "version": version(),
            "avatar": hub.default_avatar,
            "profile": hub.profile.name,
            "sessions": hub.sessions,
            "max_clients": hub.settings.max_clients,
        }
        code = 200 if status == "ok" else 503
        return JSONResponse(body, code, headers={"Cache-Control": "no-store"})

    async def preview(request: Request) -> Response:
        try:
            avatar = await hub.avatar(request.path_params["name"])
        except ProtocolError as error:
            return Response(error.message + "\n", 404, media_type="text/plain")
        return _asset_response(request, asset(avatar.preview_png, "image/png"))

    async def websocket(ws: WebSocket) -> None:
        if hub.stopping.is_set():
            await ws.close()  # before accepting: HTTP 403
            return
        await converse(ws, hub, plugins.infos)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await hub.stop(STOP_TIMEOUT_S)
            await plugins.stop()

    app = Starlette(
        routes=[
            WebSocketRoute("/ws", websocket),
            Route("/healthz", healthz),
            *api_routes(hub, plugins.report),
            Route("/avatar/{name}/preview.png", preview),
            *(Route(path, page_file) for path in scripts),
            *plugins.routes(),
            Route("/{path:path}", page_file),
        ],
        lifespan=lifespan,
    )
    app.add_middleware(Gate, settings=hub.settings)
    app.add_middleware(SecurityHeaders)  # the outermost: refusals have them too
    return app


class Gate:
    """Refuses what pages of other origins ask for, and says who is an operator."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            reads = scope.get("method") in ("GET", "HEAD")
            if not reads and not origin_allowed(scope, self._settings.allowed_origins):
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close"})  # before accepting: HTTP 403
                else:
                    refusal = Response("Pages of other sites may not do this.\n", 403)
                    await refusal(scope, receive, send)
                return
            scope["operator"] = is_operator(scope, self._settings)
        await self._app(scope, receive, send)


class SecurityHeaders:
    """Adds the security headers to every HTTP response, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def _asset_response(request: Request, found: Asset) -> Response:
    # no-cache: browsers keep the file but ask whether it is still the same, so an update shows.
    headers = {"ETag": found.etag, "Cache-Control": "no-cache"}
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.body, headers=headers, media_type=found.media_type)


def version() -> str:
    """The installed version, or ``0`` in a checkout that is not installed."""
    try:
        return importlib.metadata.version("daetalker")
    except importlib.metadata.PackageNotFoundError:
        return "0"
