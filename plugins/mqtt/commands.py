"""Commands: what a payload on a command topic stands for, as a command of the protocol.

Everything ends in the JSON commands that page and HTTP also speak; the short forms here are for
buttons, sliders and `mosquitto_pub`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from daetalker.streamer.protocol import MAX_MESSAGE_BYTES, ProtocolError

__all__ = ["AXES", "KINDS", "lacks_angles", "read_command"]

AXES = ("yaw", "pitch", "roll")
KINDS = ("preset", "pose", "natural", "interrupt", "mute", "say")
_SWITCH = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


def read_command(kind: str, payload: bytes) -> dict[str, Any]:
    """Read a payload.

    Args:
        kind: last level of the topic; empty where the payload is a whole command.

    Returns:
        A command's fields, ``type`` among them; its values are not checked yet, and a pose may
        lack angles (`lacks_angles`).

    Raises:
        ProtocolError: ``too_large`` or ``bad_message``, saying what was expected.
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        raise ProtocolError("too_large", f"A payload may have {MAX_MESSAGE_BYTES} bytes at most.")
    if kind and kind not in KINDS:
        raise ProtocolError(
            "bad_message", f"There is no command on this topic; there are: {', '.join(KINDS)}."
        )
    if kind in ("natural", "interrupt"):
        return {"type": kind}  # whatever the payload: a button's says PRESS, a script's nothing
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ProtocolError("bad_message", "The payload is not UTF-8 text.") from None
    if not kind or text.startswith("{"):
        return _from_json(kind, text)
    match kind:
        case "preset":
            return {"type": "preset", "name": text}
        case "say":
            return {"type": "say", "file": text}
        case "mute":
            return {"type": "mute", "on": _switch(text)}
    return {"type": "pose", **_angles(text)}


def lacks_angles(command: Mapping[str, Any]) -> bool:
    """Whether it is a pose of some angles, but not of all three.

    Without any it is not: the protocol then says what is wrong.
    """
    return command.get("type") == "pose" and 0 < sum(axis in command for axis in AXES) < len(AXES)


def _from_json(kind: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # brackets can be nested deeper than Python goes
        raise ProtocolError("bad_message", "The payload is not JSON.") from None
    if not isinstance(value, dict):
        raise ProtocolError("bad_message", "The payload is not a JSON object.")
    if kind and value.setdefault("type", kind) != kind:
        raise ProtocolError("bad_message", f"type: on this topic it must be '{kind}' or left out.")
    return value


def _switch(text: str) -> bool:
    try:
        return _SWITCH[text.lower()]
    except KeyError:
        raise ProtocolError("bad_message", "Send ON or OFF.") from None


def _angles(text: str) -> dict[str, float]:
    try:
        yaw, pitch, roll = (float(part) for part in text.split(","))
    except ValueError:
        raise ProtocolError(
            "bad_message",
            "Send yaw, pitch and roll in degrees, such as 10,0,-5, or JSON such as "
            '{"yaw": 10, "ease_s": 1}.',
        ) from None
    return {"yaw": yaw, "pitch": pitch, "roll": roll}
