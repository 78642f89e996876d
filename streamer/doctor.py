"""`daetalker doctor`: is this machine ready, and if not, what to do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from daetalker.models.bundle import BundleError, find_avatar, load_bundle
from daetalker.streamer import doctor_access, doctor_machine, doctor_network
from daetalker.streamer.capacity import capacity
from daetalker.streamer.errors import EngineError, StreamerError
from daetalker.streamer.finding import Finding, Status
from daetalker.streamer.hub import profile_of
from daetalker.streamer.plugin import plugin_names
from daetalker.streamer.profile import PROFILES
from daetalker.streamer.settings import Settings

PLUGIN_CHECK_S = 15.0

MANY_CLIENTS = 8
"""What memory and files are held against where the settings name no number."""


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at one thing after another; each is looked at even if others are broken."""
    yield doctor_machine.python()
    yield doctor_machine.packages()
    yield doctor_machine.codecs()
    yield _processors(settings)
    yield from _avatar_and_speed(settings)
    clients = settings.max_clients or MANY_CLIENTS
    yield doctor_machine.memory(clients, limit_mib=doctor_machine.memory_limit_mib())
    yield doctor_machine.files(clients)
    yield doctor_machine.clock()
    yield doctor_network.port(settings)
    addresses = doctor_network.addresses()
    yield doctor_network.network(addresses)
    yield doctor_network.udp(addresses)
    yield from doctor_network.ice(settings)
    yield doctor_access.microphone(settings)
    certificate = doctor_access.certificate(settings)
    if certificate is not None:
        yield certificate
    yield from doctor_access.access(settings)
    yield doctor_access.state(settings)
    for name in plugin_names():
        yield from _plugin(name, settings)


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """The findings as one JSON object; ``ok`` is False if any is an error."""
    return {
        "ok": all(finding.status != "error" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }


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
        # On one thread, as the server's workers run side by side.
        engine = Engine(bundle, threads=1)
        timings_ms = engine.warm_up()
    except EngineError as error:
        yield Finding("speed", "error", str(error), "pip install --force-reinstall onnxruntime")
        return
    able = capacity(timings_ms, profile_of(settings), settings.threads)
    times = ", ".join(f"{name} {ms:.1f}" for name, ms in timings_ms.items())
    message = (
        f"{engine.provider}, {settings.threads} threads, tier {able.tier}: one person takes "
        f"{able.share:.0%} of the engine's time, about {able.people} at full rate (ms: {times})"
    )
    status: Status = "ok" if able.tier == "full" else "warning"
    yield Finding("speed", status, message, able.advice)
    yield low_latency(timings_ms, settings)


def low_latency(timings_ms: Mapping[str, float], settings: Settings) -> Finding:
    """Is this machine fast enough for the profile ``low_latency``?

    It hears more often, so it costs more; and a hop's networks, one after the other, must be done
    within the allowance.

    Args:
        timings_ms: of the networks at warm-up, by name.
    """
    profile = PROFILES["low_latency"]
    able = capacity(timings_ms, profile, settings.threads)
    chain_ms = sum(timings_ms.values())
    allowed_ms = settings.allowance_ms or profile.allowance_s * 1000
    text = (
        f"one person would take {able.share:.0%}, a hop {chain_ms:.0f} of the {allowed_ms:.0f} ms "
        "that it may"
    )
    if able.tier == "full" and chain_ms <= allowed_ms:
        return Finding("low latency", "ok", f"--profile low_latency works here: {text}")
    text = f"--profile low_latency is too much for this machine: {text}"
    if settings.profile != "low_latency":
        return Finding("low latency", "ok", text)
    return Finding("low latency", "warning", text, "serve with --profile default")


def _processors(settings: Settings) -> Finding:
    import onnxruntime

    usable = len(os.sched_getaffinity(0))
    available = tuple(onnxruntime.get_available_providers())
    return doctor_machine.processors(settings.threads, usable, available, os.getloadavg()[0])


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
