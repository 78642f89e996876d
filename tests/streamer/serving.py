"""A real server inside the test's own event loop, on a free port, with a tiny avatar."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect

from daetalker.streamer.app import create_app
from daetalker.streamer.hub import Hub
from daetalker.streamer.page import Asset
from daetalker.streamer.plugin import Plugin, find_plugin
from daetalker.streamer.plugin_host import PluginHost
from daetalker.streamer.server import bind, make_server, url_of
from daetalker.streamer.settings import Settings, load_settings
from daetalker.streamer.tls import certificate_of

PATIENCE_S = 60.0
"""Long enough for a machine that is busy with something else; no test waits this long if well."""


def settings_for(avatar: Path, **values: Any) -> Settings:
    """Settings on a free port, independent of the machine's environment."""
    # Not measured: a test must not depend on what else the machine does.
    own = {"avatar": str(avatar), "port": 0, "threads": 1, "admission": "off"}
    own["state_folder"] = str(avatar.parent / "state")
    return load_settings({**own, **values})


class Running:
    """A server that is up."""

    def __init__(self, hub: Hub, url: str, plugins: PluginHost) -> None:
        self.hub = hub
        self.url = url
        self.plugins = plugins

    async def empty(self) -> None:
        """Wait until no session is left."""
        async with asyncio.timeout(PATIENCE_S):
            while self.hub.sessions:
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    find: Callable[[str], type[Plugin]] = find_plugin,
    page: dict[str, Asset] | None = None,
    **limits: float,
) -> AsyncIterator[Running]:
    """Serve until the block ends; stops as a signal would.

    Args:
        find: gives the class of a plugin that the settings name.
        page: files of the page; None for no page.
        limits: of the plugin host.
    """
    hub = Hub(settings)
    await hub.start()
    sock = bind(settings)
    url = url_of(settings, sock)
    plugins = PluginHost(hub, find, **limits)
    try:
        await plugins.start(url)
    except BaseException:
        sock.close()
        await hub.stop()
        raise
    ready = asyncio.Event()
    app = create_app(hub, page or {}, plugins)
    server = make_server(hub, app, ready.set, certificate_of(settings))
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        yield Running(hub, url, plugins)
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, PATIENCE_S)


def refused(server: Running, reason: str) -> float:
    """How often that was refused, by the server's own count."""
    text = server.hub.metrics.render()[0].decode()
    lines = [line for line in text.splitlines() if f'refused_total{{reason="{reason}"}}' in line]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


class Talker:
    """A client that speaks raw JSON, so that it can also say what a good client would not."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, message: Any) -> None:
        await self.socket.send(message if isinstance(message, str) else json.dumps(message))

    async def hear(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these kinds; states in between are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.recv())
                if message["type"] in kinds:
                    return message
                assert message["type"] == "state", message

    async def hello(self, **more: Any) -> dict[str, Any]:
        await self.say({"type": "hello", "protocol": 1, **more})
        return await self.hear("welcome", "error")


@contextlib.asynccontextmanager
async def talker(url: str) -> AsyncIterator[Talker]:
    async with connect(url.replace("http", "ws", 1) + "/ws", open_timeout=PATIENCE_S) as socket:
        yield Talker(socket)


@contextlib.asynccontextmanager
async def offering() -> AsyncIterator[tuple[RTCPeerConnection, str]]:
    """A peer connection with an offer as browsers make it."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTrack(AudioStreamTrack())
    connection.addTransceiver("video", direction="recvonly")
    try:
        await connection.setLocalDescription()
        yield connection, connection.localDescription.sdp
    finally:
        await connection.close()


def buzz(seconds: float) -> NDArray[np.int16]:
    """A loud buzz, ``[N]`` int16 mono 48 kHz."""
    t = np.arange(int(seconds * 48_000)) / 48_000
    sound = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12))
    scaled: NDArray[np.int16] = np.rint(sound * 6000).astype(np.int16)
    return scaled
