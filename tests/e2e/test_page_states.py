"""What the page says and does when something is missing or breaks, against the mock server."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, Playwright, expect

from tests.e2e import browser as b
from tests.e2e.console import REFUSED_SOCKET, Console
from tests.e2e.mouth import MIN_FPS_TO_JUDGE, analyse, faults

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE_MS = b.START_TIMEOUT_S * 1000
expect.set_options(timeout=PATIENCE_MS)


def test_before_the_start_one_look_tells_what_to_do(page: Page) -> None:
    expect(page.locator("#start")).to_be_visible()
    expect(page.locator("#preview")).to_be_visible()
    expect(page.locator("#lead")).to_have_text("Talk, and Mira says it.")
    expect(page.locator("#synthetic")).to_be_visible()
    expect(page.locator("#hear")).not_to_be_checked()
    assert page.evaluate("document.querySelector('video').muted") is True
    assert page.evaluate("daetalker.state") == "idle"
    with pytest.raises(Exception, match="daetalker"):
        page.evaluate("(() => { 'use strict'; window.daetalker = 1; })()")


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_everything_can_be_done_by_keyboard(page: Page, url: str) -> None:
    page.keyboard.press("Tab")
    for _ in range(10):
        if page.evaluate("document.activeElement.id") == "start":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    b.wait_for(page, "daetalker.state === 'live'")
    page.focus("#pad-handle")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    handle = page.locator("#pad-handle")
    expect(handle).to_have_attribute("aria-valuenow", "4")
    expect(handle).to_have_attribute("aria-valuetext", "4° to the right, 2° up")
    page.keyboard.press("Home")
    expect(handle).to_have_attribute("aria-valuetext", "straight ahead")
    page.focus("#natural")
    page.keyboard.press("Space")
    expect(page.locator("#natural")).to_have_attribute("aria-pressed", "true")


def test_dragging_on_the_pad_turns_the_head_and_a_double_click_straightens_it(page: Page) -> None:
    page.click("#start")
    b.wait_for(page, "daetalker.state === 'live'")
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    handle = page.locator("#pad-handle")
    expect(handle).to_have_attribute("aria-valuenow", "15")
    b.wait_for(
        page, "Number(document.querySelector('#pad-actual').style.getPropertyValue('--x')) > 0.7"
    )
    page.mouse.dblclick(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.2)
    expect(handle).to_have_attribute("aria-valuetext", "straight ahead")


def test_a_lost_connection_counts_down_and_comes_back_with_the_pose(
    page: Page, url: str, console: Console
) -> None:
    console.expect(REFUSED_SOCKET)
    page.click("#start")
    b.wait_for(page, "daetalker.state === 'live'")
    page.click("button[data-preset=right]")
    b.mock(url, "refuse")
    b.mock(url, "drop")
    expect(page.locator("#notice-title")).to_have_text("Connection lost, coming back…")
    expect(page.locator("#notice-text")).to_have_text("The server does not answer yet.")
    expect(page.locator("#notice-countdown")).to_contain_text("Trying again")
    expect(page.locator("#still")).to_be_visible()  # the face stays
    b.mock(url, "ok")
    b.wait_for(page, "daetalker.state === 'live'")
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#still")).to_be_hidden()
    expect(page.locator("button[data-preset=right]")).to_have_attribute("aria-pressed", "true")
    b.wait_for(
        page, "Number(document.querySelector('#pad-actual').style.getPropertyValue('--x')) > 0.7"
    )


@pytest.mark.parametrize(
    ("scenario", "title", "counts_down"),
    [
        ("server_full", "All places are taken", False),
        ("too_many", "Too many connections", False),
        ("signed_out", "A new link is needed", False),
        ("refuse", "The server does not answer", True),
        ("no_media", "Sound and picture do not get through", True),
        ("engine_failed", "The avatar has stopped", False),
        ("unsupported_protocol", "Page and server do not match", False),
    ],
)
def test_the_servers_failures_have_clear_words(
    page: Page, url: str, console: Console, scenario: str, title: str, counts_down: bool
) -> None:
    if scenario == "refuse":
        console.expect(REFUSED_SOCKET)
    b.mock(url, scenario)
    page.click("#start")
    expect(page.locator("#notice-title")).to_have_text(title)
    assert page.locator("#notice-countdown").is_visible() is counts_down
    if counts_down:
        page.click("#notice-stop")
        b.wait_for(page, "daetalker.state === 'idle'")
        assert page.evaluate("document.activeElement.id") == "start"


def test_a_denied_microphone_is_explained(playwright: Playwright, silence: Path, url: str) -> None:
    b.mock(url, "ok")
    with b.chromium(playwright, silence, allow=False) as browser:
        page = browser.new_page()
        page.goto(url)
        page.click("#start")
        expect(page.locator("#notice-title")).to_have_text("The microphone is not allowed")
        expect(page.locator("#notice-action")).to_have_text("Try again")


@pytest.mark.parametrize(
    ("script", "title"),
    [
        ("delete window.RTCPeerConnection", "This browser cannot show live video"),
        (
            "Object.defineProperty(window, 'isSecureContext', {get: () => false})",
            "The browser blocks the microphone here",
        ),
        (
            "navigator.mediaDevices.getUserMedia = async () => "
            "{ throw new DOMException('none', 'NotFoundError') }",
            "No microphone found",
        ),
        (
            "navigator.mediaDevices.getUserMedia = async () => "
            "{ throw new DOMException('busy', 'NotReadableError') }",
            "The microphone does not answer",
        ),
    ],
)
def test_what_this_machine_lacks_is_said(
    browser: Browser, url: str, script: str, title: str
) -> None:
    b.mock(url, "ok")
    page = browser.new_page()
    page.add_init_script(script)
    page.goto(url)
    if page.locator("#start").is_visible():
        page.click("#start")
    expect(page.locator("#notice-title")).to_have_text(title)
    expect(page.locator("#notice [role=alert]")).to_be_visible()
    page.close()


@pytest.mark.parametrize(
    ("mouth", "fault"),
    [
        ("follows", []),
        ("still", ["The mouth does not move while the voice speaks."]),
        ("restless", ["The mouth moves in silence."]),
    ],
)
def test_the_end_to_end_judge_finds_faults_through_a_real_browser(
    playwright: Playwright, url: str, tmp_path: Path, mouth: str, fault: list[str]
) -> None:
    microphone = b.write_microphone(tmp_path / "microphone.wav")
    b.mock(url, "ok")
    b.mock(url, mouth)
    with b.chromium(playwright, microphone) as browser:
        page = browser.new_page()
        page.goto(url)
        b.go_live(page)
        figures = analyse(b.record(page, 16.0))
    if figures.fps < MIN_FPS_TO_JUDGE:
        pytest.skip(f"this machine shows {figures.fps:.1f} frames a second now: too busy to judge")
    assert faults(figures) == fault, figures
