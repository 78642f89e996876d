"""The one-time link in a real browser: the real server, a tiny avatar, tokens asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, expect

from tests.e2e import browser as b
from tests.e2e.console import FAILED_FETCH, REFUSED_SOCKET, Console
from tests.tiny import make_tiny_bundle

pytestmark = [pytest.mark.browser, pytest.mark.slow]

expect.set_options(timeout=b.START_TIMEOUT_S * 1000)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[b.Served]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    avatar = make_tiny_bundle(tmp_path / "tiny", size=32)
    command = ["-m", "daetalker.streamer.cli", "serve", "--threads", "1", "--avatar", str(avatar)]
    served = b.Served([*command, "--access", "token", "--admission", "off"], tmp_path / "log")
    try:
        yield served
    finally:
        served.stop()


def test_a_link_opens_the_page_once_and_its_browser_comes_back_after_a_restart(
    browser: Browser, served: b.Served, tmp_path: Path, console: Console
) -> None:
    console.expect(FAILED_FETCH, REFUSED_SOCKET)
    url = served.start("--port", "0")
    link = re.search(r"(http://\S+token=\S+)", (tmp_path / "log").read_text())
    assert link is not None

    stranger = browser.new_page()
    answer = stranger.goto(url)
    assert answer is not None and answer.status == 401
    expect(stranger.locator("h1")).to_have_text("A link is needed")
    assert (
        stranger.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") != "0px"
    )
    stranger.set_viewport_size({"width": 360, "height": 640})
    assert stranger.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

    page = browser.new_page()
    page.goto(link[1])
    assert "token" not in page.url
    b.go_live(page, frames=2)
    used = stranger.goto(link[1])
    assert used is not None and used.status == 401

    port = ["--port", url.rstrip("/").rpartition(":")[2]]
    served.stop()
    b.wait_for(page, "daetalker.state !== 'live'")
    served.start(*port)
    b.wait_for(page, "daetalker.state === 'live'")

    # As when the hours of the link are over.
    page.context.clear_cookies()
    served.stop()
    served.start(*port)
    expect(page.locator("#notice-title")).to_have_text("A new link is needed")
    stranger.close()
    page.close()
