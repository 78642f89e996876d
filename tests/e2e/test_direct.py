"""Directing the head on the page, against the mock server: keys, the presets' panel, watching."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from tests.e2e import browser as b

pytestmark = [pytest.mark.browser, pytest.mark.slow]

expect.set_options(timeout=b.START_TIMEOUT_S * 1000)

PRESSED = ("aria-pressed", "true")


def chip(page: Page, name: str) -> str:
    return f"button[data-preset={name}]"


def actual_x(condition: str) -> str:
    """A condition on where the head really is; 0.5 is straight."""
    return "Number(document.querySelector('#pad-actual').style.getPropertyValue('--x'))" + condition


@pytest.fixture
def live(page: Page) -> Page:
    b.go_live(page, frames=3)
    return page


def open_editor(page: Page, name: str | None) -> None:
    if name is None:
        page.click("#preset-add")
    else:
        page.click("#preset-edit")
        page.click(chip(page, name))
    expect(page.locator("#editor")).to_be_visible()


def test_number_keys_choose_presets_but_not_while_somebody_writes(live: Page) -> None:
    live.keyboard.press("3")
    expect(live.locator(chip(live, "right"))).to_have_attribute(*PRESSED)
    b.wait_for(live, actual_x("> 0.7"))
    live.keyboard.press("0")
    expect(live.locator("#natural")).to_have_attribute(*PRESSED)
    b.wait_for(live, actual_x("< 0.6"))
    live.keyboard.press("9")  # there are five
    expect(live.locator("#natural")).to_have_attribute(*PRESSED)
    live.focus("#microphone-select")
    live.keyboard.press("2")
    open_editor(live, None)
    live.fill("#editor-label", "")
    live.keyboard.press("2")
    expect(live.locator("#editor-label")).to_have_value("2")
    live.keyboard.press("Escape")
    expect(live.locator("#editor")).to_be_hidden()
    expect(live.locator("#natural")).to_have_attribute(*PRESSED)


def test_the_panel_previews_saves_and_both_pages_show_it(
    live: Page, browser: Browser, url: str
) -> None:
    other = browser.new_page()
    other.goto(url)
    b.go_live(other, frames=1)
    open_editor(live, None)
    live.fill("#editor-label", "Look away")
    live.fill("#editor-yaw-number", "24")
    b.wait_for(live, actual_x("> 0.8"))  # seen before it is saved
    live.fill("#editor-natural-number", "40")
    live.check("#editor-hold")
    live.fill("#editor-hold-s", "2.5")
    live.keyboard.press("Enter")
    expect(live.locator("#editor")).to_be_hidden()
    expect(live.locator("#toast-text")).to_have_text("“Look away” is saved.")
    for page in (live, other):
        own = page.locator(chip(page, "look-away"))
        expect(own).to_have_attribute("data-own", "true")
        expect(own).to_have_attribute("aria-keyshortcuts", "6")
    expect(live.locator(chip(live, "look-away"))).to_have_attribute(*PRESSED)
    # The server lets the head go after 2.5 s, and the page says so.
    expect(live.locator("#natural")).to_have_attribute(*PRESSED)
    b.wait_for(live, actual_x("< 0.6"))
    other.close()


def test_the_pad_aims_what_is_edited_and_cancel_brings_back_what_was_before(live: Page) -> None:
    live.keyboard.press("2")
    b.wait_for(live, actual_x("< 0.3"))
    open_editor(live, "thinking")
    expect(live.locator("#editor-title")).to_have_text("Change “Thinking”")
    expect(live.locator("#editor-roll-number")).to_have_value("-6")
    live.focus("#pad-handle")
    live.keyboard.press("Shift+ArrowRight")
    expect(live.locator("#editor-yaw-number")).to_have_value("18")
    b.wait_for(live, actual_x("> 0.7"))
    live.click("#editor-cancel")
    expect(live.locator(chip(live, "left"))).to_have_attribute(*PRESSED)
    b.wait_for(live, actual_x("< 0.3"))
    assert live.evaluate("document.activeElement.id") == "preset-edit"


def test_what_is_deleted_can_be_brought_back(live: Page) -> None:
    open_editor(live, "up")
    expect(live.locator("#editor-delete")).to_have_text("Hide")
    live.click("#editor-delete")
    expect(live.locator("#toast-text")).to_have_text("“Up” is hidden.")
    expect(live.locator(chip(live, "up"))).to_have_count(0)
    expect(live.locator("#natural")).to_have_attribute(*PRESSED)
    live.click("#toast-action")
    expect(live.locator(chip(live, "up"))).to_have_count(1)
    expect(live.locator("#toast-text")).to_have_text("“Up” is back.")
    expect(live.locator("#toast-text")).to_have_text("")  # after six seconds


def test_the_servers_refusal_stands_in_the_panel(live: Page, url: str) -> None:
    open_editor(live, None)
    live.click("#editor-save")
    expect(live.locator("#editor-error")).to_have_text("Give it a name first.")
    live.fill("#editor-label", "Mine")
    b.mock(url, "read_only")
    live.click("#editor-save")
    expect(live.locator("#editor-error")).to_have_text("Presets may not be changed from here.")
    expect(live.locator("#editor-save")).to_be_enabled()
    b.mock(url, "editable")
    live.click("#editor-save")
    expect(live.locator(chip(live, "mine"))).to_have_attribute(*PRESSED)


def test_without_the_right_nothing_is_offered(page: Page, url: str) -> None:
    b.mock(url, "read_only")
    b.go_live(page, frames=1)
    expect(page.locator(chip(page, "left"))).to_be_enabled()
    expect(page.locator("#preset-edit")).to_be_hidden()
    expect(page.locator("#preset-add")).to_be_hidden()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_open_panel_does_not_stick_out(live: Page, width: int) -> None:
    live.set_viewport_size({"width": width, "height": 740})
    open_editor(live, "left")
    assert live.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_lost_connection_leaves_the_panel_open_and_its_pose_in_force(
    live: Page, url: str
) -> None:
    open_editor(live, "right")
    live.fill("#editor-yaw-number", "28")
    b.wait_for(live, actual_x("> 0.9"))
    b.mock(url, "drop")
    b.wait_for(live, "daetalker.state !== 'live'")
    expect(live.locator("#editor-save")).to_be_disabled()
    b.wait_for(live, "daetalker.state === 'live'")
    expect(live.locator("#editor-yaw-number")).to_have_value("28")
    expect(live.locator("#editor-save")).to_be_enabled()
    b.wait_for(live, actual_x("> 0.9"))


def test_plugins_get_a_card_and_a_broken_one_disturbs_nobody(page: Page, url: str) -> None:
    b.mock(url, "with_plugins")
    b.go_live(page, frames=1)
    card = page.locator("[data-plugin=hello]")
    expect(card.locator("p")).to_contain_text("In session mock")
    card.locator("button").click()
    expect(page.locator("#tip")).to_contain_text("Hello, mock")
    expect(page.locator(chip(page, "up"))).to_have_attribute(*PRESSED)  # it gave that command
    expect(page.locator("[data-plugin=broken]")).to_be_hidden()
    page.click("#stop")
    expect(card.locator("p")).to_have_text("No session")


def test_a_page_that_watches_steers_and_interrupts_without_a_microphone(
    live: Page, browser: Browser, url: str
) -> None:
    watcher = browser.new_page()
    watcher.add_init_script("delete navigator.mediaDevices.constructor.prototype.getUserMedia")
    watcher.goto(url + "?watch=latest")
    expect(watcher.locator("#start")).to_have_text("Watch")
    b.go_live(watcher)
    expect(watcher.locator("#mute")).to_be_hidden()
    expect(watcher.locator("#microphone")).to_be_hidden()
    assert watcher.evaluate("document.querySelector('video').muted") is False
    watcher.click(chip(watcher, "right"))
    expect(live.locator(chip(live, "right"))).to_have_attribute(*PRESSED)
    interrupted = b.mock(url, "count")["interrupted"]
    watcher.click("#interrupt")
    watcher.keyboard.press("0")
    expect(live.locator("#natural")).to_have_attribute(*PRESSED)  # so the click has arrived too
    assert b.mock(url, "count")["interrupted"] == interrupted + 1
    live.click("#stop")
    expect(watcher.locator("#wait-text")).to_have_text("Waiting for a session to watch…")
    b.go_live(live, frames=1)
    b.wait_for(watcher, "daetalker.state === 'live'")
    watcher.close()
