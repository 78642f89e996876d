"""Fixtures of the tests in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Playwright


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """One at a time: it holds an event loop of its own, in which no asyncio test could run."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright
