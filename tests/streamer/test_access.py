"""Who may list, watch and steer sessions that are not theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daetalker.streamer.access import is_operator
from tests.streamer.serving import settings_for

TOKEN = "a secret"


def scope(headers: dict[str, str], client: Any = ("127.0.0.1", 5), query: str = "") -> Any:
    named = {"host": "localhost:8080", **headers}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    return {"headers": raw, "client": client, "query_string": query.encode()}


@pytest.mark.parametrize(
    ("request_scope", "host", "allowed"),
    [
        (scope({}), "127.0.0.1", True),
        (scope({}, ("::1", 5, 0, 0)), "127.0.0.1", True),
        (scope({}, ("192.0.2.7", 5)), "127.0.0.1", False),
        (scope({}), "0.0.0.0", False),
        (scope({"x-forwarded-for": "192.0.2.7"}), "127.0.0.1", False),
        (scope({"forwarded": "for=192.0.2.7"}), "127.0.0.1", False),
        (scope({"host": "rebound.example:8080"}), "127.0.0.1", False),
        (scope({}, None), "127.0.0.1", False),
    ],
)
def test_without_a_token_only_programs_here_may(
    tmp_path: Path, request_scope: Any, host: str, allowed: bool
) -> None:
    assert is_operator(request_scope, settings_for(tmp_path, host=host)) is allowed


@pytest.mark.parametrize(
    ("request_scope", "allowed"),
    [
        (scope({}), False),
        (scope({"authorization": f"Bearer {TOKEN}"}, ("192.0.2.7", 5)), True),
        (scope({}, ("192.0.2.7", 5), "token=a%20secret"), True),
        (scope({"authorization": "Bearer wrong"}), False),
        (scope({"authorization": "Bearer "}, query="token="), False),
        (scope({"authorization": "Bearer gehéim"}), False),
    ],
)
def test_with_a_token_whoever_has_it_may(tmp_path: Path, request_scope: Any, allowed: bool) -> None:
    settings = settings_for(tmp_path, host="0.0.0.0", control_token=TOKEN)
    assert is_operator(request_scope, settings) is allowed
    assert TOKEN not in repr(settings)
