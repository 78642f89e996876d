"""The recorder's card on the page: a real server, a real browser.

``DAETALKER_RECORDER_PICTURE=docs/recorder.png`` also takes the picture of the docs, with mira.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.async_api import Page, async_playwright

from daetalker.plugins.recorder import RecorderPlugin
from daetalker.streamer.page import load_page
from tests.e2e.browser import FLAGS, chromium_path, write_microphone, write_silence
from tests.plugins.movies import read_movie
from tests.plugins.serving import PATIENCE_S, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CARD = '[data-plugin="recorder"]'
PICTURE = os.environ.get("DAETALKER_RECORDER_PICTURE")


async def until(page: Page, condition: str) -> None:
    """Playwright's own waiting needs ``eval``, which the page's security policy forbids."""
    async with asyncio.timeout(PATIENCE_S):
        while not await page.evaluate(condition):
            await asyncio.sleep(0.05)


async def test_record_from_the_page_and_download(bundle: Path, tmp_path: Path) -> None:
    path = chromium_path()
    write = write_microphone if PICTURE else write_silence
    microphone = await asyncio.to_thread(write, tmp_path / "microphone.wav")
    folder = tmp_path / "recordings"
    complaints: list[str] = []
    own: dict[str, dict[str, Any]] = {"recorder": {"folder": str(folder)}}
    avatar = Path("mira") if PICTURE else bundle
    async with (
        served(avatar, [RecorderPlugin], own, load_page()) as server,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(
            executable_path=path,
            args=[
                *FLAGS,
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}",
            ],
            ignore_default_args=["--headless"],
        )
        page = await browser.new_page(viewport={"width": 1180, "height": 860})
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(server.url)
        await page.click("#start")
        await until(page, "daetalker.state === 'live' && daetalker.framesShown > 10")
        button = page.locator(f"{CARD} button")
        assert await button.inner_text() == "Record"

        await button.click()
        recording = f"document.querySelector('{CARD}').dataset.recording === 'true'"
        await until(page, recording)
        assert await page.locator(f"{CARD} circle").get_attribute("fill") == "#d92d20"
        text = f"document.querySelector('{CARD}').innerText"
        await until(page, f"/Recording, 0:0[1-9]/.test({text})")
        if PICTURE:
            await until(page, f"/Recording, 0:08/.test({text})")
            await page.screenshot(path=PICTURE, full_page=True)
        await page.locator(f"{CARD} button", has_text="Stop").click()
        await until(page, f"document.querySelector('{CARD} a') !== null")
        assert await button.inner_text() == "Record"

        async with page.expect_download() as download:
            await page.locator(f"{CARD} a").click()
        await (await download.value).save_as(tmp_path / "got.mp4")

        # An operator records as well: whoever is recorded sees it.
        session = (await asyncio.to_thread(server.hub.live_sessions))[0]
        answer = await page.request.post(
            server.url.rstrip("/") + "/plugins/recorder/recordings", data={"session": session.id}
        )
        assert answer.status == 201
        await until(page, recording)
        await page.click("#stop")
        await until(page, f"document.querySelectorAll('{CARD} a').length === 2")
        await browser.close()

    assert [text for text in complaints if "rror" in text] == []
    got = read_movie(tmp_path / "got.mp4")
    assert len(got.times_s) >= 25 and len(list(folder.iterdir())) == 2
