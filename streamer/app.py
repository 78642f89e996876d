"""The HTTP side: the page, ``/ws``, ``/healthz``, ``/api/avatars`` and the avatars' previews."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from daetalker.streamer.hub import Hub, avatar_info
from daetalker.streamer.page import SECURITY_HEADERS, Asset, asset, load_page
from daetalker.streamer.protocol import ProtocolError
from daetalker.streamer.signalling import converse

STOP_TIMEOUT_S = 3.0


def create_app(hub: Hub, page: dict[str, Asset] | None = None) -> Starlette:
    """The ASGI application of a started hub; it stops the hub when it is shut down."""
    assets = load_page() if page is None else page

    async def page_file(request: Request) -> Response:
        found = assets.get(request.url.path)
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

    async def avatars(_: Request) -> Response:
        body = [avatar_info(manifest).model_dump() for manifest in hub.manifests()]
        return JSONResponse(body, headers={"Cache-Control": "no-cache"})

    async def preview(request: Request) -> Response:
        try:
            avatar = await hub.avatar(request.path_params["name"])
        except ProtocolError as error:
            return Response(error.message + "\n", 404, media_type="text/plain")
        return _asset_response(request, asset(avatar.preview_png, "image/png"))

    async def websocket(ws: WebSocket) -> None:
        if hub.stopping.is_set() or not origin_allowed(ws, hub.settings.allowed_origins):
            await ws.close()  # before accepting: HTTP 403
            return
        await converse(ws, hub)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await hub.stop(STOP_TIMEOUT_S)

    app = Starlette(
        routes=[
            WebSocketRoute("/ws", websocket),
            Route("/healthz", healthz),
            Route("/api/avatars", avatars),
            Route("/avatar/{name}/preview.png", preview),
            Route("/{path:path}", page_file),
        ],
        lifespan=lifespan,
    )
    app.add_middleware(SecurityHeaders)
    return app


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


def origin_allowed(ws: WebSocket, extra: tuple[str, ...]) -> bool:
    """Whether a socket may be opened: only pages of this server, listed origins, and programs.

    Browsers let any page open a socket to any server, and name the page in ``Origin``; programs
    send none.
    """
    origin = ws.headers.get("origin")
    if origin is None or origin in extra:
        return True
    return urlsplit(origin).netloc == ws.headers.get("host")


def version() -> str:
    """The installed version, or ``0`` in a checkout that is not installed."""
    try:
        return importlib.metadata.version("daetalker")
    except importlib.metadata.PackageNotFoundError:
        return "0"
