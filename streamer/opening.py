"""What the server says of how to reach it when it opens, and the links it gives out."""

from __future__ import annotations

from urllib.parse import urlencode

from daetalker.streamer.grants import Grant
from daetalker.streamer.settings import Settings
from daetalker.streamer.state_folder import read_private, state_folder, write_private
from daetalker.streamer.tls import Certificate, main_address
from daetalker.streamer.tokens import Tokens

__all__ = ["base_url", "keep_address", "kept_address", "link", "opening_lines"]

ADDRESS_FILE = "address"

_EVERYWHERE = ("0.0.0.0", "::")


def base_url(settings: Settings, port: int) -> str:
    """The address under which others reach the page, without a slash at its end."""
    if settings.public_url is not None:
        return settings.public_url
    host = settings.host
    if host in _EVERYWHERE:
        host = main_address() or "localhost"
    if ":" in host:
        host = f"[{host}]"
    return f"{'https' if settings.uses_tls else 'http'}://{host}:{port}"


def link(base: str, tokens: Tokens, grant: Grant, hours: float) -> str:
    """An address that lets one browser in, once."""
    query = {} if grant.session is None else {"watch": grant.session}
    return f"{base}/?{urlencode({**query, 'token': tokens.make_link(grant, hours)})}"


def keep_address(settings: Settings, port: int) -> None:
    """Leave a note of the address for `daetalker link`, which may be told no host and no port."""
    write_private(state_folder(settings) / ADDRESS_FILE, base_url(settings, port).encode())


def kept_address(settings: Settings) -> str:
    """The address of the server that asked for links last, or else that of the settings."""
    found = read_private(state_folder(settings) / ADDRESS_FILE)
    return found.decode() if found else base_url(settings, settings.port)


def opening_lines(
    settings: Settings, port: int, certificate: Certificate | None, tokens: Tokens | None
) -> list[str]:
    """What whoever starts the server should know; one paragraph a line.

    Args:
        tokens: None if nobody is asked for one.
    """
    base = base_url(settings, port)
    lines = []
    if certificate is not None and certificate.made_here:
        what = "A new certificate was" if certificate.renewed else "The certificate was"
        lines.append(
            f"{what} made here, so browsers warn once. Compare its SHA-256 fingerprint there: "
            f"{certificate.fingerprint} (valid until {certificate.expires:%Y-%m-%d})."
        )
    elif certificate is not None:
        lines.append(f"Certificate: SHA-256 fingerprint {certificate.fingerprint}.")
    if tokens is not None:
        hours = settings.token_hours
        lines.append(
            f"Nobody comes in without a link. This one works once, within {hours:g} h, and lets "
            "that browser in for as long; `daetalker link` prints more:"
        )
        lines.append(f"  {link(base, tokens, Grant('talk'), hours)}")
    elif settings.beyond_loopback:
        lines.append(
            f"Warning: access is open: whoever reaches {base} may talk here, without any token. "
            "Leave out --access open to ask for one."
        )
    proxied = settings.public_url is not None and settings.public_url.startswith("https://")
    if settings.beyond_loopback and not settings.uses_tls and not proxied:
        lines.append(
            "Warning: plain http: links and voices can be read on the way, and browsers lend the "
            "microphone only to localhost and to https. Leave out --tls off, or set public_url to "
            "the https address of the proxy in front."
        )
    return lines
