"""Discovery: what Home Assistant (2024.11 or newer) is told, so that it shows us as one device."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from daetalker.plugins.mqtt.commands import AXES
from daetalker.plugins.mqtt.topics import Topics
from daetalker.streamer.protocol import AvatarInfo, PresetInfo

__all__ = ["Shown", "describe"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Shown:
    """What is shown of the avatar.

    Attributes:
        presets: names to choose from.
        limits_deg: smallest and largest angle by axis.
    """

    label: str
    presets: tuple[str, ...]
    limits_deg: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, avatar: AvatarInfo, presets: Iterable[PresetInfo]) -> Shown:
        """From what the server tells."""
        limits = {axis: tuple(limit) for axis, limit in avatar.pose_range.model_dump().items()}
        return cls(avatar.label, tuple(preset.name for preset in presets), limits)


def describe(topics: Topics, shown: Shown, url: str) -> str:
    """The JSON of a device and its parts.

    Args:
        url: address of the page.
    """
    version = _version()
    parts = _buttons(topics) | _sensors(topics)
    parts |= {"preset": _select(topics, shown), **_angles(topics, shown)}
    for name, part in parts.items():
        part["unique_id"] = f"daetalker_{topics.node}_{name}"
    device = {
        "identifiers": [f"daetalker_{topics.node}"],
        "name": f"daetalker {topics.node}",
        "manufacturer": "daetalker",
        "model": shown.label,
        "sw_version": version,
    }
    if urlsplit(url).hostname not in _LOOPBACK:  # which would be Home Assistant's own machine
        device["configuration_url"] = url
    return json.dumps(
        {
            "device": device,
            "origin": {"name": "daetalker", "sw_version": version},
            "availability_topic": topics.status,
            "qos": 1,
            "components": parts,
        }
    )


def _select(topics: Topics, shown: Shown) -> dict[str, Any]:
    return {
        "platform": "select",
        "name": "Preset",
        "icon": "mdi:head-sync",
        "command_topic": f"{topics.root}/command/preset",
        "state_topic": topics.state,
        "value_template": "{{ value_json.preset }}",
        "options": list(shown.presets),
    }


def _angles(topics: Topics, shown: Shown) -> dict[str, dict[str, Any]]:
    return {
        axis: {
            "platform": "number",
            "name": f"Turn {axis}",
            "icon": "mdi:axis-arrow",
            "command_topic": f"{topics.root}/command/pose",
            "command_template": f'{{"{axis}": {{{{ value }}}}}}',
            "state_topic": topics.state,
            # What was asked for: where the head is wavers with the speech.
            "value_template": "{% set pose = value_json.aim or value_json.pose %}"
            f"{{{{ pose.{axis} if pose else none }}}}",
            "min": shown.limits_deg[axis][0],
            "max": shown.limits_deg[axis][1],
            "step": 0.1,
            "mode": "slider",
            "unit_of_measurement": "°",
        }
        for axis in AXES
    }


def _buttons(topics: Topics) -> dict[str, dict[str, Any]]:
    command = f"{topics.root}/command"
    return {
        "natural": {
            "platform": "button",
            "name": "Natural",
            "icon": "mdi:head-heart",
            "command_topic": f"{command}/natural",
        },
        "interrupt": {
            "platform": "button",
            "name": "Interrupt",
            "icon": "mdi:hand-back-left",
            "command_topic": f"{command}/interrupt",
        },
        "mute": {
            "platform": "switch",
            "name": "Mute",
            "icon": "mdi:microphone-off",
            "command_topic": f"{command}/mute",
            "state_topic": topics.state,
            "value_template": "{{ 'ON' if value_json.muted else 'OFF' }}",
        },
        "say": {
            "platform": "text",
            "name": "Say file",
            "icon": "mdi:account-voice",
            "command_topic": f"{command}/say",
            "min": 1,
            "max": 255,
        },
    }


def _sensors(topics: Topics) -> dict[str, dict[str, Any]]:
    sensors: dict[str, dict[str, Any]] = {
        "speaking": {
            "platform": "binary_sensor",
            "name": "Speaking",
            "value_template": "{{ 'ON' if value_json.speaking else 'OFF' }}",
        },
        "sessions": _sensor("Sessions", "sessions"),
        "fps": {**_sensor("Frames a second", "fps"), "entity_category": "diagnostic"},
        "latency": {
            **_sensor("Latency", "latency_ms", "ms"),
            "device_class": "duration",
            "entity_category": "diagnostic",
        },
    }
    for axis in AXES:
        angle = _sensor(f"Head {axis}", f"pose.{axis}", "°")
        angle["value_template"] = f"{{{{ value_json.pose.{axis} if value_json.pose else none }}}}"
        sensors[f"pose_{axis}"] = angle
    for sensor in sensors.values():
        sensor["state_topic"] = topics.state
    return sensors


def _sensor(name: str, field: str, unit: str | None = None) -> dict[str, Any]:
    """Without a session the field is null, which Home Assistant shows as unknown."""
    sensor = {
        "platform": "sensor",
        "name": name,
        "state_class": "measurement",
        "value_template": f"{{{{ value_json.{field} }}}}",
    }
    return sensor if unit is None else {**sensor, "unit_of_measurement": unit}


def _version() -> str:
    try:
        return importlib.metadata.version("daetalker")
    except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
        return "0"
