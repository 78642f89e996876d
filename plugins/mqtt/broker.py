"""One connection to a broker: made with every answer timed, closed whatever happens.

MQTT 3.1.1: every broker speaks it, and what we use is all there: last will, retained messages and
the flag that marks them, confirmed delivery, refused subscriptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from daetalker.plugins.mqtt.outbox import Post
from daetalker.plugins.mqtt.settings import MqttSettings
from daetalker.streamer.plugin import MissingExtra, PluginError

if TYPE_CHECKING:
    import aiomqtt

__all__ = ["TIMEOUT_S", "Trouble", "check", "connected", "reach", "trouble_of"]

TIMEOUT_S = 5.0
"""For each answer of the broker.  One that hangs is noticed with the next state."""

_NOT_WELCOME = (4, 5, 134, 135)  # as MQTT 3.1.1 and as MQTT 5 number them
_LEAVE_S = 0.5
_INCOMING = 200

# The libraries log what they raise anyway, and each surplus message that they drop.
_wire = logging.getLogger(f"{__name__}.wire")
_wire.setLevel(logging.CRITICAL)


def check(settings: MqttSettings) -> None:
    """Whether a connection can be tried at all.

    Raises:
        MissingExtra: without aiomqtt.
        PluginError: if the password or the certificates cannot be read.
    """
    try:
        import aiomqtt  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtra("mqtt", "aiomqtt") from None
    settings.read_password()
    _tls_context(settings)


@contextlib.asynccontextmanager
async def connected(
    settings: MqttSettings,
    client_name: str,
    will: Post | None = None,
    timeout_s: float | None = None,
) -> AsyncIterator[aiomqtt.Client]:
    """A connected client.

    Args:
        client_name: the broker drops an older connection of the same name.
        will: what the broker publishes when the connection breaks.
        timeout_s: for each answer; None for `TIMEOUT_S`.

    Raises:
        aiomqtt.MqttError: if the broker refuses or does not answer, or later if it goes.
        OSError: if it cannot be reached, or the password or the certificates not be read any more.
    """
    import aiomqtt

    try:
        password, tls_context = settings.read_password(), _tls_context(settings)
    except PluginError as error:
        raise _Unreadable(str(error)) from None
    await reach(settings)
    client = aiomqtt.Client(
        settings.host,
        settings.broker_port,
        username=settings.username,
        password=password,
        identifier=client_name,
        logger=_wire,
        # Retained messages bring back what matters; commands from before are nobody's wish now.
        clean_session=True,
        will=aiomqtt.Will(will.topic, will.payload, 1, will.retain) if will else None,
        keepalive=settings.keepalive_s,
        timeout=timeout_s or TIMEOUT_S,
        # Full: what comes is dropped; somebody sends faster than commands can be done.
        max_queued_incoming_messages=_INCOMING,
        tls_context=tls_context,
    )
    try:
        await _enter(client)
        yield client
    finally:
        await _leave(client)


async def _enter(client: aiomqtt.Client) -> None:
    """Connect.  aiomqtt does so in a thread that nothing can stop, so that is waited for."""
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        await asyncio.wait({entering}, timeout=_LEAVE_S)
        # The socket goes first: closing it after the cancellation makes aiomqtt stumble.
        await _leave(client)
        if not entering.cancel():
            entering.exception()  # taken notice of, so that asyncio does not report it
        raise


async def _leave(client: aiomqtt.Client) -> None:
    """Close the connection; may be called again, and where entering has failed.

    aiomqtt leaves the socket open then.
    """
    import aiomqtt

    client.timeout = _LEAVE_S
    with contextlib.suppress(aiomqtt.MqttError):
        await client.__aexit__(None, None, None)


async def reach(settings: MqttSettings) -> None:
    """Connect as far as TCP and TLS go, and hang up.

    aiomqtt would find out too, but in a thread that keeps the program from ending meanwhile, and
    it forgets to close what TLS refuses.

    Raises:
        OSError: `ssl.SSLError` and TimeoutError among them.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(
                settings.host, settings.broker_port, ssl=_tls_context(settings)
            )
    except UnicodeError:  # a label of more than 63 letters, for example
        raise socket.gaierror(f"{settings.host} cannot be a name") from None
    # Not a polite farewell: who hangs may not answer that either.
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class _Unreadable(OSError):
    """The password or a certificate has gone since the start."""


class Trouble(NamedTuple):
    """Why there is no connection.

    Attributes:
        kind: ``away`` passes by itself, perhaps; the others wait for a person.
        text: part of a sentence, for people, without any secret.
    """

    kind: Literal["away", "login", "tls", "files"]
    text: str


def trouble_of(error: BaseException, settings: MqttSettings) -> Trouble:
    """What an exception of `connected`, or a group of them, means."""
    broker = f"the broker at {settings.broker}"
    cause = next(_leaves(error))
    text = str(cause)
    if isinstance(cause, _Unreadable):
        return Trouble("files", text)
    if getattr(getattr(cause, "rc", None), "value", None) in _NOT_WELCOME:
        return Trouble("login", f"{broker} does not accept this user name and password")
    if isinstance(cause, ssl.SSLCertVerificationError):
        detail = cause.verify_message.rstrip(".")
        return Trouble("tls", f"the certificate of {broker} is not trusted: {detail}")
    if settings.tls and isinstance(cause, ssl.SSLError | ConnectionResetError):
        return Trouble("tls", f"{broker} breaks the encryption off; is this its port for TLS?")
    if isinstance(cause, socket.gaierror):
        return Trouble("away", f"there is no machine called {settings.host}")
    if isinstance(cause, ConnectionRefusedError):
        return Trouble("away", f"nothing listens at {settings.broker}")
    if isinstance(cause, TimeoutError):
        return Trouble("away", f"{broker} does not answer")
    if "timed out" in text:  # after TCP and TLS did answer
        hint = "a client certificate" if settings.tls else "TLS"
        return Trouble(
            "away", f"{broker} takes connections but does not answer: it hangs, or wants {hint}"
        )
    if isinstance(cause, OSError) and text:
        return Trouble("away", f"{broker} cannot be reached: {text}")
    return Trouble("away", f"{broker} has closed the connection")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise PluginError(
            "the certificates for the broker cannot be read; check ca_file, cert_file and "
            f"key_file: {error.strerror or error}"
        ) from None
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
