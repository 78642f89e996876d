"""Networks that go, computers that sleep, servers with too much to do: against the mock server."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Error, Page, expect

from tests.e2e import browser as b
from tests.e2e.console import FAILED_FETCH, REFUSED_SOCKET, Console

pytestmark = [pytest.mark.browser, pytest.mark.slow]

expect.set_options(timeout=b.START_TIMEOUT_S * 1000)

BACK = "Connection lost, coming back…"
SLEEPER = """
  // A computer that sleeps: no timer runs, and the clock on the wall goes on.
  let slept_ms = 0;
  const now = Date.now;
  Date.now = () => now() + slept_ms;
  window.sleep = (ms) => (slept_ms += ms);
"""


@pytest.fixture
def live(page: Page) -> Page:
    b.go_live(page, frames=3)
    return page


def test_offline_and_online_again(live: Page, url: str, console: Console) -> None:
    console.expect(REFUSED_SOCKET, FAILED_FETCH)
    live.keyboard.press("3")
    network = live.context.new_cdp_session(live)
    network.send("Network.enable")
    conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    network.send("Network.emulateNetworkConditions", {"offline": True, **conditions})
    b.mock(url, "drop")
    b.wait_for(live, "daetalker.state !== 'live'")
    expect(live.locator("#notice-title")).to_have_text(BACK)
    # So long that the next attempt would be seconds away.
    b.wait_for(live, "/in [4-9] sec/.test(document.querySelector('#notice-countdown').textContent)")
    assert live.evaluate("navigator.onLine") is False
    network.send("Network.emulateNetworkConditions", {"offline": False, **conditions})
    online = time.monotonic()
    b.wait_for(live, "daetalker.state === 'live'")
    print(f"online: back after {time.monotonic() - online:.1f} s")
    expect(live.locator("button[data-preset=right]")).to_have_attribute("aria-pressed", "true")


def test_after_a_sleep_the_page_does_not_wait_for_a_line_that_is_dead(
    browser: Browser, url: str, page: Page
) -> None:
    del page  # only for the mock server in good order
    sleeper = browser.new_page()
    sleeper.add_init_script(SLEEPER)
    sleeper.goto(url)
    b.go_live(sleeper, frames=3)
    sleeper.evaluate("sleep(3600000)")
    sleeper.wait_for_timeout(4000)
    assert sleeper.evaluate("daetalker.state") == "live"  # it has asked, and the server is there
    b.mock(url, "deaf")
    woken = time.monotonic()
    sleeper.evaluate("sleep(3600000)")
    b.wait_for(sleeper, "daetalker.state !== 'live'")
    noticed = time.monotonic()
    b.wait_for(sleeper, "daetalker.state === 'live'")
    print(f"woken: noticed {noticed - woken:.1f} s, back {time.monotonic() - woken:.1f} s later")
    sleeper.close()


def test_what_the_server_says_of_its_load_stands_below_the_face(live: Page, url: str) -> None:
    line = live.locator("#health")
    expect(line).to_be_hidden()
    b.mock(url, "load_reduced")
    expect(line).to_have_text("The server is busy: a little fewer pictures for now.")
    b.mock(url, "load_overloaded")
    expect(line).to_contain_text("too much to do")
    b.mock(url, "load_ok")
    expect(line).to_be_hidden()
    assert live.evaluate("daetalker.state") == "live"


def test_a_picture_that_stands_is_told_until_it_moves(live: Page, url: str) -> None:
    line = live.locator("#health")
    b.mock(url, "freeze")
    expect(line).to_have_text("No new pictures at the moment.")
    b.mock(url, "thaw")
    expect(line).to_be_hidden()
    b.mock(url, "load_overloaded")
    expect(line).not_to_be_empty()
    live.click("#stop")
    expect(line).to_be_hidden()


def test_lost_packets_are_told(page: Page) -> None:
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    lossy = {"urlPattern": "", "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    rules = {"offline": False, "matchedNetworkConditions": [{**lossy, "packetLoss": 20}]}
    try:
        network.send("Network.emulateNetworkConditionsByRule", rules)
    except Error as error:
        pytest.skip(f"this Chromium cannot lose packets of WebRTC ({error.message})")
    page.click("#start")
    expect(page.locator("#health")).to_contain_text("Your connection loses packets")


def test_who_wants_to_wait_for_a_place_waits(page: Page, url: str) -> None:
    b.mock(url, "server_full")
    page.click("#start")
    expect(page.locator("#notice-text")).to_have_text("All 4 places are taken.")
    expect(page.locator("#notice-stop")).to_be_hidden()
    page.click("#notice-wish")
    expect(page.locator("#notice-countdown")).to_contain_text("Trying again in 1")
    expect(page.locator("#notice-stop")).to_be_visible()
    b.mock(url, "ok")
    page.click("#notice-action")
    b.wait_for(page, "daetalker.state === 'live'")


def test_a_goodbye_is_passed_on_in_the_servers_words(live: Page, url: str) -> None:
    b.mock(url, "stop")
    expect(live.locator("#notice-title")).to_have_text(BACK)
    expect(live.locator("#notice-text")).to_have_text("The server is being restarted.")
    b.wait_for(live, "daetalker.state === 'live'")
    b.mock(url, "time_over")
    expect(live.locator("#notice-title")).to_have_text("This session is over")
    expect(live.locator("#notice-text")).to_have_text("Your hour is over.")
    expect(live.locator("#notice-countdown")).to_be_hidden()
    live.click("#notice-action")
    b.wait_for(live, "daetalker.state === 'live'")


def test_no_complaint_of_any_page_passes_unseen(browser: Browser, console: Console) -> None:
    page = browser.new_context().new_page()
    page.evaluate("console.error('red')")
    page.evaluate("setTimeout(() => { throw new Error('nobody caught it') })")
    page.wait_for_timeout(200)
    red, uncaught = console.unexpected()
    assert red == "red" and "nobody caught it" in uncaught
    console.expect("^red$")
    assert console.unexpected() == [uncaught]
    console.expect("nobody caught it")
    page.close()
