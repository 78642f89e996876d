"""Access: who comes in, by what, and what that grants.  docs/security.md has the tables."""

from __future__ import annotations

import hmac
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from daetalker.streamer.addresses import (
    LOCAL_NAMES,
    host_name,
    is_address,
    is_loopback,
    is_trusted,
    real_client,
)
from daetalker.streamer.grants import Grant
from daetalker.streamer.settings import Settings, SettingsError
from daetalker.streamer.tokens import TokenError, Tokens

__all__ = ["Access", "Visitor", "origin_allowed"]

logger = logging.getLogger(__name__)

_NO_TOKEN = "You need a link to come in: ask whoever runs this server; `daetalker link` prints one."


@dataclass(frozen=True)
class Visitor:
    """Who sends a request, as far as can be known before any token is looked at.

    Attributes:
        address: of the client, behind proxies that are trusted.
        proxied: True if a proxy says that it passes this on.
        local: True if it came from this machine, to one of its own names, through no proxy.
        secure: True if the client speaks https, to us or to a trusted proxy.
        host: the name it asked for, without port.
        token: what its query or its Authorization header holds.
        in_query: True if that was in the query.
        passes: what its cookies hold.
    """

    address: str
    proxied: bool
    local: bool
    secure: bool
    host: str
    token: str | None
    in_query: bool
    passes: tuple[str, ...]


class Access:
    """Decides who may come in."""

    def __init__(self, settings: Settings, open_tokens: Callable[[], Tokens]) -> None:
        """Access by the settings.

        Args:
            open_tokens: gives the server's tokens; asked when somebody shows one, so that a server
                that asks nobody leaves nothing on the disk.
        """
        self._settings = settings
        self._open_tokens = open_tokens
        self._opened: Tokens | None = None

    def visitor(self, scope: Scope) -> Visitor:
        """Read who it is, and take the token out of the query: nobody after us needs to see it.

        What was in ``scope["client"]`` becomes the real client's address.
        """
        headers = Headers(scope=scope)
        peer = scope["client"][0] if scope.get("client") else "unknown"
        forwarded = headers.getlist("x-forwarded-for")
        proxied = bool(forwarded) or "forwarded" in headers
        trusted = is_trusted(peer, self._settings.trusted_proxies)
        address = real_client(peer, forwarded, self._settings.trusted_proxies)
        if address != peer:
            scope["client"] = (address, 0)
        host = host_name(headers.get("host", ""))
        https = trusted and headers.get("x-forwarded-proto", "").lower() == "https"
        query_token = _take_token(scope)
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        return Visitor(
            address=address,
            proxied=proxied,
            local=not proxied and is_loopback(peer) and host in LOCAL_NAMES,
            secure=https or scope["scheme"] in ("https", "wss"),
            host=host,
            token=query_token or (bearer.strip() if kind.lower() == "bearer" else None) or None,
            in_query=query_token is not None,
            passes=_passes(headers),
        )

    def open_to(self, visitor: Visitor) -> bool:
        """Whether it is let in without a token."""
        if self._settings.access == "auto":
            # A proxy in front of localhost lets the whole world in without meaning to.
            return not self._settings.beyond_loopback and not visitor.proxied
        return self._settings.access == "open"

    def host_known(self, visitor: Visitor) -> bool:
        """Whether the name that was asked for is this machine's, or an address.

        A page elsewhere can let its own name point to this machine, and is then taken by the
        browser for a page of this server; it cannot change the name.
        """
        return is_address(visitor.host) or visitor.host in self._names()

    def redeem(self, visitor: Visitor) -> Grant:
        """What the token in the address of a page grants; a link is used up by it.

        Raises:
            TokenError: if it is not valid any more, or never was.
        """
        assert visitor.token is not None
        if self._is_control_token(visitor.token):
            return Grant("operator")
        return self._tokens.redeem(visitor.token)

    def cookie(self, visitor: Visitor, grant: Grant) -> str:
        """The ``Set-Cookie`` that lets the browser in from now on."""
        # The prefix makes browsers refuse it from plain http and from other hosts of the domain.
        name = _SECURE_NAME if visitor.secure else _NAME
        age_s = int(self._settings.token_hours * 3600)
        value = self._tokens.make_pass(grant)
        secure = "; Secure" if visitor.secure else ""
        return f"{name}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"

    def grant(self, visitor: Visitor) -> Grant:
        """What the visitor may do.

        Raises:
            TokenError: if it has to show a token, and has no valid one.
        """
        problem = TokenError("no_token", _NO_TOKEN)
        if visitor.token is not None and self._is_control_token(visitor.token):
            return Grant("operator")
        for token in (visitor.token, *visitor.passes):
            if token is not None:
                try:
                    return self._tokens.read_pass(token)
                except TokenError as error:
                    problem = error
        if not self.open_to(visitor):
            raise problem
        local = visitor.local and not self._settings.beyond_loopback
        operates = local and self._settings.control_token is None
        return Grant("operator" if operates else "talk")

    @property
    def _tokens(self) -> Tokens:
        if self._opened is None:
            try:
                self._opened = self._open_tokens()
            except SettingsError as error:
                logger.error("%s; nobody comes in by a token", error)
                raise TokenError("no_token", "This server cannot check tokens now.") from None
        return self._opened

    def _is_control_token(self, token: str) -> bool:
        wanted = self._settings.control_token
        return wanted is not None and hmac.compare_digest(
            token.encode(errors="replace"), wanted.get_secret_value().encode()
        )

    def _names(self) -> set[str]:
        names = {*LOCAL_NAMES, *_machine_names()}
        if self._settings.public_url is not None:
            names.add(urlsplit(self._settings.public_url).hostname or "")
        return names


def origin_allowed(scope: Scope, settings: Settings) -> bool:
    """Whether a browser's page may do this: pages of this server, and listed origins.

    Browsers let any page open a socket or post to any server, and name the page in ``Origin``;
    programs send none.
    """
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is None or origin in settings.allowed_origins:
        return True
    if settings.public_url is not None and origin == _origin_of(settings.public_url):
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:  # no browser sends such a one
        return False
    # A page by plain http may be anybody's who sits in the network between.
    if scope["scheme"] in ("https", "wss") and parts.scheme != "https":
        return False
    return parts.scheme in ("http", "https") and parts.netloc == headers.get("host")


_NAME = "daetalker"
_SECURE_NAME = f"__Host-{_NAME}"


def _passes(headers: Headers) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for line in headers.getlist("cookie"):
        found |= cookie_parser(line)
    return tuple(found[name] for name in (_SECURE_NAME, _NAME) if name in found)


def _take_token(scope: Scope) -> str | None:
    """The query's ``token``, which is in the query no more."""
    query: bytes = scope["query_string"]
    if b"token" not in query:
        return None
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name != "token"]
    if len(kept) == len(pairs):
        return None
    scope["query_string"] = urlencode(kept).encode()
    return next(value for name, value in pairs if name == "token")


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@cache
def _machine_names() -> frozenset[str]:
    name = socket.gethostname().lower()
    return frozenset({name, name.partition(".")[0], name.partition(".")[0] + ".local"})
