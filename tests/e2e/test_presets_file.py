"""Presets from page to file and back, and /stage beside them: the real server, a tiny avatar."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from tests.e2e import browser as b
from tests.tiny import make_tiny_bundle

pytestmark = [pytest.mark.browser, pytest.mark.slow]

expect.set_options(timeout=b.START_TIMEOUT_S * 1000)

PRESSED = ("aria-pressed", "true")
MINE = "button[data-preset=look-away]"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("presets") / "presets.toml"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, file: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    avatar = make_tiny_bundle(folder / "tiny", size=32)
    command = ["-m", "daetalker.streamer.cli", "serve", "--port", "0", "--threads", "1"]
    command += ["--avatar", str(avatar), "--presets", str(file), "--admission", "off"]
    with b.serving(command, folder / "server.log") as url:
        yield url


@pytest.fixture
def live(browser: Browser, real: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(real + "?avatar=tiny")
    b.go_live(page, frames=2)
    yield page
    page.close()


def presets_in(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(file.read_text()).get("presets", {})
    return found


def test_a_preset_saved_on_the_page_is_in_the_file_and_on_another_page(
    live: Page, browser: Browser, real: str, file: Path
) -> None:
    other = browser.new_page()
    other.goto(real + "?avatar=tiny")
    b.go_live(other, frames=2)
    live.click("#preset-add")
    live.fill("#editor-label", "Look away")
    live.fill("#editor-yaw-number", "12.5")
    live.fill("#editor-roll-number", "-3")
    live.fill("#editor-natural-number", "40")
    live.click("#editor-save")
    expect(live.locator(MINE)).to_have_attribute(*PRESSED)
    expect(other.locator(MINE)).to_have_attribute("data-own", "true")
    saved = presets_in(file)["look-away"]
    assert saved["label"] == "Look away"
    assert (saved["yaw"], saved["roll"], saved["natural"]) == (12.5, -3, 0.4)
    assert "hold_s" not in saved

    # What somebody writes into the file is on both pages a moment later.
    file.write_text(file.read_text().replace("Look away", "Far away"))
    for page in (live, other):
        expect(page.locator(MINE + " .chip-label")).to_have_text("Far away")

    # The key of its place turns the head, on the page where it is pressed.
    key = other.get_attribute(MINE, "aria-keyshortcuts")
    assert key is not None
    other.keyboard.press(key)
    b.wait_for(
        other,
        "Number(document.querySelector('#pad-actual').style.getPropertyValue('--x')) > 0.6",
    )
    other.close()

    live.click("#preset-edit")
    live.click(MINE)
    live.click("#editor-delete")
    expect(live.locator(MINE)).to_have_count(0)
    assert "look-away" not in presets_in(file)
    live.click("#toast-action")
    expect(live.locator(MINE)).to_have_count(1)
    assert presets_in(file)["look-away"] == saved | {"label": "Far away"}


def test_what_the_server_refuses_is_explained_in_the_panel(live: Page) -> None:
    live.click("#preset-add")
    live.fill("#editor-label", "natural\u200b")  # what no label may hold
    live.click("#editor-save")
    expect(live.locator("#editor-error")).to_contain_text("label must be")
    live.keyboard.press("Escape")


def test_a_page_that_watches_steers_and_interrupts_the_session(
    live: Page, browser: Browser, real: str
) -> None:
    watcher = browser.new_page()
    watcher.goto(real + "?watch=latest")
    b.go_live(watcher, frames=2)
    left = "button[data-preset=left]"
    watcher.click(left)
    for page in (watcher, live):
        expect(page.locator(left)).to_have_attribute(*PRESSED)
    watcher.click("#interrupt")
    watcher.keyboard.press("0")
    expect(live.locator("#natural")).to_have_attribute(*PRESSED)  # the click came before it
    assert watcher.text_content("#tip") == ""
    watcher.close()


def test_the_stage_shows_a_session_of_the_real_server(
    live: Page, browser: Browser, real: str
) -> None:
    stage = browser.new_page(viewport={"width": 640, "height": 360})
    stage.goto(real + "stage")
    b.wait_for(stage, "document.body.dataset.live === 'true' && daetalker.framesShown > 20")
    stage.wait_for_timeout(300)  # the fade of the first picture
    with av.open(io.BytesIO(stage.screenshot(omit_background=True)), "r") as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgba")
    assert (picture[:, 0, 3] == 0).all() and (picture[:, 639, 3] == 0).all()
    assert np.asarray(picture[:, 320, 3] == 255).all()
    shown = live.evaluate("daetalker.framesShown")
    b.wait_for(live, f"daetalker.state === 'live' && daetalker.framesShown > {shown + 10}")
    live.click("#stop")
    b.wait_for(stage, "document.body.dataset.live === 'false'")
    stage.close()
