"""Who comes in, by what, and what that lets them do: decided on a request's head alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daetalker.streamer.access import Access, origin_allowed
from daetalker.streamer.addresses import address_key, real_client
from daetalker.streamer.grants import Grant, GrantKind
from daetalker.streamer.settings import Settings, SettingsError
from daetalker.streamer.tokens import TokenError, Tokens
from tests.streamer.serving import settings_for

CONTROL = "a secret"
TOKENS = Tokens("x" * 32, None, pass_hours=1.0)


def scope(
    headers: dict[str, str] | None = None,
    client: Any = ("127.0.0.1", 5),
    query: str = "",
    scheme: str = "http",
) -> Any:
    named = {"host": "localhost:8080", **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    return {
        "type": "http",
        "scheme": scheme,
        "headers": raw,
        "client": client,
        "query_string": query.encode(),
    }


def granted(settings: Settings, request: Any) -> GrantKind | str:
    access = Access(settings, lambda: TOKENS)
    try:
        return access.grant(access.visitor(request)).kind
    except TokenError as error:
        return error.reason


@pytest.mark.parametrize(
    ("request_scope", "kind"),
    [
        (scope(), "operator"),
        (scope(client=("::1", 5, 0, 0)), "operator"),
        (scope(client=("192.0.2.7", 5)), "talk"),
        (scope({"host": "rebound.example:8080"}), "talk"),
        (scope(client=None), "talk"),
        (scope({"x-forwarded-for": "192.0.2.7"}), "no_token"),
        (scope({"forwarded": "for=192.0.2.7"}), "no_token"),
    ],
)
def test_on_localhost_programs_here_operate_and_a_proxy_asks_for_a_token(
    tmp_path: Path, request_scope: Any, kind: str
) -> None:
    assert granted(settings_for(tmp_path), request_scope) == kind


@pytest.mark.parametrize(
    ("request_scope", "kind"),
    [
        (scope(), "no_token"),
        (scope({"authorization": f"Bearer {CONTROL}"}, ("192.0.2.7", 5)), "operator"),
        (scope({"authorization": f"bearer  {CONTROL}"}), "operator"),
        (scope(client=("192.0.2.7", 5), query="token=a%20secret"), "operator"),
        (scope({"authorization": "Bearer wrong"}), "no_token"),
        (scope({"authorization": "Bearer "}, query="token="), "no_token"),
        (scope({"authorization": "Bearer gehéim"}), "no_token"),
        (scope({"authorization": f"Basic {CONTROL}"}), "no_token"),
    ],
)
def test_beyond_localhost_everybody_shows_a_token(
    tmp_path: Path, request_scope: Any, kind: str
) -> None:
    settings = settings_for(tmp_path, host="0.0.0.0", control_token=CONTROL)
    assert granted(settings, request_scope) == kind


def test_where_there_is_a_control_token_nobody_operates_without_one(tmp_path: Path) -> None:
    assert granted(settings_for(tmp_path, control_token=CONTROL), scope()) == "talk"
    opened = settings_for(tmp_path, host="0.0.0.0", access="open")
    assert granted(opened, scope()) == "talk"
    assert granted(opened, scope(client=("192.0.2.7", 5))) == "talk"


@pytest.mark.parametrize("kind", ["talk", "watch", "operator", "metrics"])
def test_a_pass_grants_what_it_says_wherever_it_is_shown(tmp_path: Path, kind: GrantKind) -> None:
    settings = settings_for(tmp_path, access="token")
    token = TOKENS.make_pass(Grant(kind, "1f" if kind == "watch" else None))
    assert granted(settings, scope({"authorization": f"Bearer {token}"})) == kind
    assert granted(settings, scope(query=f"token={token}")) == kind
    assert granted(settings, scope({"cookie": f"a=b; __Host-daetalker={token}"})) == kind
    assert granted(settings, scope({"cookie": f"daetalker={token}; c"})) == kind
    assert granted(settings, scope({"cookie": f"other={token}"})) == "no_token"


def test_a_token_is_taken_out_of_the_query_and_nothing_else_is(tmp_path: Path) -> None:
    access = Access(settings_for(tmp_path), lambda: TOKENS)
    request = scope(query="watch=latest&token=abc&x=%20&y=")
    assert access.visitor(request).token == "abc"
    assert request["query_string"] == b"watch=latest&x=+&y="
    request = scope(query="tokens=1&x=%2F")
    assert access.visitor(request).token is None
    assert request["query_string"] == b"tokens=1&x=%2F"


def test_a_secret_that_cannot_be_read_lets_nobody_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Tokens:
        raise SettingsError("no secret")

    access = Access(settings_for(tmp_path, access="token"), broken)
    with pytest.raises(TokenError):
        access.grant(access.visitor(scope({"authorization": "Bearer x"})))
    assert "no secret" in caplog.text


@pytest.mark.parametrize(
    ("kind", "method", "path", "comes_through"),
    [
        ("operator", "POST", "/plugins/agent/x", True),
        ("talk", "POST", "/api/sessions/1f/command", True),
        ("talk", "WEBSOCKET", "/ws", True),
        ("watch", "GET", "/", True),
        ("watch", "GET", "/style.css", True),
        ("watch", "WEBSOCKET", "/ws", True),
        ("watch", "GET", "/api/sessions/1f", True),
        ("watch", "GET", "/api/sessions/2e", False),
        ("watch", "GET", "/api/sessions", False),
        ("watch", "POST", "/api/sessions/1f/command", False),
        ("watch", "PUT", "/api/presets/x", False),
        ("watch", "GET", "/plugins/recorder/page.js", True),
        ("watch", "GET", "/plugins/recorder/recordings", False),
        ("watch", "WEBSOCKET", "/plugins/agent/media", False),
        ("metrics", "GET", "/metrics", True),
        ("metrics", "GET", "/", False),
        ("metrics", "WEBSOCKET", "/ws", False),
    ],
)
def test_what_a_grant_reaches(kind: GrantKind, method: str, path: str, comes_through: bool) -> None:
    grant = Grant(kind, "1f" if kind == "watch" else None)
    assert grant.reaches(method, path) is comes_through


@pytest.mark.parametrize(
    ("headers", "scheme", "allowed"),
    [
        ({}, "http", True),
        ({"origin": "http://localhost:8080"}, "http", True),
        ({"origin": "http://localhost:9090"}, "http", False),
        ({"origin": "null"}, "http", False),
        ({"origin": "https://localhost:8080"}, "https", True),
        ({"origin": "http://localhost:8080"}, "https", False),
        ({"origin": "https://other.example"}, "http", True),
        ({"origin": "https://talk.example.org"}, "http", True),
        ({"origin": "https://talk.example.org.evil"}, "http", False),
    ],
)
def test_sockets_open_only_for_known_pages(
    tmp_path: Path, headers: dict[str, str], scheme: str, allowed: bool
) -> None:
    settings = settings_for(
        tmp_path,
        allowed_origins="https://other.example",
        public_url="https://talk.example.org/here",
    )
    assert origin_allowed(scope(headers, scheme=scheme), settings) is allowed


def test_the_client_behind_a_trusted_proxy_is_the_last_one_that_a_trusted_one_names() -> None:
    proxies = ("10.0.0.0/8",)
    assert real_client("192.0.2.7", ["1.2.3.4"], proxies) == "192.0.2.7"
    assert real_client("10.0.0.1", [], proxies) == "10.0.0.1"
    assert real_client("10.0.0.1", ["6.6.6.6, 192.0.2.7"], proxies) == "192.0.2.7"
    assert real_client("10.0.0.1", ["6.6.6.6, 192.0.2.7, 10.0.0.2"], proxies) == "192.0.2.7"
    assert real_client("10.0.0.1", ["6.6.6.6", "rubbish"], proxies) == "10.0.0.1"


def test_addresses_are_counted_by_who_can_have_them() -> None:
    assert address_key("192.0.2.7") == address_key("::ffff:192.0.2.7") == "192.0.2.7"
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff:2") == "2001:db8::/64"
    assert address_key("2001:db8:0:1::1") != address_key("2001:db8::1")
    assert address_key("fe80::1%eth0") == "fe80::/64"
    assert address_key("testclient") == "unknown"
