"""Chromium without a screen, its microphone a wav file; and the servers under test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright

from tests.e2e.mouth import MOUTH_BOX, MOUTH_PIXELS, Recording, recording_from

ROOT = Path(__file__).resolve().parents[2]
SPEECH = ROOT.parent / "shared" / "data" / "demo" / "test_a" / "audio.wav"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_TIMEOUT_S = 120.0
"""Long enough for a machine that is busy with something else."""

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--autoplay-policy=no-user-gesture-required",
]


def chromium_path() -> str:
    """Chromium on this machine; skips the test where there is none."""
    for name in CHROMIUM_NAMES:
        path = shutil.which(name)
        if path:
            return path
    pytest.skip("there is no Chromium here (searched: " + ", ".join(CHROMIUM_NAMES) + ")")


@contextlib.contextmanager
def chromium(playwright: Playwright, microphone: Path, *, allow: bool = True) -> Iterator[Browser]:
    """A browser that says yes, or no, when a page asks for the microphone."""
    path = chromium_path()
    answer = "--use-fake-ui-for-media-stream" if allow else "--deny-permission-prompts"
    browser = playwright.chromium.launch(
        executable_path=path,
        args=[
            *FLAGS,
            answer,
            f"--use-file-for-fake-audio-capture={microphone}",
        ],
        ignore_default_args=["--headless"],
        timeout=START_TIMEOUT_S * 1000,
    )
    try:
        yield browser
    finally:
        browser.close()


def wait_for(page: Page, condition: str) -> None:
    """Wait until a JavaScript expression is true.

    Playwright's own ``wait_for_function`` needs ``eval`` in the page, which the page's content
    security policy forbids; switching the policy off would hide what it breaks.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while not page.evaluate(condition):
        if time.monotonic() > deadline:
            seen = page.evaluate("document.body.innerText")
            pytest.fail(f"the page never came to {condition}; it shows:\n{seen}")
        page.wait_for_timeout(50)


def mock(url: str, name: str) -> dict[str, int]:
    """Tell the mock server how to behave; its answer counts what goes on there."""
    request = urllib.request.Request(url + "mock/" + name, method="POST")
    with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as response:
        counts: dict[str, int] = json.loads(response.read())
    return counts


def go_live(page: Page, frames: int = 10) -> None:
    """Press Start and wait for pictures."""
    page.click("#start")
    wait_for(page, f"daetalker.state === 'live' && daetalker.framesShown > {frames}")


def record(page: Page, seconds: float) -> Recording:
    """Watch and listen for so many seconds."""
    source = (Path(__file__).parent / "recorder.js").read_text()
    function = source[source.index("async ({ box") :].rstrip().removesuffix(";")
    options = {"box": MOUTH_BOX, "pixels": MOUTH_PIXELS, "seconds": seconds}
    return recording_from(page.evaluate(function, options))


def write_microphone(path: Path, speech_s: float = 10.0, silence_s: float = 6.0) -> Path:
    """Speech of the demo set, then digital silence; Chromium repeats it for ever."""
    if not SPEECH.is_file():
        pytest.skip("the demo speech is not here (../shared/data/demo/test_a/audio.wav)")
    with wave.open(str(SPEECH)) as source, wave.open(str(path), "wb") as target:
        rate, width = source.getframerate(), source.getsampwidth()
        target.setparams(source.getparams())
        target.writeframes(source.readframes(round(speech_s * rate)))
        target.writeframes(bytes(round(silence_s * rate) * width))
    return path


def write_silence(path: Path) -> Path:
    """A second of digital silence."""
    with wave.open(str(path), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(16_000)
        target.writeframes(bytes(32_000))
    return path


class Served:
    """A server of this project in a process of its own, which may be ended and started again.

    What it prints goes into a file: nobody reads a pipe here, and a full one would stop it.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = list(command)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> str:
        """Its address, with a slash at the end, once it has printed one.

        Args:
            more: further words of the command; of options that are given twice the last one holds.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DAETALKER_")}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / ".dev"), str(ROOT)])
        environment["PYTHONUNBUFFERED"] = "1"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *self._command, *more],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
            )
        return _address(self._process, self._log)

    def kill(self) -> None:
        """End it without a word, as a crash or a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to end, as a restart does; may be called again."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()


@contextlib.contextmanager
def serving(command: Sequence[str], log: Path) -> Iterator[str]:
    """Run a server of this project; yields its address, with a slash at the end."""
    served = Served(command, log)
    try:
        yield served.start()
    finally:
        served.stop()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The first whole address at the beginning of a line, or the one that is ready."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"^(?:Ready: )?(http://\S+)\s", log.read_text(errors="replace"), re.M)
        if found:
            return found[1].rstrip("/") + "/"
        time.sleep(0.1)
    pytest.fail("the server did not start:\n" + log.read_text(errors="replace"))
