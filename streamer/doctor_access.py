"""What `daetalker doctor` asks of the way in: https, names, tokens, the folder of secrets."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from daetalker.streamer.addresses import LOCAL_NAMES
from daetalker.streamer.finding import Finding
from daetalker.streamer.settings import Settings, SettingsError
from daetalker.streamer.state_folder import state_path
from daetalker.streamer.tls import CERTIFICATE_FILE, certificate_of, names_in

__all__ = ["access", "certificate", "microphone", "state"]

RENEW_DAYS = 14
SHORTEST_TOKEN = 16
_MAKE_SECRET = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


def microphone(settings: Settings) -> Finding:
    """Will browsers lend their microphone to the page, where people open it?"""
    where = _host_of_page(settings)
    if where is not None and where not in LOCAL_NAMES:
        if urlsplit(settings.public_url or "").scheme == "https":
            return Finding("microphone", "ok", f"people open {settings.public_url}, which is https")
        return Finding(
            "microphone",
            "error",
            f"public_url is {settings.public_url}: browsers refuse the microphone to plain http",
            "put https in front, and set public_url to its address",
        )
    if settings.uses_tls:
        return Finding("microphone", "ok", "the page is served by https")
    if not settings.beyond_loopback:
        return Finding("microphone", "ok", "browsers lend the microphone to pages on localhost")
    return Finding(
        "microphone",
        "warning",
        f"on {settings.host} over plain http, browsers lend the microphone to localhost only",
        "leave --tls at auto, set --tls-cert and --tls-key, or put an https proxy in front and "
        "set public_url",
    )


def certificate(settings: Settings, now: datetime.datetime | None = None) -> Finding | None:
    """Is the certificate one that browsers will take?  None if the server needs none."""
    if not settings.uses_tls:
        return None
    now = now or datetime.datetime.now(datetime.UTC)
    if settings.tls_cert is None:
        made = state_path(settings) / CERTIFICATE_FILE
        text = "made here" if made.exists() else "will be made at the first start"
        return Finding(
            "certificate",
            "ok",
            f"{text}; browsers warn of it once, and the start prints its fingerprint to compare",
        )
    try:
        found = certificate_of(settings, now=now)
        assert found is not None
        names = names_in(x509.load_pem_x509_certificate(settings.tls_cert.read_bytes()))
    except SettingsError as error:
        return Finding("certificate", "error", str(error), "give a certificate and its own key")
    days = (found.expires - now).days
    where = _host_of_page(settings)
    if where is not None and not any(_covers(name, where) for name in names):
        return Finding(
            "certificate",
            "error",
            f"it is for {', '.join(names) or 'no name'}, and people open {where}",
            f"get one for {where}, or set public_url to a name that it has",
        )
    if days < RENEW_DAYS:
        return Finding(
            "certificate",
            "warning",
            f"it expires in {days} days",
            "renew it, and start the server again: it reads it at the start",
        )
    return Finding("certificate", "ok", f"for {', '.join(names)}; expires in {days} days")


def access(settings: Settings) -> Iterator[Finding]:
    """Who may come in, and are the secrets worth the name?"""
    found = list(_doubts(settings))
    if not found:
        who = "who has a link or token" if settings.needs_token else "everybody on this machine"
        if settings.beyond_loopback and not settings.needs_token:
            who = "everybody who reaches it"
        found = [Finding("access", "ok", f"lets in {who}")]
    yield from found


def _doubts(settings: Settings) -> Iterator[Finding]:
    if settings.beyond_loopback and not settings.needs_token:
        yield Finding(
            "access",
            "warning",
            f"{settings.host} is open: whoever reaches it may talk, and take its places",
            "leave --access at auto, so that people need the link that the start prints",
        )
    encrypted = settings.uses_tls or urlsplit(settings.public_url or "").scheme == "https"
    if settings.needs_token and settings.beyond_loopback and not encrypted:
        yield Finding(
            "access",
            "warning",
            "tokens travel over plain http, where others on the way can read them",
            "leave --tls at auto; or name the https proxy in front with public_url",
        )
    token = settings.control_token
    if token is not None and len(token.get_secret_value()) < SHORTEST_TOKEN:
        yield Finding(
            "access",
            "warning",
            f"control_token has fewer than {SHORTEST_TOKEN} characters and can be guessed",
            f"take another: {_MAKE_SECRET}",
        )
    if settings.turn_username:
        yield Finding(
            "access",
            "warning",
            "every client is told the TURN server's fixed password, and may keep using it",
            "give coturn use-auth-secret and set turn_secret instead of turn_username",
        )


def state(settings: Settings) -> Finding:
    """Can the server keep its secrets, and nobody else read them?"""
    folder = state_path(settings)
    if not folder.exists():
        there = next(parent for parent in folder.parents if parent.exists())
        if os.access(there, os.W_OK | os.X_OK):
            return Finding("state folder", "ok", f"{folder} will be made")
        return Finding(
            "state folder",
            "error",
            f"{folder} cannot be made: {there} is not writable",
            "set --state-folder to one that can be written",
        )
    if not folder.is_dir():
        return Finding("state folder", "error", f"{folder} is a file", f"move it: mv {folder} ...")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            "state folder",
            "error",
            f"{folder} is not writable for this user",
            f"sudo chown $(id -u) {folder}, or set --state-folder to another",
        )
    told = [path for path in _files(folder) if path.stat().st_mode & 0o077]
    if told:
        names = " ".join(str(path) for path in told)
        return Finding(
            "state folder",
            "error",
            f"other users of this machine can read {', '.join(path.name for path in told)}",
            f"rm {names} (new ones are made; links given out are void)",
        )
    if folder.stat().st_mode & 0o077:
        return Finding(
            "state folder", "warning", f"others may look into {folder}", f"chmod 700 {folder}"
        )
    return Finding("state folder", "ok", f"{folder}, for this user only")


def _files(folder: Path) -> list[Path]:
    """The server's private files; avatars and recordings are folders, presets nobody's secret."""
    return sorted(
        path for path in folder.iterdir() if path.is_file() and path.suffix in ("", ".pem", ".json")
    )


def _host_of_page(settings: Settings) -> str | None:
    """The name that people put into the browser; None if it can be any of this machine's."""
    if settings.public_url is not None:
        return urlsplit(settings.public_url).hostname
    return None


def _covers(name: str, host: str) -> bool:
    if name.startswith("*."):
        return host.partition(".")[2].lower() == name[2:].lower()
    return name.lower() == host.lower()
