"""The HTTP side: the pages, ``/ws``, the operators' questions, the API, previews, the plugins."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from daetalker.streamer.access import Access
from daetalker.streamer.api import api_routes
from daetalker.streamer.door import Door
from daetalker.streamer.hub import Hub
from daetalker.streamer.operations import OPEN_PATHS, operations_routes, watched_loop
from daetalker.streamer.page import Asset, asset, load_page, security_headers
from daetalker.streamer.plugin_host import PluginHost
from daetalker.streamer.protocol import ProtocolError
from daetalker.streamer.signalling import converse
from daetalker.streamer.tokens import open_tokens
from daetalker.streamer.version import version

STOP_TIMEOUT_S = 1.5

PUBLIC_FILES = {"/no_entry.css", "/favicon.svg"}
"""What the page without a link needs."""


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
        path: str = request.scope["path"]
        found = assets.get(path, assets.get(f"{path}.html"))
        if found is None:
            return Response("There is nothing here.\n", 404, media_type="text/plain")
        return _asset_response(request, found)

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
            async with watched_loop(hub.metrics):
                yield
        finally:
            await hub.stop(STOP_TIMEOUT_S)
            await plugins.stop()

    app = Starlette(
        routes=[
            WebSocketRoute("/ws", websocket),
            *operations_routes(hub, plugins.report, version()),
            *api_routes(hub, plugins.report),
            Route("/avatar/{name}/preview.png", preview),
            *(Route(path, page_file) for path in scripts),
            *plugins.routes(),
            Route("/{path:path}", page_file),
        ],
        lifespan=lifespan,
    )
    app.add_middleware(
        Door,
        settings=hub.settings,
        access=Access(hub.settings, lambda: open_tokens(hub.settings)),
        refusals=hub.refusals,
        public=OPEN_PATHS | PUBLIC_FILES,
        no_entry=assets.get("/no_entry.html"),
    )
    # The outermost: refusals have them too.
    app.add_middleware(SecurityHeaders, own_certificate=hub.settings.tls_cert is not None)
    return app


class SecurityHeaders:
    """Adds the security headers to every HTTP response, errors included."""

    def __init__(self, app: ASGIApp, own_certificate: bool) -> None:
        self._app = app
        self._headers = security_headers(own_certificate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def _asset_response(request: Request, found: Asset) -> Response:
    # no-cache: browsers keep the file but ask whether it is still the same, so an update shows.
    headers = {"ETag": found.etag, "Cache-Control": "no-cache"}
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.body, headers=headers, media_type=found.media_type)
