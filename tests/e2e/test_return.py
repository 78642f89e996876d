"""Coming back: the server dies or is restarted while somebody talks, and the page is there again.

Prints how long it took: ``python -m pytest -s tests/e2e/test_return.py``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from tests.e2e import browser as b
from tests.e2e.console import FAILED_FETCH, REFUSED_SOCKET, Console
from tests.tiny import make_tiny_bundle

pytestmark = [pytest.mark.browser, pytest.mark.slow]

expect.set_options(timeout=b.START_TIMEOUT_S * 1000)

LEFT = "button[data-preset=left]"
PRESSED = ("aria-pressed", "true")
BACK = "Connection lost, coming back…"

COUNT_QUESTIONS = """
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.asked = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    window.asked.push(stream);
    return stream;
  };
"""
TRACK = "asked.length === 1 && asked[0].getAudioTracks()[0].readyState === 'live'"


@pytest.fixture
def served(tmp_path: Path, console: Console) -> Iterator[b.Served]:
    console.expect(REFUSED_SOCKET, FAILED_FETCH)
    avatar = make_tiny_bundle(tmp_path / "tiny", size=32)
    command = ["-m", "daetalker.streamer.cli", "serve", "--threads", "1", "--avatar", str(avatar)]
    command += ["--admission", "off"]  # what a busy machine can serve is not in question here
    served = b.Served(command, tmp_path / "server.log")
    try:
        yield served
    finally:
        served.stop()


def port_of(url: str) -> list[str]:
    """Options that take the same port once more."""
    return ["--port", url.rstrip("/").rpartition(":")[2]]


def talk(browser: Browser, url: str) -> Page:
    """A page that is live, turned to the left and muted, with its voice on."""
    page = browser.new_page()
    page.add_init_script(COUNT_QUESTIONS)
    page.goto(url + "?avatar=tiny")
    b.go_live(page, frames=5)
    page.click(LEFT)
    page.click("#mute")
    page.check("#hear", force=True)
    b.wait_for(page, "document.querySelector('#state-text').textContent === 'Muted'")
    return page


def wait_until_lost(page: Page) -> None:
    b.wait_for(page, "daetalker.state === 'waiting'")
    expect(page.locator("#notice-title")).to_have_text(BACK)
    expect(page.locator("#notice-stop")).to_be_visible()
    expect(page.locator("#still")).to_be_visible()


def moves(page: Page) -> None:
    """Wait until it is live and new pictures are shown."""
    b.wait_for(page, "daetalker.state === 'live'")
    shown = page.evaluate("daetalker.framesShown")
    b.wait_for(page, f"daetalker.framesShown > {shown} + 5")


def nothing_has_changed(page: Page) -> None:
    expect(page.locator(LEFT)).to_have_attribute(*PRESSED)
    expect(page.locator("#mute")).to_have_attribute(*PRESSED)
    expect(page.locator("#state-text")).to_have_text("Muted")
    # The head of the new session really turns there; this avatar calls +20 degrees left.
    b.wait_for(
        page, "Number(document.querySelector('#pad-actual').style.getPropertyValue('--x')) > 0.7"
    )
    expect(page.locator("#still")).to_be_hidden()
    assert page.evaluate("document.querySelector('video').muted") is False
    assert page.evaluate(TRACK) is True


def test_a_server_that_was_killed_and_started_again_goes_on_as_before(
    browser: Browser, served: b.Served
) -> None:
    url = served.start("--port", "0")
    page = talk(browser, url)
    served.kill()
    wait_until_lost(page)
    served.start(*port_of(url))
    ready = time.monotonic()
    moves(page)
    print(f"killed: moving pictures {time.monotonic() - ready:.1f} s after the server was ready")
    nothing_has_changed(page)
    page.close()


def test_a_restart_is_announced_and_who_watches_comes_back_too(
    browser: Browser, served: b.Served
) -> None:
    url = served.start("--port", "0")
    page = talk(browser, url)
    watcher, stage = browser.new_page(), browser.new_page()
    watcher.goto(url + "?watch=latest")
    b.go_live(watcher, frames=2)
    stage.goto(url + "stage")
    b.wait_for(stage, "document.body.dataset.live === 'true'")
    watched = stage.evaluate("daetalker.session")

    began = time.monotonic()
    served.stop()
    stopped = time.monotonic()
    wait_until_lost(page)
    served.start(*port_of(url))
    ready = time.monotonic()
    moves(page)
    print(
        f"restarted: stop {stopped - began:.1f} s, start {ready - stopped:.1f} s, "
        f"moving pictures {time.monotonic() - ready:.1f} s after the server was ready"
    )
    nothing_has_changed(page)
    b.wait_for(watcher, "daetalker.state === 'live'")
    b.wait_for(stage, "document.body.dataset.live === 'true'")
    assert stage.evaluate("daetalker.session") != watched
    # A session never comes back: who watches it by its name is told so.
    watcher.goto(url + "?watch=" + watched)
    watcher.click("#start")
    expect(watcher.locator("#notice-title")).to_have_text("The watched session is over")
    for other in (page, watcher, stage):
        other.close()


def test_a_person_may_stop_the_attempts(browser: Browser, served: b.Served) -> None:
    url = served.start("--port", "0")
    page = talk(browser, url)
    served.kill()
    wait_until_lost(page)
    page.click("#notice-stop")
    b.wait_for(page, "daetalker.state === 'idle'")
    assert page.evaluate("asked[0].getAudioTracks()[0].readyState") == "ended"
    served.start(*port_of(url))
    page.wait_for_timeout(1500)
    assert page.evaluate("daetalker.state") == "idle"
    b.go_live(page, frames=2)
    page.close()
