"""Examine: what `daetalker doctor` says of the broker."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Iterator

from daetalker.plugins.mqtt.broker import check, connected, reach, trouble_of
from daetalker.plugins.mqtt.settings import MqttSettings
from daetalker.streamer.finding import Finding
from daetalker.streamer.plugin import MissingExtra, PluginError

__all__ = ["examine"]

_PATIENCE_S = 3.0
_ANSWER_S = 2.2

_START = (
    "start the broker (mosquitto: sudo systemctl start mosquitto), or correct host, port and "
    "tls in [plugin.mqtt]"
)
_LOGIN = "correct username and password_file, or tls and ca_file, in [plugin.mqtt]"


def examine(settings: MqttSettings) -> Iterator[Finding]:
    """Look at one thing after another; the first that is wrong hides what needs it."""
    try:
        check(settings)
    except MissingExtra as error:
        yield Finding("mqtt", "error", "aiomqtt is not installed", str(error).partition(": ")[2])
        return
    except PluginError as error:
        yield Finding("mqtt", "error", str(error), "correct [plugin.mqtt] in the settings")
        return
    yield _broker(settings)
    yield from _security(settings)


def _security(settings: MqttSettings) -> Iterator[Finding]:
    if settings.insecure:
        yield Finding(
            "mqtt security",
            "warning",
            "any certificate of a broker is accepted",
            "set ca_file to the authority's certificate instead of insecure = true",
        )
    local = settings.host in ("localhost", "127.0.0.1", "::1")
    if settings.username is not None and not settings.tls and not local:
        yield Finding(
            "mqtt security",
            "warning",
            f"the password goes to {settings.host} unencrypted",
            "let the broker listen with TLS and set tls = true",
        )


def _broker(settings: MqttSettings) -> Finding:
    """In a thread of its own, as name look-ups block and the caller may have a loop already."""
    found: list[Finding] = []
    thread = threading.Thread(
        target=lambda: found.append(asyncio.run(_visit(settings))), daemon=True
    )
    thread.start()
    thread.join(_PATIENCE_S)
    if found:
        return found[0]
    return Finding(
        "mqtt",
        "error",
        f"the broker at {settings.broker} does not answer within {_PATIENCE_S:.0f} s",
        _START,
    )


async def _visit(settings: MqttSettings) -> Finding:
    import aiomqtt

    # Under its own name the broker would throw a server out that is running.
    name = f"daetalker-doctor-{secrets.token_hex(4)}"
    try:
        async with asyncio.timeout(_ANSWER_S):
            await reach(settings)
            async with connected(settings, name, timeout_s=_ANSWER_S / 2):
                pass
    except (aiomqtt.MqttError, OSError) as error:  # TimeoutError is an OSError
        trouble = trouble_of(error, settings)
        fix = _START if trouble.kind == "away" else _LOGIN
        return Finding("mqtt", "error", trouble.text, fix)
    who = f"as {settings.username}" if settings.username else "without a password"
    how = " over TLS" if settings.tls else ""
    return Finding("mqtt", "ok", f"the broker at {settings.broker} lets us in {who}{how}")
