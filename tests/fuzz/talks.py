"""Targets: whole conversations and requests, through the application as the network reaches it."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import tempfile
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from daetalker.streamer import protocol as p
from daetalker.streamer.app import create_app
from daetalker.streamer.hub import Hub
from tests.fuzz.messages import GOOD, MESSAGES, SEEDS
from tests.fuzz.rooms import CANDIDATES, OFFER, offers
from tests.fuzz.target import Target, as_json, damaged, mistaken, texts
from tests.streamer.serving import settings_for
from tests.tiny import make_tiny_bundle

PATIENCE_S = 30.0
HELLO = as_json({"type": "hello", "protocol": 1})


class _Complaints(logging.Handler):
    """Every error that is logged: none is meant to be, whatever strangers do."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(logging.Formatter().format(record))


class _Server:
    """The application with a tiny avatar, in an event loop of its own, and one session in it."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="daetalker-fuzz-"))
        os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
        os.environ["DAETALKER_AVATARS"] = str(folder / "avatars")
        self.complaints = _Complaints()
        logging.getLogger().addHandler(self.complaints)
        self.runner = asyncio.Runner()
        atexit.register(self.runner.close)
        self.runner.run(self._start(make_tiny_bundle(folder / "tiny", 8)))

    async def _start(self, bundle: Path) -> None:
        self.hub = Hub(settings_for(bundle, max_clients=3, max_per_address=200))
        await self.hub.start()
        self.app = create_app(self.hub, {})

    async def call(self, scope: dict[str, Any], messages: list[dict[str, Any]]) -> list[Any]:
        """What the application sends; the messages come at once, then silence."""
        sent: list[MutableMapping[str, Any]] = []
        waiting = list(reversed(messages))

        async def receive() -> MutableMapping[str, Any]:
            await asyncio.sleep(0)
            return waiting.pop() if waiting else {"type": scope["type"] + ".disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        base = {
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "headers": [],
            "query_string": b"",
            "root_path": "",
            "state": {},
            **scope,
        }
        async with asyncio.timeout(PATIENCE_S):
            await self.app(base, receive, send)
        return sent

    def check(self) -> None:
        """Nothing went wrong, and nothing is left."""
        assert not self.complaints.said, "\n".join(self.complaints.said)
        assert self.hub.sessions == 0
        self.runner.run(self._quiet())

    async def _quiet(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while any(self._is_ours(task) for task in asyncio.all_tasks()):
                await asyncio.sleep(0.001)

    def _is_ours(self, task: asyncio.Task[Any]) -> bool:
        name = task.get_name()
        return name.startswith(("signalling", "peer", "session", "say"))


@cache
def server() -> _Server:
    """Made when it is first wanted."""
    return _Server()


def conversation(messages: list[str | bytes]) -> None:
    """Whatever is said: every answer is of the protocol, and at the end nothing is left."""
    there = server()
    scope = {"type": "websocket", "path": "/ws", "raw_path": b"/ws", "scheme": "ws",
             "headers": [(b"host", b"127.0.0.1")], "subprotocols": [], "extensions": {}}  # fmt: skip
    said = [
        {"type": "websocket.receive", **({"text": m} if isinstance(m, str) else {"bytes": m})}
        for m in messages
    ]
    sent = there.runner.run(there.call(scope, [{"type": "websocket.connect"}, *said]))
    for message in sent:
        if message["type"] == "websocket.send":
            answer = p.parse_server_message(message["text"])
            if isinstance(answer, p.Error):
                assert len(answer.message) <= 400, answer.message
    there.check()


_offer = st.builds(lambda sdp: as_json({"type": "offer", "sdp": sdp}), st.just(OFFER) | offers())
_candidate = st.builds(
    lambda line: as_json(
        {"type": "candidate", "candidate": line, "sdpMid": "0", "sdpMLineIndex": 0}
    ),
    st.sampled_from(CANDIDATES) | texts,
)
_said = MESSAGES | mistaken(GOOD).map(as_json) | _candidate | st.binary(max_size=20)
_talk = st.lists(_said, max_size=8).map(lambda said: [HELLO, *said]) | st.lists(_said, max_size=4)
_offering = st.tuples(_offer, st.lists(_candidate | _offer, max_size=3)).map(
    lambda made: [HELLO, made[0], *made[1]]
)


def request(case: tuple[str, str, bytes, list[tuple[bytes, bytes]], list[bytes]]) -> None:
    """Any request is answered once, and never as a fault of the server."""
    method, path, query, headers, body = case
    there = server()
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode("utf-8", "replace"),
             "query_string": query, "headers": headers, "scheme": "http", "http_version": "1.1"}  # fmt: skip
    pieces = [{"type": "http.request", "body": piece, "more_body": True} for piece in body]
    ended = [*pieces, {"type": "http.request", "body": b"", "more_body": False}]
    sent = there.runner.run(there.call(scope, ended))
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1 and sent[0] is starts[0]
    assert starts[0]["status"] < 500 or starts[0]["status"] == 503, starts[0]
    there.check()


_paths = st.sampled_from(
    [
        "/", "/stage", "/healthz", "/readyz", "/metrics", "/api/avatars", "/api/sessions",
        "/api/sessions/latest", "/api/sessions/latest/command", "/api/sessions/x/command",
        "/api/presets", "/api/presets/left", "/api/presets/" + "n" * 70, "/api/presets/a.b",
        "/api/presets/natural", "/api/plugins", "/avatar/tiny/preview.png", "/avatar/../preview.png", "/plugins/x/page.js",
        "/ws", "//", "/\0", "/api/presets/\u202e", "/avatar/%2e%2e/preview.png",
    ]
) | texts.map(lambda text: "/" + text[:500])  # fmt: skip
_headers = st.lists(
    st.tuples(
        st.sampled_from(
            [b"host", b"origin", b"content-type", b"authorization", b"x-forwarded-for", b"cookie",
             b"forwarded", b"if-none-match", b"accept", b"content-length"]
        ),
        st.sampled_from(
            [b"127.0.0.1", b"application/json", b"http://127.0.0.1", b"null", b"[::1", b"http://[",
             b"Bearer x", b"\xff\xfe", b"", b"a:b:c", b"//", b"999999999999", b"x" * 5000]
        )
        | st.binary(max_size=12),
    ),
    max_size=5,
)  # fmt: skip
_good = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
_local = st.just(_good) | _headers.map(lambda some: [*_good, *some])
_bodies = st.lists(
    damaged(list(SEEDS)) | st.just(b'{"yaw":1,"pitch":2,"roll":3}') | st.just(bytes(70_000)),
    max_size=2,
)
_methods = st.sampled_from(["GET", "POST", "PUT", "DELETE"]) | st.sampled_from(
    ["HEAD", "OPTIONS", "TRACE", "X"]
)
_queries = st.sampled_from([b"", b"avatar=tiny", b"avatar=%ff", b"token=x", b"&&==", b"\xff"])

TARGETS = (
    Target("conversation", _talk, conversation, 0.03),
    Target("offer", _offering, conversation, 0.002),
    Target("http", st.tuples(_methods, _paths, _queries, _local | _headers, _bodies), request, 0.1),
)
