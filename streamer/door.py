"""The door: the first that a request meets.  It lets in, turns away, or exchanges a link.

What comes through carries ``scope["grant"]`` and ``scope["operator"]``, its real client's address
and no token; its body is whole and small.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from contextlib import ExitStack
from http.client import responses
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daetalker.streamer.access import Access, Visitor, origin_allowed
from daetalker.streamer.address_limits import AddressLimits, TooMany
from daetalker.streamer.grants import Grant
from daetalker.streamer.messages import ErrorCode
from daetalker.streamer.page import Asset
from daetalker.streamer.refusals import Refusals
from daetalker.streamer.server_messages import Error
from daetalker.streamer.settings import Settings
from daetalker.streamer.tokens import TokenError

__all__ = ["MAX_BODY_BYTES", "Door"]

MAX_BODY_BYTES = 1024 * 1024
BODY_S = 10.0
"""How long a body may take to arrive, once its request has begun."""

PAGES = ("/", "/index.html", "/stage", "/stage.html")
"""Where a token in the address is exchanged for a cookie."""

_PREVIEWS = re.compile(r"bot\b|preview|externalhit|whatsapp|slack|telegram|discord|embedly", re.I)
"""Programs that open links in a chat before a person does; a link would be used up by them."""

_ERROR = re.compile(r'\{\s*"type":\s*"error",\s*"code":\s*"(\w+)"')
"""The beginning of the protocol's message, which plugins' sockets speak too."""

_CLOSE_CODES = {401: 4401, 403: 4401, 429: 4429}
_REASONS_OF_PLUGINS = {401: "no_token", 403: "not_allowed", 413: "too_large", 429: "too_many"}


class _Refusal(Exception):
    """What a client is told instead of an answer.

    Attributes:
        reason: for the count of refusals.
        status: of HTTP.
        code: of the protocol.
        message: a sentence for people.
    """

    def __init__(self, reason: str, status: int, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.reason, self.status, self.code, self.message = reason, status, code, message


class Door:
    """ASGI middleware in front of everything."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        access: Access,
        refusals: Refusals,
        public: Collection[str] = (),
        no_entry: Asset | None = None,
    ) -> None:
        """A door to ``app``.

        Args:
            public: paths that everybody may ask for.
            no_entry: the page that people see who have no link; None for one sentence.
        """
        self._app = app
        self._settings = settings
        self._access = access
        self._refusals = refusals
        self._public = public
        self._no_entry = no_entry
        self._limits = AddressLimits(settings.max_per_address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        visitor = self._access.visitor(scope)
        with ExitStack() as held:
            try:
                await self._come_in(held, visitor, scope, receive, send)
            except _Refusal as refusal:
                self._refusals.note(refusal.reason, visitor.address)
                await self._turn_away(refusal, scope, receive, send)

    async def _come_in(
        self, held: ExitStack, visitor: Visitor, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Everything that is asked of a request, in turn.

        Raises:
            _Refusal: nothing was answered yet.
        """
        method: str = scope.get("method", "WEBSOCKET")
        path: str = scope["path"]
        try:
            hold = self._limits.request if scope["type"] == "http" else self._limits.socket
            held.enter_context(hold(visitor.address))
        except TooMany as error:
            raise _Refusal("too_many", 429, "too_many", str(error)) from None
        if method not in ("GET", "HEAD") and not origin_allowed(scope, self._settings):
            text = "Pages of other sites may not do this."
            raise _Refusal("wrong_origin", 403, "not_allowed", text)
        if path in self._public:
            try:
                grant: Grant | None = self._access.grant(visitor)
            except TokenError:
                grant = None
        else:
            if self._access.open_to(visitor) and not self._access.host_known(visitor):
                text = (
                    "Ask for this server by its address or its host name; any other name must be "
                    "set as its public_url."
                )
                raise _Refusal("wrong_host", 403, "not_allowed", text)
            if path in PAGES and visitor.in_query and method == "GET":
                answer = self._exchange(visitor, scope)
                if answer is not None:
                    await answer(scope, receive, send)
                    return
            try:
                grant = self._access.grant(visitor)
            except TokenError as error:
                raise _Refusal(error.reason, 401, "not_allowed", str(error)) from None
            if not grant.reaches(method, path):
                text = "Your link or token is not for this."
                raise _Refusal("not_allowed", 403, "not_allowed", text)
        if method not in ("GET", "HEAD", "WEBSOCKET"):
            receive = _replay(await _whole_body(scope, receive))
        scope["grant"] = grant
        scope["operator"] = grant is not None and grant.operates
        if path.startswith("/plugins/"):
            send = self._noting(visitor, send)
        await self._app(scope, receive, send)

    def _exchange(self, visitor: Visitor, scope: Scope) -> Response | None:
        """Give a cookie for the token in a page's address, and lead to the address without it.

        Returns:
            The answer; None if the page may simply be shown.

        Raises:
            _Refusal: if the token lets nobody in.
        """
        headers = Headers(scope=scope)
        if _PREVIEWS.search(headers.get("user-agent", "")) or "sec-purpose" in headers:
            raise _Refusal(
                "not_allowed", 403, "not_allowed", "This link is for a person, and is still unused."
            )
        cookie = None
        try:
            cookie = self._access.cookie(visitor, self._access.redeem(visitor))
        except TokenError as error:
            if self._access.open_to(visitor):
                return None
            try:  # somebody who is in already went back to a link that is used
                self._access.grant(visitor)
            except TokenError:
                raise _Refusal(error.reason, 401, "not_allowed", str(error)) from None
        query = scope["query_string"].decode("latin-1")
        there = "./" + quote(scope["path"].rpartition("/")[2]) + (f"?{query}" if query else "")
        answer: Response
        if headers.get("sec-fetch-site") == "cross-site":
            # After a redirect the browser still counts the visit as that other site's, and would
            # not send a cookie that is SameSite=Strict.  A page of ours breaks the chain.
            answer = HTMLResponse(_ONWARD.format(there=there.replace("&", "&amp;")))
        else:
            answer = Response(status_code=303, headers={"Location": there})
        answer.headers["Cache-Control"] = "no-store"
        if cookie is not None:
            answer.headers["Set-Cookie"] = cookie
        return answer

    async def _turn_away(
        self, refusal: _Refusal, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] == "websocket":
            await _turn_socket_away(refusal, receive, send)
            return
        headers = {"Cache-Control": "no-store", "Connection": "close"}
        if refusal.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if refusal.status == 429:
            headers["Retry-After"] = "5"
        answer: Response
        wants_page = "text/html" in Headers(scope=scope).get("accept", "")
        if scope["path"].startswith(("/api/", "/plugins/")):
            body = {"code": refusal.code, "message": refusal.message}
            answer = JSONResponse(body, refusal.status, headers)
        elif refusal.status == 401 and wants_page and self._no_entry is not None:
            body_of_page, kind = self._no_entry.body, self._no_entry.media_type
            answer = Response(body_of_page, refusal.status, headers, kind)
        else:
            answer = PlainTextResponse(refusal.message + "\n", refusal.status, headers)
        await answer(scope, receive, send)

    def _noting(self, visitor: Visitor, send: Send) -> Send:
        """Note what a plugin refuses; it cannot do so itself."""

        async def noting(message: Message) -> None:
            reason = _refused_by(message)
            if reason is not None:
                self._refusals.note(reason, visitor.address, "by a plugin")
            await send(message)

        return noting


def _refused_by(message: Message) -> str | None:
    """Why a plugin turns somebody away with what it sends; None if it does not."""
    if message["type"] == "http.response.start":
        return _REASONS_OF_PLUGINS.get(message["status"])
    error = _ERROR.match(message.get("text") or "")
    if error is None or error[1] == "server_full":  # noted where places are counted
        return None
    return error[1]


_ONWARD = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={there}">'
    '<title>daetalker</title><a href="{there}">Go on</a>\n'
)


async def _turn_socket_away(refusal: _Refusal, receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    if refusal.reason == "wrong_origin":
        await send({"type": "websocket.close"})  # before accepting: HTTP 403
        return
    await send({"type": "websocket.accept"})
    error = Error(code=refusal.code, message=refusal.message, fatal=True)
    await send({"type": "websocket.send", "text": error.model_dump_json()})
    reason = responses.get(refusal.status, "")
    code = _CLOSE_CODES[refusal.status]
    await send({"type": "websocket.close", "code": code, "reason": reason})


async def _whole_body(scope: Scope, receive: Receive) -> bytes:
    """The body of a request, all of it, before anybody works on it.

    Raises:
        _Refusal: if it is too long, or takes too long.
    """
    too_large = _Refusal(
        "too_large", 413, "too_large", f"A body may have {MAX_BODY_BYTES} bytes at most."
    )
    announced = Headers(scope=scope).get("content-length", "0")
    if not announced.isdecimal() or int(announced) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
                if not message.get("more_body", False):  # complete, or the client has gone
                    return bytes(body)
    except TimeoutError:
        text = f"The body took longer than {BODY_S:.0f} s."
        raise _Refusal("bad_request", 408, "bad_message", text) from None


def _replay(body: bytes) -> Receive:
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
