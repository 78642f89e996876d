"""The server process: take the port, warm up, say so, serve, stop cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from threadpoolctl import threadpool_limits

from daetalker.streamer.app import STOP_TIMEOUT_S, create_app
from daetalker.streamer.capacity import capacity
from daetalker.streamer.encoders import install_encoders
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.http_guard import (
    KEEP_ALIVE_S,
    MAX_HEADER_BYTES,
    guarded_http,
    quiet_uvicorn,
)
from daetalker.streamer.hub import Hub
from daetalker.streamer.last_resort import end_after, end_now
from daetalker.streamer.loading import Avatar
from daetalker.streamer.machine import share_heaps
from daetalker.streamer.opening import keep_address, opening_lines
from daetalker.streamer.plugin_host import PluginHost
from daetalker.streamer.settings import Settings, SettingsError
from daetalker.streamer.tls import Certificate, certificate_of
from daetalker.streamer.tokens import open_tokens
from daetalker.streamer.version import version

WEBSOCKET_PING_S = 5.0
WEBSOCKET_PONG_TIMEOUT_S = 10.0
"""Together: a client that vanished from its socket is noticed within 15 s."""

EXIT_S = 4.5
"""After a signal the process has ended within 5 s, even if clients, plugins or the engine hang."""

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

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:  # asked before
            end_now("ended at once by a second signal", 128 + sig)
        super().handle_exit(sig, frame)
        # For good: what still hangs when everything here is done must not keep the process.
        end_after(EXIT_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Those who are served first: uvicorn would close their sockets without a word.
        await self._hub.stop(STOP_TIMEOUT_S)
        if self._hub.settings.plugins:
            await asyncio.sleep(PLUGIN_GOODBYE_S)
        await super().shutdown(sockets)


def make_server(
    hub: Hub,
    app: ASGIApp,
    on_ready: Callable[[], None] | None = None,
    certificate: Certificate | None = None,
) -> Server:
    """A server of the hub's settings; run it by ``serve(sockets=[...])``.

    Args:
        certificate: for https; None for plain http.
    """
    settings = hub.settings
    quiet_uvicorn()
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
        http=guarded_http(settings, hub.refusals),
        proxy_headers=False,  # the door reads them, of trusted proxies only
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_keep_alive=KEEP_ALIVE_S,
        ssl_certfile=certificate.cert if certificate else None,
        ssl_keyfile=certificate.key if certificate else None,
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
    scheme = "https" if settings.uses_tls else "http"
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(settings.host, settings.host)
    if ":" in host:
        host = f"[{host}]"
    return f"{scheme}://{host}:{sock.getsockname()[1]}"


async def serve(
    settings: Settings, *, announce: Callable[[str], None] = print, hub: Hub | None = None
) -> None:
    """Open the avatar, warm it up, then serve until SIGINT or SIGTERM.

    Raises:
        SettingsError: if the port is taken, or secret or certificate cannot be used.
        BundleError: if the avatar is missing or damaged.
        EngineError: if its networks cannot be run.
        PluginError: if a plugin that the settings name is not there or refuses to start.
    """
    certificate = certificate_of(settings)
    tokens = open_tokens(settings) if settings.needs_token else None
    with contextlib.closing(bind(settings)) as sock:
        install_encoders(settings.video_kbit_s)
        # Helpers of the linear algebra under numpy spin while they wait, half a core of it, and
        # the products here are too small to be worth a second thread.
        threadpool_limits(1, user_api="blas")
        share_heaps()
        hub = hub or Hub(settings)
        avatar = await hub.start()
        for line in _welcome_lines(settings, hub, avatar):
            announce(line)
        port: int = sock.getsockname()[1]
        if tokens is not None:
            keep_address(settings, port)
        for line in opening_lines(settings, port, certificate, tokens):
            announce(line)
        url = url_of(settings, sock)
        plugins = PluginHost(hub)
        try:
            await plugins.start(url)
        except StreamerError:
            await hub.stop()
            raise
        app = create_app(hub, plugins=plugins)
        server = make_server(hub, app, lambda: announce(f"Ready: {url}"), certificate)
        with _signals_do_not_kill():
            await server.serve(sockets=[sock])


def _welcome_lines(settings: Settings, hub: Hub, avatar: Avatar) -> list[str]:
    manifest = avatar.bundle.manifest
    able = capacity(avatar.timings_ms, hub.profile, avatar.engine.workers)
    lines = [
        f"daetalker {version()}: {manifest.label}, {manifest.size}x{manifest.size}, "
        f"{manifest.fps} frames a second, delay {hub.profile.delay_s * 1000:.0f} ms, "
        f"on {avatar.provider}.",
        f"One person takes {able.share:.0%} of the engine's time; this machine serves about "
        f"{able.people} at full rate.",
    ]
    if able.tier != "full":
        lines.append(able.advice)
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
