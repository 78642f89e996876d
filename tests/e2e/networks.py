"""The page in a real browser on poor networks: ``python -m tests.e2e.networks [NAME ...]``.

The server is the real one with its embedded avatar; the relay of `daetalker bench live --network`
stands between it and Chromium, for the media in both directions.  Not a test: its figures depend
on the machine.  docs/benchmarks.md has ours.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Page, WebSocketRoute, async_playwright

from daetalker.streamer.bench_network import NETWORKS, Network, find_network
from daetalker.streamer.bench_relay import Relay, running_relay, sdp_candidates, stand_in_sdp
from tests.e2e.browser import FLAGS, chromium_path, serving, write_microphone

SETTLE_S = 8.0
"""Until the browser's buffers and its estimate of the line have found their sizes."""

KEEP_CONNECTIONS = """
window.connections = [];
const Real = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Real {
  constructor(...given) { super(...given); window.connections.push(this); }
};
"""

STATS = """async () => {
  const found = {};
  for (const report of (await connections.at(-1).getStats()).values())
    if (report.type === "inbound-rtp") found[report.kind] = report;
  return { ...found, latency: daetalker.latencyMs };
}"""


class Between:
    """Puts the relay's stand-ins in place of all candidates that the two sides tell each other."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._links = 0
        self._workers: list[asyncio.Task[None]] = []

    def close(self) -> None:
        for worker in self._workers:
            worker.cancel()

    async def take(self, socket: WebSocketRoute) -> None:
        self._links += 1
        link, server = self._links, socket.connect_to_server()
        tasks: asyncio.Queue[tuple[Callable[[str], Awaitable[None]], str]] = asyncio.Queue()

        async def to_server(text: str) -> None:
            message = json.loads(text)
            if message["type"] == "offer":
                message["sdp"] = await self._sdp(link, "client", message["sdp"])
            elif message["type"] == "candidate" and message["candidate"]:
                told = await self._sdp(link, "client", "a=" + message["candidate"])
                if not told.strip():
                    return
                message["candidate"] = told.strip().removeprefix("a=")
            server.send(json.dumps(message))

        async def to_page(text: str) -> None:
            message = json.loads(text)
            if message["type"] == "answer":
                message["sdp"] = await self._sdp(link, "server", message["sdp"])
            socket.send(json.dumps(message))

        # One after the other: a candidate must not overtake its offer.
        socket.on_message(lambda text: tasks.put_nowait((to_server, str(text))))
        server.on_message(lambda text: tasks.put_nowait((to_page, str(text))))
        self._workers.append(asyncio.create_task(self._work(tasks)))

    async def _work(self, tasks: asyncio.Queue[Any]) -> None:
        while True:
            do, text = await tasks.get()
            with contextlib.suppress(Exception):  # the page has gone meanwhile
                await do(text)

    async def _sdp(self, link: int, side: Literal["client", "server"], sdp: str) -> str:
        """The text with stand-ins; of the browser's candidates UDP on IPv4 only."""
        lines = [line for line in sdp.splitlines() if " tcp " not in line]
        sdp = "\r\n".join(lines)
        stand_ins = await self._relay.stand_in(link, side, sdp_candidates(sdp))
        return stand_in_sdp(sdp, stand_ins)


@contextlib.asynccontextmanager
async def live_page(url: str, microphone: Path, relay: Relay) -> AsyncIterator[Page]:
    """The page, talking, behind the relay."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(),
            args=[
                *FLAGS,
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}",
            ],
            ignore_default_args=["--headless"],
        )
        page = await browser.new_page()
        await page.add_init_script(KEEP_CONNECTIONS)
        between = Between(relay)
        await page.route_web_socket("**/ws", between.take)
        await page.goto(url)
        await page.click("#start")
        while not await page.evaluate("daetalker.state === 'live' && daetalker.framesShown > 3"):
            await asyncio.sleep(0.1)
        yield page
        between.close()
        await browser.close()


async def measure(url: str, microphone: Path, network: Network, seconds: float) -> dict[str, Any]:
    """What the browser says of the pictures and the voice that it got."""
    async with (
        running_relay(network, seed=0) as relay,
        live_page(url, microphone, relay) as page,
    ):
        await asyncio.sleep(SETTLE_S)
        before = await page.evaluate(STATS)
        await asyncio.sleep(seconds)
        after = await page.evaluate(STATS)

    def grown(kind: str, key: str) -> float:
        return float(after[kind].get(key, 0) - before[kind].get(key, 0))

    def buffer_ms(kind: str) -> float:
        waited_s = grown(kind, "jitterBufferDelay")
        return round(1000 * waited_s / max(grown(kind, "jitterBufferEmittedCount"), 1))

    took_s = (after["video"]["timestamp"] - before["video"]["timestamp"]) / 1000
    return {
        "network": network.name,
        "fps": round(grown("video", "framesDecoded") / took_s, 1),
        "freezes": round(grown("video", "freezeCount")),
        "frozen_s": round(grown("video", "totalFreezesDuration"), 2),
        "video_buffer_ms": buffer_ms("video"),
        "voice_buffer_ms": buffer_ms("audio"),
        "voice_concealed": round(
            grown("audio", "concealedSamples") / max(grown("audio", "totalSamplesReceived"), 1), 4
        ),
        "kbit_s": round(grown("video", "bytesReceived") * 8 / took_s / 1000),
        "asked_again": round(grown("video", "nackCount")),
        "complete_wished": round(grown("video", "pliCount") + grown("video", "firCount")),
        "complete": round(grown("video", "keyFramesDecoded")),
        "delay_ms": round(after["latency"]),
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("networks", nargs="*", default=["plain", *NETWORKS], metavar="NAME")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--url", help="a running server instead of one of our own")
    options = parser.parse_args()
    plain = Network("plain", "nothing is lost")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        microphone = write_microphone(folder / "speech.wav", speech_s=30.0, silence_s=2.0)
        command = ["-m", "daetalker.streamer.cli", "serve", "--port", "0", "--admission", "off"]
        url = options.url or stack.enter_context(serving(command, folder / "log"))
        for name in options.networks:
            network = plain if name == "plain" else find_network(name)
            figures = await measure(url, microphone, network, options.seconds)
            json.dump(figures, sys.stdout)
            print(flush=True)


if __name__ == "__main__":
    asyncio.run(main())
