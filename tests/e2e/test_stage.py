"""/stage: only the avatar, for OBS and screens that nobody stands at; against the mock server."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import av
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from tests.e2e import browser as b

pytestmark = [pytest.mark.browser, pytest.mark.slow]

expect.set_options(timeout=b.START_TIMEOUT_S * 1000)

VISIBLE = "document.body.dataset.live === 'true'"


@contextmanager
def stage(browser: Browser, url: str, query: str = "", script: str = "") -> Iterator[Page]:
    """The stage in a wide window."""
    page = browser.new_page(viewport={"width": 640, "height": 360})
    page.add_init_script(script)
    page.goto(url + "stage" + query)
    yield page
    page.close()


def shot(page: Page) -> NDArray[np.uint8]:
    """``[360, 640, 4]`` RGBA of what the stage draws; where it draws nothing, alpha is 0."""
    page.wait_for_timeout(300)  # the fade of the first picture
    png = page.screenshot(omit_background=True)
    with av.open(io.BytesIO(png), "r") as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgba")
    return picture.astype(np.uint8)


def test_the_stage_shows_moving_pictures_on_nothing(page: Page, browser: Browser, url: str) -> None:
    b.go_live(page, frames=3)
    with stage(browser, url) as watcher:
        b.wait_for(watcher, VISIBLE + " && daetalker.framesShown > 10")
        page.keyboard.press("3")
        first = shot(watcher)
        page.keyboard.press("2")
        b.wait_for(
            page,
            "Number(document.querySelector('#pad-actual').style.getPropertyValue('--x')) < 0.3",
        )
        second = shot(watcher)
        assert (first[:, 0, 3] == 0).all() and (first[:, -1, 3] == 0).all()
        assert (first[:, 200:440, 3] == 255).all()  # a square of the window's height, in its middle
        moved = np.abs(first[:, 200:440, :3].astype(int) - second[:, 200:440, :3])
        assert moved.mean() > 2.0
        assert watcher.evaluate("document.querySelector('video').muted") is False
        expect(watcher.locator("#unmute")).to_be_hidden()
        # Nobody's session is disturbed by being watched.
        assert page.evaluate("daetalker.state") == "live"


def test_options_of_the_address(page: Page, browser: Browser, url: str) -> None:
    b.go_live(page, frames=1)
    with stage(browser, url, "?background=#00ff00&voice=off") as watcher:
        b.wait_for(watcher, VISIBLE)
        assert shot(watcher)[5, 5].tolist() == [0, 255, 0, 255]
        assert watcher.evaluate("document.querySelector('video').muted") is True
    with stage(browser, url, "?background=navy&fit=cover") as watcher:
        b.wait_for(watcher, VISIBLE)
        corner = shot(watcher)[5, 5].tolist()
        assert corner[3] == 255 and corner[:3] != [0, 0, 128]


def test_the_stage_waits_for_a_session_and_follows_to_the_next(
    page: Page, browser: Browser, url: str
) -> None:
    with stage(browser, url) as watcher:
        watcher.wait_for_timeout(2500)  # two questions without an answer
        assert shot(watcher).max() == 0
        b.go_live(page, frames=1)
        b.wait_for(watcher, VISIBLE)
        first = watcher.evaluate("daetalker.session")
        page.click("#stop")
        b.wait_for(watcher, "document.body.dataset.live === 'false'")
        assert shot(watcher).max() == 0
        b.go_live(page, frames=1)
        b.wait_for(watcher, VISIBLE)
        assert watcher.evaluate("daetalker.session") != first
        b.mock(url, "drop")
        b.wait_for(watcher, "document.body.dataset.live === 'false'")
        b.wait_for(watcher, VISIBLE)


def test_a_placeholder_only_where_it_is_asked_for(page: Page, browser: Browser, url: str) -> None:
    with stage(browser, url, "?placeholder=on") as watcher:
        expect(watcher.locator("#placeholder")).to_be_visible()
        assert shot(watcher)[180, 320, 3] == 255


BLOCKED = """
  // As Chrome has it without the flag; its own rule cannot be tested here, because every question
  // that Playwright asks a page counts as a user's gesture.
  const play = HTMLMediaElement.prototype.play;
  let clicked = false;
  addEventListener("click", () => (clicked = true), { capture: true });
  HTMLMediaElement.prototype.play = async function () {
    if (!this.muted && !clicked) throw new DOMException("No gesture.", "NotAllowedError");
    return play.call(this);
  };
"""


def test_a_browser_that_blocks_the_voice_is_asked_for_a_click(
    page: Page, browser: Browser, url: str
) -> None:
    b.go_live(page, frames=1)
    with stage(browser, url, script=BLOCKED) as watcher:
        b.wait_for(watcher, VISIBLE)  # the picture comes without the click
        assert watcher.evaluate("document.querySelector('video').muted") is True
        watcher.click("#unmute")
        expect(watcher.locator("#unmute")).to_be_hidden()
        assert watcher.evaluate("document.querySelector('video').muted") is False
