"""The recorder over HTTP, under ``/plugins/recorder/``.

========================  ==================================================================
``POST recordings``       ``{"session": ID}`` or ``"latest"``: 201 and the recording
``GET recordings``        all of them, or those of ``?session=ID``
``GET recordings/N``      one
``POST recordings/N/stop``  end it; the answer comes when the file is closed
``GET recordings/N/file``   the MP4 of one that has ended, whole or in ranges
``DELETE recordings/N``   delete one that has ended, with its file
========================  ==================================================================

An operator may do all that.  Everybody else names the session, in the body or as ``?session=ID``:
only whoever opened a session was told its id.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from daetalker.plugins.recorder.archive import Archive, Busy, Entry
from daetalker.plugins.recorder.mp4 import RecorderError
from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.plugin import Host
from daetalker.streamer.protocol import ProtocolError

__all__ = ["routes_of"]

MAX_BODY = 4096
_NO_STORE = {"Cache-Control": "no-store"}
_STATUS = {"unknown_session": 404, "not_allowed": 403, "too_large": 413}


class _Refusal(Exception):
    """An answer to a request that cannot be met."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.response = JSONResponse({"code": code, "message": message}, status, headers=_NO_STORE)


def routes_of(host: Host, archive: Archive) -> Sequence[BaseRoute]:
    """The routes of a recorder."""

    async def begin(request: Request) -> Response:
        which = await _session_named(request)
        if which == "latest" and not _is_operator(request):
            raise _not_allowed()
        try:
            entry = await archive.begin(await host.find(which))
        except SessionClosed:
            raise _Refusal(404, "unknown_session", "The session has just ended.") from None
        except Busy as error:
            raise _Refusal(409, "already_recording", str(error)) from None
        except RecorderError as error:
            raise _Refusal(507, "cannot_record", _as_sentence(error)) from None
        return _json(entry.report(), 201)

    async def show_all(request: Request) -> Response:
        named = request.query_params.get("session")
        if named is None and not _is_operator(request):
            raise _not_allowed()
        chosen = [
            entry for entry in archive.all() if named is None or _same(named, entry.session_id)
        ]
        return _json([entry.report() for entry in chosen])

    async def show(request: Request) -> Response:
        return _json(_entry(request, archive).report())

    async def stop(request: Request) -> Response:
        entry = _entry(request, archive)
        await entry.recording.stop()
        return _json(entry.report())

    async def download(request: Request) -> Response:
        entry = _ended(_entry(request, archive))
        path = entry.recording.path
        if not path.is_file():
            raise _Refusal(404, "no_file", f"There is no file: {entry.recording.reason}.")
        return FileResponse(path, media_type="video/mp4", filename=path.name)

    async def delete(request: Request) -> Response:
        await archive.delete(_ended(_entry(request, archive)))
        return Response(status_code=204)

    return (
        Route("/recordings", _answering(begin), methods=["POST"]),
        Route("/recordings", _answering(show_all), methods=["GET"]),
        Route("/recordings/{number}", _answering(show), methods=["GET"]),
        Route("/recordings/{number}", _answering(delete), methods=["DELETE"]),
        Route("/recordings/{number}/stop", _answering(stop), methods=["POST"]),
        Route("/recordings/{number}/file", _answering(download), methods=["GET"]),
    )


_Handler = Callable[[Request], Awaitable[Response]]


def _answering(handler: _Handler) -> _Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except _Refusal as refusal:
            return refusal.response
        except ProtocolError as error:
            status = _STATUS.get(error.code, 400)
            return _Refusal(status, error.code, error.message).response

    return answer


async def _session_named(request: Request) -> str:
    """The ``session`` of a request's JSON body."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise _Refusal(413, "too_large", f"A request has at most {MAX_BODY} bytes.")
    try:
        which = json.loads(body)["session"]
    except (ValueError, TypeError, KeyError):
        which = None
    if not isinstance(which, str):
        raise _Refusal(400, "bad_message", 'Send JSON: {"session": "ID or latest"}.')
    return which


def _entry(request: Request, archive: Archive) -> Entry:
    """The recording that the path names, if the client may know of it."""
    entry = archive.find(request.path_params["number"])
    named = request.query_params.get("session", "")
    if entry is None or not (_is_operator(request) or _same(named, entry.session_id)):
        raise _Refusal(
            404,
            "unknown_recording",
            "There is no such recording, or its session was not named (?session=ID).",
        )
    return entry


def _ended(entry: Entry) -> Entry:
    if entry.running:
        raise _Refusal(409, "still_recording", "It is still being recorded; stop it first.")
    return entry


def _is_operator(request: Request) -> bool:
    return bool(request.scope.get("operator"))


def _same(named: str, session_id: str) -> bool:
    return hmac.compare_digest(named.encode(), session_id.encode())


def _not_allowed() -> _Refusal:
    return _Refusal(403, "not_allowed", "Name the session by its id, or come as an operator.")


def _as_sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + "."


def _json(body: object, status: int = 200) -> Response:
    return JSONResponse(body, status, headers=_NO_STORE)
