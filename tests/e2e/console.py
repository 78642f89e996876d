"""The console of every page that a test opens: what is red in it and not expected is a failure."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, WebError

REFUSED_SOCKET = r"WebSocket connection to '.*' failed"
"""What Chromium itself writes when a socket cannot be opened; no page can keep it from doing so."""

FAILED_FETCH = r"Failed to load resource"
"""The same for anything else that is fetched."""


class Console:
    """Errors and uncaught exceptions of all pages, and those that a test expects."""

    def __init__(self) -> None:
        self._errors: list[str] = []
        self._expected: list[str] = []

    def expect(self, *patterns: str) -> None:
        """Errors that match one of these regular expressions belong to the test."""
        self._expected.extend(patterns)

    def unexpected(self) -> list[str]:
        """What no test has asked for."""
        return [
            error
            for error in self._errors
            if not any(re.search(pattern, error) for pattern in self._expected)
        ]

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Listen to every page that is opened from now on, in whatever way."""
        new_page, new_context = Browser.new_page, Browser.new_context

        def heard_page(browser: Browser, *args: Any, **options: Any) -> Page:
            page = new_page(browser, *args, **options)
            self._listen(page.context)
            return page

        def heard_context(browser: Browser, *args: Any, **options: Any) -> BrowserContext:
            context = new_context(browser, *args, **options)
            self._listen(context)
            return context

        patch.setattr(Browser, "new_page", heard_page)
        patch.setattr(Browser, "new_context", heard_context)

    def _listen(self, context: BrowserContext) -> None:
        context.on("console", self._on_console)
        context.on("weberror", self._on_exception)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._errors.append(message.text)

    def _on_exception(self, error: WebError) -> None:
        self._errors.append(f"uncaught: {error.error}")
