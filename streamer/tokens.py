"""Tokens: signed words that let in.  A link's works once; a pass works until it expires."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import jwt

from daetalker.streamer.errors import StreamerError
from daetalker.streamer.grants import Grant, GrantKind
from daetalker.streamer.network_settings import MIN_SECRET_CHARACTERS
from daetalker.streamer.settings import Settings, SettingsError
from daetalker.streamer.state_folder import read_private, state_folder, write_private

__all__ = ["TokenError", "Tokens", "open_tokens"]

logger = logging.getLogger(__name__)

SECRET_FILE = "secret"
USED_FOLDER = "used-links"
SECRET_BYTES = 32
_ALGORITHM = "HS256"
_KEPT_S = 60.0
"""Used links are remembered this much longer than they live, for clocks that were set back."""

TokenProblem = Literal["no_token", "expired_token", "used_token"]


class TokenError(StreamerError):
    """A token lets nobody in.

    Attributes:
        reason: why, for the count of refusals.
    """

    def __init__(self, reason: TokenProblem, message: str) -> None:
        super().__init__(message)
        self.reason: TokenProblem = reason


class Tokens:
    """Makes and reads tokens of one secret.

    A token carries its kind (`link` or `pass`), what it grants, when it expires and a number of
    its own, signed with HMAC-SHA256; the library compares signatures in constant time.
    """

    def __init__(
        self,
        secret: str,
        folder: Path | None,
        *,
        pass_hours: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Tokens of a secret.

        Args:
            secret: 32 characters or more.
            folder: where used links are remembered across restarts; None only remembers them here.
            pass_hours: life of the pass that a link is exchanged for.
            now: seconds since 1970.
        """
        self._secret = secret
        self._folder = folder
        self._pass_hours = pass_hours
        self._now = now
        self._used: dict[str, float] = {}

    def make_link(self, grant: Grant, hours: float) -> str:
        """The token of a link that may be opened once within so many hours."""
        return self._sign("link", grant, hours)

    def make_pass(self, grant: Grant, hours: float | None = None) -> str:
        """A token that may be used until it expires: a browser's cookie, or a program's."""
        return self._sign("pass", grant, self._pass_hours if hours is None else hours)

    def read_pass(self, token: str) -> Grant:
        """What a pass grants.

        Raises:
            TokenError: if it is none, or has expired.
        """
        claims = self._read(token)
        if claims["aud"] != "pass":
            raise TokenError("no_token", "This token is a link's: open the link in a browser.")
        return _grant(claims)

    def redeem(self, token: str) -> Grant:
        """What the token in a page's address grants; if it is a link's, it is used up.

        Raises:
            TokenError: if it is none, has expired, or was used before.
        """
        claims = self._read(token)
        if claims["aud"] == "link" and not self._first_use(str(claims["jti"]), claims["exp"]):
            raise TokenError(
                "used_token", "This link has been used: each works once. Ask for another one."
            )
        return _grant(claims)

    def _sign(self, kind: str, grant: Grant, hours: float) -> str:
        claims: dict[str, Any] = {
            "aud": kind,
            "may": grant.kind,
            "exp": int(self._now() + hours * 3600),
            "jti": secrets.token_urlsafe(9),
        }
        if grant.session is not None:
            claims["sid"] = grant.session
        return jwt.encode(claims, self._secret, _ALGORITHM)

    def _read(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=["link", "pass"],
                # The library asks the machine's clock; ours is given.
                options={"require": ["aud", "exp", "jti"], "verify_exp": False},
            )
        except jwt.InvalidTokenError:
            raise TokenError(
                "no_token", "This link or token is not valid here: ask for a new one."
            ) from None
        if claims["exp"] <= self._now():
            raise TokenError("expired_token", "This link or token has expired: ask for a new one.")
        return claims

    def _first_use(self, number: str, expires_s: float) -> bool:
        now_s = self._now()
        for old in [key for key, expiry in self._used.items() if expiry <= now_s]:
            del self._used[old]
        if number in self._used:
            return False
        self._used[number] = expires_s
        return self._folder is None or self._write_down(self._folder, number, expires_s)

    def _write_down(self, folder: Path, number: str, expires_s: float) -> bool:
        """One empty file for each used link: making it fails if any process made it before."""
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            for entry in folder.iterdir():
                if entry.stat().st_mtime + _KEPT_S <= self._now():
                    entry.unlink(missing_ok=True)
            path = folder / number
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            os.utime(path, (expires_s, expires_s))  # until then it must be remembered
        except FileExistsError:
            return False
        except OSError as error:
            logger.warning(
                "cannot write into %s (%s): used links are forgotten when the server stops",
                folder,
                error.strerror,
            )
        return True


def _grant(claims: dict[str, Any]) -> Grant:
    kind: GrantKind = claims["may"]
    if kind not in get_args(GrantKind):
        raise TokenError("no_token", "This token is from another version: ask for a new one.")
    return Grant(kind, claims.get("sid"))


def open_tokens(settings: Settings, now: Callable[[], float] = time.time) -> Tokens:
    """The tokens of the settings' secret, or of the one in the state folder, made if need be.

    Raises:
        SettingsError: if the folder or the secret in it cannot be used.
    """
    folder = state_folder(settings)
    if settings.access_secret is not None:
        secret = settings.access_secret.get_secret_value()
    else:
        secret = _kept_secret(folder / SECRET_FILE)
    return Tokens(secret, folder / USED_FOLDER, pass_hours=settings.token_hours, now=now)


def _kept_secret(path: Path) -> str:
    found = read_private(path)
    if not found:
        write_private(path, secrets.token_urlsafe(SECRET_BYTES).encode(), replace=False)
        found = read_private(path)  # perhaps another server's, which started at the same time
    if found is None or len(found) < MIN_SECRET_CHARACTERS:
        raise SettingsError(f"{path} is damaged: delete it, so that a new secret is made")
    return found.decode(errors="replace")
