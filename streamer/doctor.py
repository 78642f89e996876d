"""`daetalker doctor`: is this machine ready, and if not, what to do."""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib import metadata
from typing import Any

from daetalker.models.bundle import BundleError, find_avatar, load_bundle
from daetalker.streamer.capacity import capacity
from daetalker.streamer.errors import EngineError, StreamerError
from daetalker.streamer.finding import Finding, Status
from daetalker.streamer.hub import profile_of
from daetalker.streamer.plugin import plugin_names
from daetalker.streamer.settings import Settings

PACKAGES = (
    "aiortc",
    "av",
    "numpy",
    "onnxruntime",
    "pydantic-settings",
    "starlette",
    "tomlkit",
    "uvicorn",
    "webrtcvad-wheels",
    "websockets",
)
PLUGIN_CHECK_S = 15.0
OLDEST_PYTHON = (3, 11)
ENCODERS = ("libvpx", "libopus", "libx264", "aac", "png")


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at one thing after another; each is looked at even if others are broken."""
    yield _python()
    yield _packages()
    yield _codecs()
    yield from _avatar_and_speed(settings)
    yield _port(settings)
    yield _network()
    yield _microphone(settings)
    for name in plugin_names():
        yield from _plugin(name, settings)


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """The findings as one JSON object; ``ok`` is False if any is an error."""
    return {
        "ok": all(finding.status != "error" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }


def _python() -> Finding:
    version: tuple[int, ...] = sys.version_info[:3]
    found = ".".join(str(part) for part in version)
    if version < OLDEST_PYTHON:
        return Finding("python", "error", f"Python {found}", "install Python 3.11 or newer")
    return Finding("python", "ok", f"Python {found}")


def _packages() -> Finding:
    missing, versions = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding(
            "packages", "error", "missing: " + ", ".join(missing), "pip install --upgrade daetalker"
        )
    return Finding("packages", "ok", ", ".join(versions))


def _codecs() -> Finding:
    import av

    missing = []
    for name in ENCODERS:
        try:
            av.Codec(name, "w")
        except ValueError:  # PyAV's UnknownCodecError
            missing.append(name)
    if missing:
        return Finding(
            "codecs",
            "error",
            f"PyAV {av.__version__} lacks " + ", ".join(missing),
            "install PyAV's own wheel: pip install --force-reinstall --only-binary av av",
        )
    return Finding("codecs", "ok", f"PyAV {av.__version__} has VP8, Opus, H.264, AAC and PNG")


def _avatar_and_speed(settings: Settings) -> Iterator[Finding]:
    from daetalker.streamer.engine import Engine

    try:
        bundle = load_bundle(find_avatar(settings.avatar))
    except BundleError as error:
        yield Finding(
            "avatar",
            "error",
            str(error),
            "give --avatar a name that `daetalker avatars list` shows, or reinstall",
        )
        return
    manifest = bundle.manifest
    size = f"{manifest.size}x{manifest.size}"
    yield Finding("avatar", "ok", f"{manifest.label} ({size}), checksums right")
    try:
        engine = Engine(bundle, threads=settings.threads)
        timings_ms = engine.warm_up()
    except EngineError as error:
        yield Finding("speed", "error", str(error), "pip install --force-reinstall onnxruntime")
        return
    able = capacity(timings_ms, profile_of(settings))
    times = ", ".join(f"{name} {ms:.1f}" for name, ms in timings_ms.items())
    message = (
        f"{engine.provider}, {settings.threads} threads, tier {able.tier}: one person takes "
        f"{able.share:.0%} of the engine's time (ms: {times})"
    )
    status: Status = "ok" if able.tier == "full" else "warning"
    yield Finding("speed", status, message, able.advice)


def _port(settings: Settings) -> Finding:
    from daetalker.streamer.server import bind
    from daetalker.streamer.settings import SettingsError

    try:
        bind(settings).close()
    except SettingsError as error:
        return Finding(
            "port", "error", str(error), "stop the other program, or serve on another --port"
        )
    return Finding("port", "ok", f"{settings.host} port {settings.port} is free")


def _plugin(name: str, settings: Settings) -> Iterator[Finding]:
    """What a plugin says of itself; one that nobody has asked for is never more than a warning."""
    from daetalker.streamer.plugin import find_plugin
    from daetalker.streamer.settings import SettingsError, plugin_settings

    wanted = name in settings.plugins
    found: list[Finding] = []

    def look() -> None:
        try:
            kind = find_plugin(name)
            own = plugin_settings(kind.Settings, name, settings.plugin.get(name, {}))
            found.extend(kind.examine(own))
        except (StreamerError, SettingsError) as error:
            found.append(Finding(name, "error", str(error), f"see docs/plugins.md for '{name}'"))
        except Exception as error:  # somebody else's code
            found.append(Finding(name, "error", f"its check failed: {error!r}", "tell its author"))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(PLUGIN_CHECK_S)
    if looking.is_alive():
        text = f"its check took longer than {PLUGIN_CHECK_S:.0f} s"
        found = [Finding(name, "error", text, "look at what it connects to")]
    for finding in found or [Finding(name, "ok", "installed")]:
        status: Status = finding.status
        if status == "error" and not wanted:
            status = "warning"
        yield replace(finding, name=f"plugin {finding.name}", status=status)


def _network() -> Finding:
    """WebRTC leaves loopback addresses out, so even one machine needs a network address."""
    addresses = []
    for target, family in (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6)):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))  # a datagram socket: nothing is sent
                address = probe.getsockname()[0]
            except OSError:
                continue
            if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
                addresses.append(address)
    if not addresses:
        return Finding(
            "network",
            "warning",
            "this machine has no network address but loopback, which WebRTC does not use",
            "connect to any network; it need not reach the internet",
        )
    return Finding("network", "ok", f"{len(addresses)} network address(es) for media over UDP")


def _microphone(settings: Settings) -> Finding:
    if settings.tls_cert is not None:
        return Finding("microphone", "ok", "the page is served by https")
    if settings.host in ("127.0.0.1", "::1", "localhost"):
        return Finding("microphone", "ok", "browsers lend the microphone to pages on localhost")
    return Finding(
        "microphone",
        "warning",
        f"on {settings.host} over plain http, browsers lend the microphone to localhost only",
        "set --tls-cert and --tls-key, or put an https proxy in front",
    )
