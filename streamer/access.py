"""Access: who may do more than talk to a session of their own."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope

from daetalker.streamer.settings import Settings

__all__ = ["is_operator", "origin_allowed"]

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def is_operator(scope: Scope, settings: Settings) -> bool:
    """Whether a request may list, watch and steer sessions that it did not open.

    With a ``control_token`` in the settings, whoever sends it may.  Without one, programs on this
    machine may, as long as the server listens on localhost only; what came through a proxy or
    under another name is not taken for local.
    """
    headers = Headers(scope=scope)
    if settings.control_token is not None:
        wanted = settings.control_token.get_secret_value().encode()
        given = headers.get("authorization", "").removeprefix("Bearer ")
        given = given or QueryParams(scope["query_string"]).get("token", "")
        return hmac.compare_digest(given.encode(), wanted)
    if settings.host not in _LOCAL_NAMES or not _is_loopback(scope):
        return False
    if "x-forwarded-for" in headers or "forwarded" in headers:
        return False
    # A page elsewhere may let its own name point to this machine; it cannot change its name.
    return urlsplit(f"//{headers.get('host', '')}").hostname in _LOCAL_NAMES


def origin_allowed(scope: Scope, extra: tuple[str, ...]) -> bool:
    """Whether a browser's page may do this: pages of this server, and listed origins.

    Browsers let any page open a socket or post to any server, and name the page in ``Origin``;
    programs send none.
    """
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is None or origin in extra:
        return True
    return urlsplit(origin).netloc == headers.get("host")


def _is_loopback(scope: Scope) -> bool:
    client = scope.get("client")
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
