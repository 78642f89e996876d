"""The link that `daetalker serve --host 0.0.0.0` prints, opened in a real browser over https."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from daetalker.streamer.grants import Grant
from daetalker.streamer.opening import link
from daetalker.streamer.tokens import Tokens, open_tokens
from tests.e2e import browser as b
from tests.e2e.console import FAILED_FETCH, Console
from tests.streamer.serving import settings_for
from tests.tiny import make_tiny_bundle

pytestmark = [pytest.mark.browser, pytest.mark.slow]

expect.set_options(timeout=b.START_TIMEOUT_S * 1000)


class Secured:
    """A server beyond localhost as the command starts it."""

    def __init__(self, url: str, printed: str, tokens: Tokens) -> None:
        self.url = url
        self.printed = printed
        self.tokens = tokens

    def link(self, grant: Grant) -> str:
        return link(self.url, self.tokens, grant, 1.0)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    avatar = make_tiny_bundle(folder / "tiny")
    command = [
        *(sys.executable, "-m", "daetalker.streamer.cli", "serve", "--host", "0.0.0.0"),
        *("--port", "0", "--avatar", str(avatar), "--state-folder", str(folder / "state")),
        *("--threads", "1", "--admission", "off"),
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(b.ROOT / ".dev"), str(b.ROOT)])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=b.ROOT)
    try:
        said = _said(process, folder / "log")
        printed = re.search(r"^  (https://\S+token=\S+)$", said, re.M)
        ready = re.search(r"^Ready: (https://\S+)$", said, re.M)
        assert printed is not None and ready is not None, said
        yield Secured(ready[1], printed[1], open_tokens(settings_for(avatar)))
    finally:
        process.terminate()
        process.wait(30)


def _said(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + b.START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if "Ready: " in (said := log.read_text()):
            return said
        time.sleep(0.05)
    pytest.fail("the server did not start:\n" + log.read_text())


def opened(browser: Browser) -> Page:
    """A page of a browser that knows nothing, and whose person agrees to the certificate."""
    page = browser.new_context(ignore_https_errors=True).new_page()
    page.set_default_timeout(b.START_TIMEOUT_S * 1000)
    return page


def test_the_printed_link_opens_the_page_once(
    browser: Browser, secured: Secured, console: Console
) -> None:
    page = opened(browser)
    page.goto(secured.printed)
    assert page.url == secured.printed.partition("?")[0]
    assert page.evaluate("[document.cookie, document.referrer, isSecureContext]") == ["", "", True]
    b.go_live(page, frames=3)  # the cookie opens the socket too
    page.reload()
    expect(page.locator("#start")).to_be_visible()
    page.context.close()
    other = opened(browser)
    console.expect(FAILED_FETCH)
    answer = other.goto(secured.printed)
    assert answer is not None and answer.status == 401
    expect(other.locator("h1")).to_have_text("A link is needed")
    other.context.close()


def test_a_link_in_a_page_of_another_site_works_although_the_cookie_is_strict(
    browser: Browser, secured: Secured, console: Console
) -> None:
    console.expect(FAILED_FETCH)  # the page between has no icon, and goes on before it is missed
    there = secured.link(Grant("talk")).replace("&", "&amp;")
    body = f'<!doctype html><title>mail</title><a href="{there}">come in</a>'.encode()

    class Mail(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body if self.path == "/" else b"")

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mail) as mail:
        threading.Thread(target=mail.serve_forever, daemon=True).start()
        page = opened(browser)
        page.goto(f"http://127.0.0.1:{mail.server_port}/")  # another site than localhost
        page.click("a")
        expect(page.locator("#start")).to_be_visible()
        assert "token" not in page.url
        page.context.close()
        mail.shutdown()


def test_a_link_to_watch_shows_the_session_and_no_way_to_steer_it(
    browser: Browser, secured: Secured, console: Console
) -> None:
    console.expect(FAILED_FETCH)
    talking = opened(browser)
    talking.goto(secured.link(Grant("operator")))
    b.go_live(talking, frames=3)
    sessions = talking.evaluate("fetch('api/sessions').then((answer) => answer.json())")
    watching = opened(browser)
    watching.goto(secured.link(Grant("watch", sessions[-1]["id"])))
    assert watching.url.endswith(f"/?watch={sessions[-1]['id']}")
    expect(watching.locator("#head")).to_be_visible()
    b.go_live(watching, frames=3)
    for control in ("#head", "#interrupt", "#microphone", "#mute", "#avatar-choice", ".plugin"):
        expect(watching.locator(control).first).to_be_hidden()
    steered = watching.evaluate(
        "fetch('api/sessions/latest/command', {method: 'POST', body: '{}'}).then((a) => a.status)"
    )
    assert steered == 403
    watching.context.close()
    talking.context.close()
