"""HTTP for programs: sessions and commands, presets, plugins.  docs/protocol.md lists it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from daetalker.models.bundle import Manifest
from daetalker.streamer import protocol as p
from daetalker.streamer.conversation import edit_presets, require
from daetalker.streamer.describe import avatar_info, preset_infos
from daetalker.streamer.hub import Hub
from daetalker.streamer.live_session import LiveSession

__all__ = ["api_routes"]

_STATUS: dict[p.ErrorCode, int] = {
    "unknown_session": 404,
    "unknown_avatar": 404,
    "unknown_preset": 404,
    "unknown_voice": 404,
    "not_allowed": 403,
    "too_large": 413,
    "server_full": 503,
}
RETRY_AFTER_S = "5"

_NO_STORE = {"Cache-Control": "no-store"}

Answer = Callable[[Request], Awaitable[Response]]


def api_routes(hub: Hub, plugins: Callable[[], list[dict[str, str]]]) -> list[Route]:
    """The routes under ``/api``."""

    async def avatars(_: Request) -> Response:
        body = [avatar_info(m, hub.presets).model_dump() for m in hub.manifests()]
        return JSONResponse(body, headers={"Cache-Control": "no-cache"})

    async def sessions(request: Request) -> Response:
        require(request.scope["operator"])
        return JSONResponse([_session(live) for live in hub.live_sessions()], headers=_NO_STORE)

    async def session(request: Request) -> Response:
        return JSONResponse(_session(_named(hub, request)), headers=_NO_STORE)

    async def command(request: Request) -> Response:
        live = _named(hub, request)
        await live.command(await _body(request))
        return Response(status_code=204)

    async def presets(request: Request) -> Response:
        infos = preset_infos(_manifest(hub, request), hub.presets)
        return JSONResponse([info.model_dump() for info in infos], headers=_NO_STORE)

    async def save_preset(request: Request) -> Response:
        require(request.scope["operator"])
        try:
            given = json.loads(await _body(request))
        except (ValueError, RecursionError):
            raise p.ProtocolError("bad_message", "The body is not JSON.") from None
        if not isinstance(given, dict):
            raise p.ProtocolError("bad_message", "The body is not a JSON object.")
        try:
            message = p.SavePreset(**{**given, "name": request.path_params["name"]})
        except ValidationError as error:
            raise p.ProtocolError("bad_message", p.sentence(error)) from None
        await edit_presets(hub, _manifest(hub, request), message)
        return Response(status_code=204)

    async def delete_preset(request: Request) -> Response:
        require(request.scope["operator"])
        try:
            message = p.DeletePreset(name=request.path_params["name"])
        except ValidationError as error:
            raise p.ProtocolError("bad_message", p.sentence(error)) from None
        await edit_presets(hub, _manifest(hub, request), message)
        return Response(status_code=204)

    async def plugin_report(request: Request) -> Response:
        require(request.scope["operator"])
        return JSONResponse(plugins(), headers=_NO_STORE)

    def route(path: str, answer: Answer, method: str = "GET") -> Route:
        return Route(f"/api/{path}", _told_of_mistakes(answer, hub), methods=[method])

    return [
        route("avatars", avatars),
        route("sessions", sessions),
        route("sessions/{id}", session),
        route("sessions/{id}/command", command, "POST"),
        route("presets", presets),
        route("presets/{name}", save_preset, "PUT"),
        route("presets/{name}", delete_preset, "DELETE"),
        route("plugins", plugin_report),
    ]


def _session(live: LiveSession) -> dict[str, Any]:
    state = live.state().model_dump(exclude={"type"})
    return {"id": live.id, "avatar": live.avatar.name, "state": state}


def _named(hub: Hub, request: Request) -> LiveSession:
    """The session in the path.  Whoever knows its id was told by its owner."""
    which: str = request.path_params["id"]
    if which == "latest":
        require(request.scope["operator"])
    return hub.find_session(which)


def _manifest(hub: Hub, request: Request) -> Manifest:
    name = request.query_params.get("avatar", hub.default_avatar)
    for manifest in hub.manifests():
        if manifest.name == name:
            return manifest
    names = ", ".join(hub.avatar_names)
    raise p.ProtocolError("unknown_avatar", f"There is no such avatar; there are: {names}.")


async def _body(request: Request) -> bytes:
    """The request's body, JSON by its header: what a form of another site cannot send."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":
        raise p.ProtocolError("bad_message", "Send JSON, with Content-Type: application/json.")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > p.MAX_MESSAGE_BYTES:
            raise p.ProtocolError(
                "too_large", f"A body may have {p.MAX_MESSAGE_BYTES} bytes at most."
            )
    return bytes(body)


def _told_of_mistakes(answer: Answer, hub: Hub) -> Answer:
    async def safely(request: Request) -> Response:
        try:
            return await answer(request)
        except p.ProtocolError as error:
            hub.refusals.note(error.code, request.client.host if request.client else "unknown")
            body = {"code": error.code, "message": error.message}
            headers = {"Retry-After": RETRY_AFTER_S} if error.code == "server_full" else None
            return JSONResponse(body, _STATUS.get(error.code, 400), headers)

    return safely
