"""Settings of the MQTT plugin: TOML table ``[plugin.mqtt]``, environment ``DAETALKER_MQTT_*``.

A password never shows: secrets are `SecretStr`, and what is wrong with one is said without it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from daetalker.streamer.plugin import PluginError, PluginSettings

__all__ = ["MqttSettings", "safe_name"]

_PLAIN, _TLS = 1883, 8883
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ESCAPES = "a /, ? or # in a password is written %2F, %3F or %23"


def safe_name(text: str) -> str:
    """A text made fit for one level of a topic and for Home Assistant: letters, digits, _ and -."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:64] or "server"


def _machine() -> str:
    return safe_name(socket.gethostname())


class MqttSettings(PluginSettings):
    """Where the broker is and what this server is called there."""

    url: SecretStr | None = Field(
        None,
        description="broker in one line, such as mqtts://user:password@host:8883; instead of host, "
        "port, tls, username and password",
    )
    host: str = Field("localhost", min_length=1, description="broker's name or address")
    port: int | None = Field(
        None, ge=1, le=65535, description="broker's TCP port; left out: 1883, with tls 8883"
    )
    username: str | None = Field(None, description="user name, if the broker asks for one")
    password: SecretStr | None = Field(None, description="password; better in password_file")
    password_file: Path | None = Field(None, description="file whose first line is the password")
    tls: bool = Field(False, description="encrypt the connection and check the broker's name")
    ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed the broker's certificate, if it "
        "is not one that this machine trusts anyway"
    )  # fmt: skip
    cert_file: Path | None = Field(None, description="PEM client certificate, if asked for")
    key_file: Path | None = Field(None, description="PEM private key of that certificate")
    insecure: bool = Field(
        False,
        description="accept any certificate: whoever is in between can read and command; for tests",
    )
    node: str = Field(
        default_factory=_machine,
        description="name of this server in the topics: letters, digits, _ and -; left out: the "
        "machine's name",
    )
    prefix: str = Field("daetalker", description="first levels of every topic")
    discovery: bool = Field(True, description="announce the server to Home Assistant")
    discovery_prefix: str = Field(
        "homeassistant", description="first levels of Home Assistant's own topics"
    )
    client_id: str | None = Field(
        None, min_length=1, max_length=128,
        description="name of this client at the broker; left out: daetalker-NODE",
    )  # fmt: skip
    keepalive_s: int = Field(
        20, ge=5, le=3600, description="silence after which the broker is asked for a sign, in s"
    )
    state_interval_s: Annotated[float, Field(ge=0.2, le=60)] = Field(
        1.0, description="shortest time between two states, in s"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_url_apart(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        rest = dict(values)
        given = rest.pop("url", None)
        if not given:
            return rest
        text = given.get_secret_value() if isinstance(given, SecretStr) else str(given)
        for name, value in _parts_of(text).items():
            if rest.get(name) is not None:
                raise ValueError(f"{name} is set twice: in url and by itself; leave one out")
            rest[name] = value
        return rest

    @field_validator("prefix", "discovery_prefix")
    @classmethod
    def _is_topic(cls, value: str) -> str:
        levels = value.split("/")
        if not all(levels) or value.startswith("$") or re.search(r"[+#\x00-\x1f]", value):
            raise ValueError(
                "must be topic levels such as home/talker: no +, no #, no $ at the start and no "
                "/ at either end"
            )
        return value

    @field_validator("node")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("must be 1 to 64 letters, digits, _ or -")
        return value

    @field_validator("password_file", "ca_file", "cert_file", "key_file")
    @classmethod
    def _is_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> MqttSettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("set password or password_file, not both")
        if (self.password or self.password_file) and self.username is None:
            raise ValueError("a password needs a username")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file needs cert_file")
        if not self.tls:
            for name in ("ca_file", "cert_file", "insecure"):
                if getattr(self, name):
                    raise ValueError(f"{name} needs tls = true")
        return self

    @property
    def broker_port(self) -> int:
        """The TCP port, the usual one if none is set."""
        return self.port or (_TLS if self.tls else _PLAIN)

    @property
    def broker(self) -> str:
        """The broker for people: host and port, never a password."""
        return f"{self.host} port {self.broker_port}"

    @property
    def client_name(self) -> str:
        """The same at every start: the broker then drops the connection that a crash left over."""
        return self.client_id or f"daetalker-{self.node}"

    def read_password(self) -> str | None:
        """The password from wherever it is.

        Raises:
            PluginError: if the file cannot be read.
        """
        if self.password_file is not None:
            try:
                lines = self.password_file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
                raise PluginError(
                    f"cannot read password_file {self.password_file}: {why}"
                ) from None
            return lines[0] if lines else ""
        return self.password.get_secret_value() if self.password is not None else None


def _parts_of(url: str) -> dict[str, Any]:
    """The settings that a URL stands for.

    Raises:
        ValueError: without the URL in the message, since a password may be in it.
    """
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"url: its port is not a number from 1 to 65535; {_ESCAPES}") from None
    if parts.scheme not in ("mqtt", "mqtts"):
        raise ValueError("url must start with mqtt:// or, encrypted, mqtts://")
    if not parts.hostname:
        raise ValueError("url names no host; it looks like mqtts://user:password@host:8883")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"url ends with the port; {_ESCAPES}")
    found: dict[str, Any] = {"host": parts.hostname, "tls": parts.scheme == "mqtts"}
    if port is not None:
        found["port"] = port
    if parts.username:
        found["username"] = unquote(parts.username)
    if parts.password is not None:
        found["password"] = SecretStr(unquote(parts.password))
    return found
