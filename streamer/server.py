"""The server process: take the port, warm up, say so, serve, stop cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from daetalker.streamer.app import STOP_TIMEOUT_S, create_app, version
from daetalker.streamer.capacity import capacity
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.hub import Avatar, Hub
from daetalker.streamer.peer import set_video_bit_rate
from daetalker.streamer.plugin_host import PluginHost
from daetalker.streamer.settings import Settings, SettingsError

WEBSOCKET_PING_S = 5.0
WEBSOCKET_PONG_TIMEOUT_S = 10.0
"""Together: a client that vanished from its socket is noticed within 15 s."""

PLUGIN_GOODBYE_S = 0.3
"""What plugins get to tell their clients that the sessions are over, before the sockets close."""

WEBSOCKET_MAX_BYTES = 1024 * 1024
"""Larger messages close the socket.  Those between this and the protocol's limit get an error."""


class Server(uvicorn.Server):
    """uvicorn, but clients hear a goodbye before their sockets are closed."""

    def __init__(
        self, config: uvicorn.Config, hub: Hub, on_ready: Callable[[], None] | None = None
    ) -> None:
        super().__init__(config)
        self._hub = hub
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._hub.stop(STOP_TIMEOUT_S)
        if self._hub.settings.plugins:
            await asyncio.sleep(PLUGIN_GOODBYE_S)
        await super().shutdown(sockets)


def make_server(hub: Hub, app: ASGIApp, on_ready: Callable[[], None] | None = None) -> Server:
    """A server of the hub's settings; run it by ``serve(sockets=[...])``."""
    settings = hub.settings
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=WEBSOCKET_MAX_BYTES,
        ws_ping_interval=WEBSOCKET_PING_S,
        ws_ping_timeout=WEBSOCKET_PONG_TIMEOUT_S,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=settings.log_level == "debug",
        server_header=False,
        timeout_graceful_shutdown=1,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    return Server(config, hub, on_ready)


def bind(settings: Settings) -> socket.socket:
    """The listening socket, taken before anything slow is done.

    Raises:
        SettingsError: if the address is not this machine's or the port is taken.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
        sock.listen(64)
    except OSError as error:
        sock.close()
        raise SettingsError(
            f"cannot listen on {settings.host} port {settings.port} ({error.strerror}); "
            "choose another with --host or --port"
        ) from None
    return sock


def url_of(settings: Settings, sock: socket.socket) -> str:
    """The address to open in a browser on this machine."""
    scheme = "https" if settings.tls_cert else "http"
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(settings.host, settings.host)
    if ":" in host:
        host = f"[{host}]"
    return f"{scheme}://{host}:{sock.getsockname()[1]}"


async def serve(
    settings: Settings, *, announce: Callable[[str], None] = print, hub: Hub | None = None
) -> None:
    """Open the avatar, warm it up, then serve until SIGINT or SIGTERM.

    Raises:
        SettingsError: if the port is taken.
        BundleError: if the avatar is missing or damaged.
        EngineError: if its networks cannot be run.
        PluginError: if a plugin that the settings name is not there or refuses to start.
    """
    with contextlib.closing(bind(settings)) as sock:
        set_video_bit_rate(settings.video_kbit_s)
        hub = hub or Hub(settings)
        avatar = await hub.start()
        for line in _welcome_lines(settings, hub, avatar):
            announce(line)
        url = url_of(settings, sock)
        plugins = PluginHost(hub)
        try:
            await plugins.start(url)
        except StreamerError:
            await hub.stop()
            raise
        app = create_app(hub, plugins=plugins)
        server = make_server(hub, app, lambda: announce(f"Ready: {url}"))
        with _signals_do_not_kill():
            await server.serve(sockets=[sock])


def _welcome_lines(settings: Settings, hub: Hub, avatar: Avatar) -> list[str]:
    manifest = avatar.bundle.manifest
    able = capacity(avatar.timings_ms, hub.profile)
    lines = [
        f"daetalker {version()}: {manifest.label}, {manifest.size}x{manifest.size}, "
        f"{manifest.fps} frames a second, delay {hub.profile.delay_s * 1000:.0f} ms, "
        f"on {avatar.provider}.",
        f"One person takes {able.share:.0%} of the engine's time; this machine serves about "
        f"{able.people} at full rate.",
    ]
    if able.tier != "full":
        lines.append(able.advice)
    if not settings.tls_cert and settings.host not in ("127.0.0.1", "::1", "localhost"):
        lines.append(
            "Browsers lend the microphone only to localhost and to https: others on the network "
            "need --tls-cert and --tls-key."
        )
    return lines


@contextlib.contextmanager
def _signals_do_not_kill() -> Iterator[None]:
    """Uvicorn sends itself the signal again after a clean stop; ending by it is not our way."""
    previous = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def configure_logging(level: str) -> None:
    """Log lines on standard error; the media libraries only speak up when something is wrong."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    quiet = logging.DEBUG if level == "debug" else logging.WARNING
    for name in ("aioice", "aiortc", "libav", "uvicorn", "uvicorn.error", "websockets"):
        logging.getLogger(name).setLevel(quiet)
