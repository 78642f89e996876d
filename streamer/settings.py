"""Settings of the server: read once, checked, frozen and passed down.

Sources, strongest first: command-line flags, environment ``DAETALKER_*``, a TOML file
(``--config``, ``DAETALKER_CONFIG``, or ``daetalker.toml`` in the working folder), the defaults
below.  Nothing else in the project reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from daetalker.streamer.errors import StreamerError

ENV_PREFIX = "DAETALKER_"
CONFIG_ENV = "DAETALKER_CONFIG"
DEFAULT_CONFIG = Path("daetalker.toml")

NameList = Annotated[tuple[str, ...], NoDecode]


class SettingsError(StreamerError, ValueError):
    """A setting is wrong; the message names it, its source's spelling and what it must be."""


class Settings(BaseSettings):
    """Everything that can be set.  Each description starts with what it is and names the unit."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every network")
    port: int = Field(8080, ge=0, le=65535, description="TCP port; 0 takes any free one")
    tls_cert: Path | None = Field(
        None,
        description="PEM certificate file for https, which browsers demand before they lend the "
        "microphone to any page that is not on localhost",
    )
    tls_key: Path | None = Field(None, description="PEM private key file of that certificate")
    allowed_origins: NameList = Field(
        (),
        description="further web origins whose pages may open a session, comma separated, such as "
        "https://talk.example.org; the page's own origin always may",
    )
    avatar: str = Field("mira", description="avatar's name, or the folder of a bundle")
    profile: Literal["default", "low_latency"] = Field(
        "default", description="how speech is cut: default (steadier) or low_latency (sooner)"
    )
    allowance_ms: float | None = Field(
        None,
        ge=10,
        le=2000,
        description="time kept for computing before a frame is due, in milliseconds; more is "
        "steadier, less is sooner; left out: the profile's own",
    )
    max_clients: int = Field(4, ge=1, le=256, description="people served at the same time")
    threads: int = Field(2, ge=1, le=64, description="processor threads a network may use")
    video_kbit_s: int = Field(
        2000, ge=100, le=20000, description="bit rate of the video at the start, in kbit/s"
    )
    stun_servers: NameList = Field(
        (),
        description="STUN servers, comma separated, such as stun:stun.example.org:3478; none are "
        "needed on one machine or one local network",
    )
    turn_server: str | None = Field(
        None, description="TURN server, such as turn:turn.example.org:3478, for strict firewalls"
    )
    turn_username: str = Field("", description="user name for the TURN server")
    turn_credential: str = Field("", description="password for the TURN server; sent to clients")
    lost_after_s: float = Field(
        12.0, ge=2, le=120, description="silence on the network after which a client is gone, in s"
    )
    presets: Path | None = Field(
        None,
        description="TOML file of your own head poses; left out: presets.toml in the user's "
        "configuration folder",
    )
    voice_folder: Path | None = Field(
        None, description="folder of the speech files that the command 'say' may name"
    )
    plugins: NameList = Field(
        (),
        description="plugins to load, comma separated, such as recorder,mqtt; their own settings "
        "are tables [plugin.NAME] of the TOML file or variables DAETALKER_NAME_SETTING",
    )
    # Not shown where settings are printed: there may be passwords in it.
    plugin: dict[str, dict[str, Any]] = Field(
        {}, description="the tables [plugin.NAME]", repr=False
    )
    control_token: SecretStr | None = Field(
        None,
        description="secret that programs must send to list, watch and steer sessions that are "
        "not theirs (Authorization: Bearer ..., or ?token=); without one only programs on this "
        "machine may, and only while the server listens on localhost",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="how much is logged: debug, info, warning or error"
    )
    bench_log: Path | None = Field(
        None, description="file for the raw times of one session, written by `daetalker bench`"
    )

    @field_validator("allowed_origins", "stun_servers", "plugins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
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

    @field_validator("turn_server")
    @classmethod
    def _is_turn(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("turn:", "turns:")):
            raise ValueError("must start with turn: or turns:")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _is_origin(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ValueError(f"'{origin}' must look like https://talk.example.org")
        return value

    @field_validator("voice_folder")
    @classmethod
    def _is_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"there is no folder {value}")
        return value

    @field_validator("tls_cert", "tls_key")
    @classmethod
    def _is_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @model_validator(mode="after")
    def _has_both_tls_files(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key must be set together")
        return self

    @property
    def ice_servers(self) -> list[dict[str, Any]]:
        """STUN and TURN servers as the browser's ``iceServers`` wants them."""
        servers: list[dict[str, Any]] = [{"urls": [server]} for server in self.stun_servers]
        if self.turn_server is not None:
            servers.append(
                {
                    "urls": [self.turn_server],
                    "username": self.turn_username,
                    "credential": self.turn_credential,
                }
            )
        return servers


def load_settings(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> Settings:
    """Read the settings from every source.

    Args:
        flags: values from the command line by field name; they win.
        config: TOML file; None looks at ``DAETALKER_CONFIG``, then for ``daetalker.toml``.

    Raises:
        SettingsError: one sentence naming the setting and what is wrong with it.
    """
    path = config or (Path(os.environ[CONFIG_ENV]) if os.environ.get(CONFIG_ENV) else None)
    if path is not None and not path.is_file():
        raise SettingsError(f"there is no settings file {path}")
    toml_file = path or DEFAULT_CONFIG

    class Sources(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file)

    try:
        values = Sources(**(flags or {})).model_dump()
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None
    except (OSError, ValueError) as error:  # tomllib.TOMLDecodeError is a ValueError
        raise SettingsError(f"{toml_file} is not a readable TOML file: {error}") from None
    return Settings.model_construct(**values)


_OwnSettings = TypeVar("_OwnSettings", bound=BaseModel)


def plugin_settings(model: type[_OwnSettings], name: str, table: Mapping[str, Any]) -> _OwnSettings:
    """A plugin's own settings: ``DAETALKER_NAME_FIELD`` in the environment, over its TOML table.

    Raises:
        SettingsError: one sentence naming the setting and what is wrong with it.
    """
    values = dict(table)
    for field in model.model_fields:
        if (given := os.environ.get(f"{ENV_PREFIX}{name}_{field}".upper())) is not None:
            values[field] = given
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields) or "none"
            problem = f"there is no such setting; there are: {known}"
        variable = f" ({ENV_PREFIX}{name}_{where})".upper() if where else ""
        place = f"[plugin.{name}] {where}".rstrip()
        raise SettingsError(f"{place}{variable}: {problem[0].lower() + problem[1:]}") from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return f"there is no setting '{name}'; `daetalker serve --help` lists them all"
    problem = first["msg"].removeprefix("Value error, ")
    if not name:
        return problem
    flag = "--" + name.replace("_", "-")
    if first["type"] == "value_error":
        return f"setting {name} ({flag}, {ENV_PREFIX}{name.upper()}): {problem}"
    given = first["input"]
    problem = problem[0].lower() + problem[1:]
    return f"setting {name} ({flag}, {ENV_PREFIX}{name.upper()}): {problem}, not {given!r}"
