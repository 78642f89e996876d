"""Who comes in over real sockets: links, cookies, tokens, origins, hosts; and what is logged."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from daetalker.streamer.grants import Grant
from daetalker.streamer.opening import link
from daetalker.streamer.page import asset
from daetalker.streamer.tls import certificate_of
from daetalker.streamer.tokens import Tokens, open_tokens
from tests.streamer.serving import (
    PATIENCE_S,
    Running,
    Talker,
    refused,
    running,
    settings_for,
    talker,
)

PAGE = {
    "/": asset(b"<h1>hello</h1>", "text/html; charset=utf-8"),
    "/stage.html": asset(b"stage", "text/html; charset=utf-8"),
    "/no_entry.html": asset(b"<h1>no entry</h1>", "text/html; charset=utf-8"),
    "/no_entry.css": asset(b"", "text/css"),
}
BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "none"}


class Guarded:
    """A server beyond localhost, with what its defaults make of that: https and tokens."""

    def __init__(self, server: Running, tokens: Tokens, trust: ssl.SSLContext) -> None:
        self.server = server
        self.url = server.url
        self.tokens = tokens
        self.trust = trust

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, verify=self.trust, headers=headers, timeout=PATIENCE_S
        )

    def link(self, grant: Grant | None = None) -> str:
        return link(self.url, self.tokens, grant or Grant("talk"), 1.0)

    def socket(self, cookie: str = "", **headers: str) -> connect:
        named = {**({"Cookie": cookie} if cookie else {}), **headers}
        return connect(
            self.url.replace("http", "ws", 1) + "/ws",
            ssl=self.trust,
            additional_headers=named,
            open_timeout=PATIENCE_S,
        )

    def refused(self, reason: str) -> float:
        return refused(self.server, reason)


@pytest_asyncio.fixture
async def guarded(bundle: Path, tmp_path: Path) -> AsyncIterator[Guarded]:
    settings = settings_for(bundle, host="0.0.0.0", state_folder=str(tmp_path))
    certificate = certificate_of(settings)
    assert certificate is not None
    trust = ssl.create_default_context(cafile=str(certificate.cert))
    async with running(settings, page=PAGE) as server:
        assert server.url.startswith("https://localhost:")
        yield Guarded(server, open_tokens(settings), trust)


async def cookie_of(guarded: Guarded, grant: Grant | None = None) -> str:
    async with guarded.client(**BROWSER) as http:
        answer = await http.get(guarded.link(grant))
    assert answer.status_code == 303
    return answer.headers["set-cookie"].partition(";")[0]


async def test_a_link_is_exchanged_once_for_a_cookie_and_leaves_the_address(
    guarded: Guarded,
) -> None:
    once = guarded.link()
    async with guarded.client(**BROWSER) as http:
        answer = await http.get(once)
        assert (answer.status_code, answer.headers["location"]) == (303, "./")
        assert answer.headers["cache-control"] == "no-store"
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-daetalker=")
        for word in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/", "Max-Age=43200"):
            assert word in cookie
        assert once.partition("token=")[2] not in cookie
        assert (await http.get("/")).text == "<h1>hello</h1>"
        assert (await http.get("/api/avatars")).status_code == 200
        assert (await http.get(once)).status_code == 303  # back in one's own history
        assert "strict-transport-security" not in answer.headers
    async with guarded.client(**BROWSER) as somebody:
        answer = await somebody.get(once)
        assert (answer.status_code, answer.text) == (401, "<h1>no entry</h1>")
        assert "set-cookie" not in answer.headers
    assert guarded.refused("used_token") == 1


async def test_without_a_link_there_is_one_sentence(guarded: Guarded) -> None:
    async with guarded.client() as http:
        for path in ("/", "/stage", "/main.js", "/nothing"):
            answer = await http.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "daetalker link" in answer.text and answer.text.count("\n") == 1
        answer = await http.get("/api/avatars")
        assert (answer.status_code, answer.json()["code"]) == (401, "not_allowed")
        for path in ("/healthz", "/readyz", "/no_entry.css"):
            assert (await http.get(path)).status_code == 200
        assert (await http.get("/?token=rubbish")).status_code == 401
    assert guarded.refused("no_token") == 6


async def test_a_socket_without_a_pass_is_closed_with_a_word(guarded: Guarded) -> None:
    async with guarded.socket() as socket:
        client = Talker(socket)
        error = await client.hear("error")
        assert (error["code"], error["fatal"]) == ("not_allowed", True)
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None and caught.value.rcvd.code == 4401
    cookie = await cookie_of(guarded)
    async with guarded.socket(cookie) as socket:
        assert (await Talker(socket).hello())["type"] == "welcome"
    token = guarded.tokens.make_pass(Grant("talk"))
    async with guarded.socket(Authorization=f"Bearer {token}") as socket:
        welcome = await Talker(socket).hello()
        assert (welcome["type"], welcome["can_edit"]) == ("welcome", False)


async def test_a_link_to_watch_shows_one_session_and_steers_none(guarded: Guarded) -> None:
    async with (
        guarded.socket(await cookie_of(guarded)) as owner,
        guarded.socket(await cookie_of(guarded)) as other,
    ):
        session = (await Talker(owner).hello())["session"]
        # A session can be watched once it runs; these do not, so the hub is asked for both.
        mine = await guarded.server.hub.open_session()
        assert (await Talker(other).hello())["session"] != session
        async with guarded.client(**BROWSER) as http:
            answer = await http.get(guarded.link(Grant("watch", mine.id)))
            assert answer.headers["location"] == f"./?watch={mine.id}"
            cookie = answer.headers["set-cookie"].partition(";")[0]
            assert (await http.get("/")).status_code == 200
            assert (await http.get(f"/api/sessions/{mine.id}")).status_code == 200
            assert (await http.get("/api/sessions/latest")).status_code == 403
            steer = await http.post(f"/api/sessions/{mine.id}/command", json={"type": "interrupt"})
            assert steer.status_code == 403
        async with guarded.socket(cookie) as socket:
            client = Talker(socket)
            assert (await client.hello())["code"] == "not_allowed"
            assert (await client.hello(watch=session))["code"] == "not_allowed"
            welcome = await client.hello(watch="latest")
            assert (welcome["type"], welcome["session"]) == ("welcome", mine.id)
            await client.say({"type": "interrupt"})
            assert (await client.hear("error"))["code"] == "not_allowed"
        await mine.close()


async def test_programs_show_a_bearer_token(guarded: Guarded) -> None:
    def headers(grant: Grant) -> dict[str, str]:
        return {"Authorization": f"Bearer {guarded.tokens.make_pass(grant)}"}

    async with guarded.client() as http:
        assert (await http.get("/api/sessions", headers=headers(Grant("operator")))).json() == []
        talk = headers(Grant("talk"))
        assert (await http.get("/api/sessions", headers=talk)).status_code == 403
        assert (await http.get("/api/avatars", headers=talk)).status_code == 200
        metrics = headers(Grant("metrics"))
        assert (await http.get("/metrics", headers=metrics)).status_code == 200
        assert (await http.get("/api/avatars", headers=metrics)).status_code == 403
        token = talk["Authorization"].partition(" ")[2]
        assert (await http.get(f"/api/avatars?token={token}")).status_code == 200
        # A program's token may stand in a page's address: OBS has no other place for it.
        answer = await http.get(f"/stage?background=red&token={token}")
        assert (answer.status_code, answer.headers["location"]) == (303, "./stage?background=red")
        once = guarded.link().partition("token=")[2]
        assert await http.get("/api/avatars", headers={"Authorization": f"Bearer {once}"})


async def test_a_link_survives_previews_and_prefetching(guarded: Guarded) -> None:
    once = guarded.link()
    async with guarded.client() as http:
        for agent in ("WhatsApp/2.23", "Slackbot-LinkExpanding 1.0", "TelegramBot (like Twitter)"):
            answer = await http.get(once, headers={"User-Agent": agent})
            assert (answer.status_code, "still unused" in answer.text) == (403, True)
        assert (await http.get(once, headers={"Sec-Purpose": "prefetch"})).status_code == 403
        assert (await http.head(once)).status_code == 401
        assert (await http.get(once)).status_code == 303


async def test_a_link_on_another_site_leads_in_through_a_page_of_ours(guarded: Guarded) -> None:
    """Browsers keep a SameSite=Strict cookie back for as long as redirects follow such a link."""
    async with guarded.client() as http:
        once = guarded.link(Grant("watch", "1f"))
        answer = await http.get(once, headers={"Sec-Fetch-Site": "cross-site"})
        assert (answer.status_code, "url=./?watch=1f" in answer.text) == (200, True)
        assert "set-cookie" in answer.headers and "<script" not in answer.text


async def test_pages_of_other_sites_get_no_socket_and_change_nothing(bundle: Path) -> None:
    async with running(settings_for(bundle), page=PAGE) as server:
        origin = {"Origin": "http://evil.example"}
        with pytest.raises(InvalidStatus) as caught:
            async with connect(server.url.replace("http", "ws") + "/ws", additional_headers=origin):
                pass
        assert caught.value.response.status_code == 403
        async with httpx.AsyncClient(base_url=server.url) as http:
            answer = await http.put("/api/presets/x", json={}, headers=origin)
            assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
            assert (await http.get("/", headers=origin)).status_code == 200
        assert refused(server, "wrong_origin") == 2


async def test_a_name_that_is_not_ours_is_not_answered(bundle: Path) -> None:
    async with running(settings_for(bundle, max_clients=1), page=PAGE) as server:
        port = urlsplit(server.url).port
        async with httpx.AsyncClient(base_url=server.url) as http:
            for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example"):
                answer = await http.get("/", headers={"Host": host})
                assert (answer.status_code, "public_url" in answer.text) == (403, True)
            for host in (f"localhost:{port}", "127.0.0.1", "[::1]:80"):
                assert (await http.get("/", headers={"Host": host})).status_code == 200
            answer = await http.get("/", headers={"X-Forwarded-For": "192.0.2.7"})
            assert answer.status_code == 401  # a proxy: not as local as it looks
        async with connect(
            f"ws://evil.example:{port}/ws",
            host="127.0.0.1",
            origin=Origin(f"http://evil.example:{port}"),
        ) as socket:
            assert (await Talker(socket).hear("error"))["code"] == "not_allowed"
        assert refused(server, "wrong_host") == 4


async def test_a_trusted_proxy_says_who_asks(bundle: Path) -> None:
    flags = {"public_url": "https://talk.example.org", "trusted_proxies": "127.0.0.1"}
    settings = settings_for(bundle, access="token", max_per_address=1, **flags)
    tokens = open_tokens(settings)
    async with running(settings, page=PAGE) as server:

        def passed_on(client: str) -> dict[str, str]:
            return {
                "X-Forwarded-For": client,
                "X-Forwarded-Proto": "https",
                "Authorization": f"Bearer {tokens.make_pass(Grant('talk'))}",
            }

        async with httpx.AsyncClient(base_url=server.url) as http:
            answer = await http.get(
                f"/?token={tokens.make_link(Grant('talk'), 1.0)}", headers=passed_on("192.0.2.7")
            )
            assert answer.headers["set-cookie"].startswith("__Host-daetalker=")

        def socket(client: str) -> connect:
            return connect(
                "ws://talk.example.org/ws",
                host="127.0.0.1",
                port=urlsplit(server.url).port,
                origin=Origin("https://talk.example.org"),
                additional_headers=passed_on(client),
            )

        async with socket("6.6.6.6, 192.0.2.7") as one, socket("192.0.2.8") as two:
            assert (await Talker(one).hello())["type"] == "welcome"
            assert (await Talker(two).hello())["type"] == "welcome"
            async with socket("192.0.2.7") as third:
                assert (await Talker(third).hear("error"))["code"] == "too_many"


async def test_a_control_token_in_a_page_address_becomes_a_cookie(bundle: Path) -> None:
    async with running(settings_for(bundle, control_token="sesame-open"), page=PAGE) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            answer = await http.get("/stage?token=sesame-open&fit=cover")
            assert (answer.status_code, answer.headers["location"]) == (303, "./stage?fit=cover")
            assert answer.headers["set-cookie"].startswith("daetalker=")
            assert (await http.get("/api/sessions")).status_code == 200
            assert (await http.get("/?token=wrong")).status_code == 200  # open to all, as before
        async with talker(server.url) as client:
            assert (await client.hello(watch="latest"))["code"] == "not_allowed"


async def test_an_own_certificate_asks_browsers_to_stay_with_https(
    bundle: Path, tmp_path: Path
) -> None:
    made = certificate_of(settings_for(tmp_path / "a", host="0.0.0.0"))
    assert made is not None
    flags: dict[str, Any] = {"tls_cert": str(made.cert), "tls_key": str(made.key)}
    async with running(settings_for(bundle, **flags), page=PAGE) as server:
        trust = ssl.create_default_context(cafile=str(made.cert))
        async with httpx.AsyncClient(base_url=server.url, verify=trust) as http:
            answer = await http.get("/")
            assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_plain_http_to_the_https_port_ends_soon(guarded: Guarded) -> None:
    port = urlsplit(guarded.url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP" not in await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
