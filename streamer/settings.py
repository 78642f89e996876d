"""Settings of the server: read once, checked, frozen and passed down.

Sources, strongest first: command-line flags, environment ``DAETALKER_*``, a TOML file
(``--config``, ``DAETALKER_CONFIG``, or ``daetalker.toml`` in the working folder), the defaults
below.  Nothing else in the project reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from daetalker.streamer.errors import StreamerError
from daetalker.streamer.mark import Mark
from daetalker.streamer.network_settings import NameList, NetworkSettings

ENV_PREFIX = "DAETALKER_"
CONFIG_ENV = "DAETALKER_CONFIG"
DEFAULT_CONFIG = Path("daetalker.toml")

SECRET_NAMES = ("credential", "password", "secret", "token")


class SettingsError(StreamerError, ValueError):
    """A setting is wrong; the message names it, its source's spelling and what it must be."""


class Settings(NetworkSettings):
    """Everything that can be set.  Each description starts with what it is and names the unit."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

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
    max_clients: int | None = Field(
        None,
        ge=1,
        le=256,
        description="most people served at the same time; left out: as many as the computer can "
        "serve without dropping frames",
    )
    admission: Literal["measured", "off"] = Field(
        "measured",
        description="measured: a client that would take frames from the others is refused; off: "
        "only max_clients counts",
    )
    threads: int = Field(
        2, ge=1, le=64, description="processor threads of the networks, and jobs done side by side"
    )
    video_kbit_s: int = Field(
        2000, ge=100, le=20000, description="bit rate of the video at the start, in kbit/s"
    )
    mark: str = Field(
        "AI",
        description="text drawn small into every picture, so that whoever sees it knows that it "
        "is synthetic: letters, digits and signs of ASCII, 32 at most; '' draws none",
    )
    mark_corner: Literal["top-left", "top-right", "bottom-left", "bottom-right"] = Field(
        "bottom-right",
        description="where it is drawn: top-left, top-right, bottom-left or bottom-right",
    )
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
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="how much is logged: debug, info, warning or error"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="text for people, or json: one object a line, for machines"
    )
    bench_log: Path | None = Field(
        None,
        description="folder for the raw times and voices of the sessions, which only `daetalker "
        "bench` should ask for",
    )

    @field_validator("plugins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("mark")
    @classmethod
    def _can_be_drawn(cls, value: str) -> str:
        return Mark(value).text

    @field_validator("voice_folder")
    @classmethod
    def _is_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"there is no folder {value}")
        return value

    def secrets(self) -> list[str]:
        """Words that no log may contain, those of the plugins' tables included."""
        words = []
        own = ((name, getattr(self, name, None)) for name in type(self).model_fields)
        for name, value in chain(own, *(table.items() for table in self.plugin.values())):
            if isinstance(value, SecretStr):
                words.append(value.get_secret_value())
            elif isinstance(value, str) and name.endswith(SECRET_NAMES):
                words.append(value)
        return words


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
