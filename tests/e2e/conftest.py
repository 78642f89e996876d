"""Fixtures of the tests in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

    from tests.e2e.console import Console


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """One at a time: it holds an event loop of its own, in which no asyncio test could run."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(autouse=True)
def console(request: pytest.FixtureRequest) -> Iterator[Console | None]:
    """Fails every test whose pages complain; `Console.expect` names what belongs to the test."""
    if not request.node.get_closest_marker("browser"):
        yield None
        return
    from tests.e2e.console import Console

    console = Console()
    with pytest.MonkeyPatch.context() as patch:
        console.watch(patch)
        yield console
    assert console.unexpected() == []


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's microphone hears."""
    from tests.e2e.browser import write_silence

    return write_silence(tmp_path_factory.mktemp("microphone") / "silence.wav")


@pytest.fixture(scope="module")
def browser(playwright: Playwright, silence: Path) -> Iterator[Browser]:
    """A browser that allows the microphone."""
    from tests.e2e.browser import chromium

    with chromium(playwright, silence) as browser:
        yield browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The mock server's address, with a slash at the end."""
    from tests.e2e.browser import serving

    log = tmp_path_factory.mktemp("mock") / "server.log"
    with serving(["tests/web/mock_server.py", "--port", "0"], log) as address:
        yield address


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The page of a mock server that is well and knows nothing of earlier tests."""
    from tests.e2e.browser import START_TIMEOUT_S, mock

    for name in ("ok", "editable", "without_plugins", "fresh_presets", "load_ok", "thaw"):
        mock(url, name)
    page = browser.new_page()
    page.set_default_timeout(START_TIMEOUT_S * 1000)
    page.goto(url)
    yield page
    page.close()
