"""Settings of how the server is reached: address, TLS, who may, limits, ICE servers."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from daetalker.streamer.addresses import LOCAL_NAMES, is_loopback

__all__ = ["MIN_SECRET_CHARACTERS", "NameList", "NetworkSettings"]

NameList = Annotated[tuple[str, ...], NoDecode]

MIN_SECRET_CHARACTERS = 32
_TURN = re.compile(r"turns?:[^\s?/@]+(\?transport=(udp|tcp))?")


class NetworkSettings(BaseSettings):
    """The part of `Settings` that docs/security.md is about."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every network")
    port: int = Field(8080, ge=0, le=65535, description="TCP port; 0 takes any free one")
    access: Literal["auto", "token", "open"] = Field(
        "auto",
        description="who may come in: open lets everybody, token only who has a link or token, "
        "auto is open on localhost and token beyond it",
    )
    token_hours: float = Field(
        12.0,
        gt=0,
        le=24 * 366,
        description="hours for which a link may be opened, and for which a browser is let in "
        "after it was",
    )
    tls: Literal["auto", "off"] = Field(
        "auto",
        description="auto: https beyond localhost, with a certificate made here if tls_cert is "
        "not set; off: plain http, for a proxy that does https",
    )
    tls_cert: Path | None = Field(
        None,
        description="PEM certificate file for https, which browsers demand before they lend the "
        "microphone to any page that is not on localhost",
    )
    tls_key: Path | None = Field(None, description="PEM private key file of that certificate")
    public_url: str | None = Field(
        None,
        description="address at which people reach the page, if it is not this machine's own: "
        "that of a proxy, such as https://talk.example.org",
    )
    trusted_proxies: NameList = Field(
        (),
        description="addresses or networks of proxies whose X-Forwarded-For is believed, comma "
        "separated, such as 127.0.0.1,10.0.0.0/8",
    )
    allowed_origins: NameList = Field(
        (),
        description="further web origins whose pages may open a session, comma separated, such as "
        "https://talk.example.org; the page's own origin always may",
    )
    state_folder: Path | None = Field(
        None,
        description="folder for the secret of the links and the generated certificate; left out: "
        "daetalker in $XDG_STATE_HOME or ~/.local/state",
    )
    access_secret: SecretStr | None = Field(
        None,
        description="secret that signs links and tokens, 32 characters or more; left out: one is "
        "made and kept in state_folder",
    )
    control_token: SecretStr | None = Field(
        None,
        description="secret that programs must send to list, watch and steer sessions that are "
        "not theirs (Authorization: Bearer ..., or ?token=); without one only programs on this "
        "machine may, and only while the server listens on localhost",
    )
    max_per_address: int = Field(
        16,
        ge=1,
        le=10_000,
        description="WebSockets that one address may have open at once; a /64 network of IPv6 "
        "counts as one address",
    )
    session_minutes: float | None = Field(
        None, gt=0, description="minutes after which a session ends; left out: no limit"
    )
    stun_servers: NameList = Field(
        (),
        description="STUN servers, comma separated, such as stun:stun.example.org:3478; none are "
        "needed on one machine or one local network",
    )
    turn_servers: NameList = Field(
        (),
        description="TURN servers for strict firewalls, comma separated, such as "
        "turn:turn.example.org:3478,turns:turn.example.org:443?transport=tcp",
    )
    turn_secret: SecretStr | None = Field(
        None,
        description="secret shared with the TURN servers (coturn's static-auth-secret), from "
        "which each session gets a user name and password of its own that expire",
    )
    turn_hours: float = Field(
        12.0, gt=0, le=24 * 7, description="hours after which those expire; longer than a session"
    )
    turn_username: str = Field(
        "", description="user name for TURN servers with fixed ones, instead of turn_secret"
    )
    turn_credential: SecretStr = Field(
        SecretStr(""), description="password that goes with it; every client is told"
    )

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines can reach the server's port."""
        return not (self.host in LOCAL_NAMES or is_loopback(self.host))

    @property
    def needs_token(self) -> bool:
        """Whether nobody comes in without a link or token."""
        return self.access == "token" or (self.access == "auto" and self.beyond_loopback)

    @property
    def uses_tls(self) -> bool:
        """Whether the server itself speaks https."""
        return self.tls_cert is not None or (self.tls == "auto" and self.beyond_loopback)

    @field_validator(
        "allowed_origins", "stun_servers", "turn_servers", "trusted_proxies", mode="before"
    )
    @classmethod
    def _split_lists(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("stun_servers")
    @classmethod
    def _is_stun(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            if not server.startswith(("stun:", "stuns:")):
                raise ValueError(f"'{server}' must start with stun: or stuns:")
        return value

    @field_validator("turn_servers")
    @classmethod
    def _is_turn(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            if not _TURN.fullmatch(server):
                raise ValueError(
                    f"'{server}' must look like turn:turn.example.org:3478 or "
                    "turns:turn.example.org:443?transport=tcp"
                )
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _is_network(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            try:
                ipaddress.ip_network(proxy, strict=False)
            except ValueError:
                raise ValueError(
                    f"'{proxy}' must be an address such as 127.0.0.1, or a network "
                    "such as 10.0.0.0/8"
                ) from None
        return value

    @field_validator("public_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError(f"'{value}' must look like https://talk.example.org")
        return value.rstrip("/")

    @field_validator("allowed_origins")
    @classmethod
    def _is_origin(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ValueError(f"'{origin}' must look like https://talk.example.org")
        return value

    @field_validator("tls_cert", "tls_key")
    @classmethod
    def _is_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @field_validator("access_secret")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_SECRET_CHARACTERS:
            raise ValueError(f"it must have {MIN_SECRET_CHARACTERS} characters or more")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> NetworkSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key must be set together")
        if self.turn_secret is not None and self.turn_username:
            raise ValueError("turn_secret makes its own user names: leave turn_username out")
        if (self.turn_secret is not None or self.turn_username) and not self.turn_servers:
            raise ValueError("turn_secret and turn_username are for turn_servers, which is not set")
        if self.turn_secret is not None and (self.session_minutes or 0) > self.turn_hours * 60:
            raise ValueError("turn_hours must be longer than session_minutes")
        return self
