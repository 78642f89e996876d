"""The TOML text of a person's presets: what it may say, and edits that keep the rest as it is.

Text in, text out; `presets.py` reads and writes the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from daetalker.models.bundle import AXES, MAX_HOLD_S, SAFE_NAME, Manifest, Preset
from daetalker.streamer.errors import StreamerError

__all__ = [
    "MAX_PRESETS",
    "RESERVED",
    "Entry",
    "PresetError",
    "parse",
    "pose_problem",
    "with_preset",
    "with_values",
    "without",
]

MAX_PRESETS = 100
MAX_LABEL = 80
RESERVED = ("natural", "mute", "unmute")
"""Words of timelines, which therefore name no preset."""

_NUMBERS: dict[str, tuple[float, float, str]] = {
    **{axis: (-90.0, 90.0, "degrees") for axis in AXES},
    "ease_s": (0.05, 60.0, "seconds"),
    "natural": (0.0, 1.0, ""),
    "hold_s": (0.0, MAX_HOLD_S, "seconds"),
}
_KEYS = ("label", *_NUMBERS, "avatar", "hidden")


class PresetError(StreamerError, ValueError):
    """A preset, or the file of presets, is wrong; one sentence says where and what to do."""


@dataclass(frozen=True)
class Entry:
    """What the file says under one name.

    Attributes:
        preset: None where the name is hidden.
        avatar: the only avatar it is for, or None for all.
    """

    preset: Preset | None
    avatar: str | None = None

    def is_for(self, manifest: Manifest) -> bool:
        """True if it is meant for this avatar; its pose may still be out of range."""
        return self.avatar is None or self.avatar == manifest.name


def parse(text: str) -> dict[str, Entry]:
    """The entries in the order of the text.

    Raises:
        PresetError: without the file's name.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PresetError(f"not readable as TOML: {error}") from None
    for key in document:
        if key != "presets":
            raise PresetError(f"unknown key '{key}'; presets are tables written [presets.NAME]")
    tables = document.get("presets", {})
    if not isinstance(tables, dict):
        raise PresetError("presets must be tables, each written [presets.NAME]")
    if len(tables) > MAX_PRESETS:
        raise PresetError(f"{len(tables)} presets are too many; keep {MAX_PRESETS} at most")
    return {name: _entry(name, values) for name, values in tables.items()}


def _entry(name: str, values: Any) -> Entry:
    def fail(problem: str) -> PresetError:
        return PresetError(f"preset '{_plain(name)}': {problem}")

    if not SAFE_NAME.fullmatch(name):
        raise fail(
            "its name must be 1 to 64 letters, digits, - and _, and start with a letter or digit"
        )
    if name in RESERVED:
        raise fail("this word has a meaning in timelines; choose another name")
    if not isinstance(values, dict):
        raise fail(f"must be a table, written [presets.{name}]")
    for key in values:
        if key not in _KEYS:
            raise fail(f"unknown key '{_plain(key)}'; known are {', '.join(_KEYS)}")
    avatar = values.get("avatar")
    if avatar is not None and not (isinstance(avatar, str) and SAFE_NAME.fullmatch(avatar)):
        raise fail('avatar must be the name of an avatar, such as "mira"')
    if not isinstance(hidden := values.get("hidden", False), bool):
        raise fail("hidden must be true or false")
    label = values.get("label", _label_of(name))
    if not (
        isinstance(label, str) and label.isprintable() and label.strip() and len(label) <= MAX_LABEL
    ):
        raise fail(f"label must be a text of 1 to {MAX_LABEL} characters on one line")
    numbers: dict[str, float] = {}
    for key, (low, high, unit) in _NUMBERS.items():
        value = values.get(key)
        if value is None:
            continue
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not (good and low <= value <= high):
            limits = f"{low:g} to {high:g} {unit}".rstrip()
            raise fail(f"{key} must be a number of {limits}, not {_plain(repr(value))}")
        numbers[key] = float(value)
    for axis in AXES:
        numbers.setdefault(axis, 0.0)
    return Entry(None if hidden else Preset(name, label, **numbers), avatar)


def pose_problem(preset: Preset, manifest: Manifest) -> str | None:
    """What is wrong with the pose for this avatar: field, value and range; None if nothing."""
    for axis in AXES:
        angle, (low, high) = getattr(preset, axis), manifest.pose_range_deg[axis]
        if not low <= angle <= high:
            return (
                f"{axis} {angle:g} is outside the {low:g} to {high:g} degrees of avatar "
                f"'{manifest.name}'"
            )
    return None


def with_preset(text: str, preset: Preset) -> str:
    """The text with this preset added or changed; comments and other presets stay.

    Raises:
        PresetError: if the preset is out of limits, or the text cannot be changed safely.
    """
    defaults = Preset(preset.name, _label_of(preset.name), 0.0, 0.0, 0.0)
    parse(text)
    said = tomllib.loads(text).get("presets", {}).get(preset.name)
    values: dict[str, Any] = {"hidden": None}
    for key in ("label", *_NUMBERS):
        value = getattr(preset, key)
        usual = value == getattr(defaults, key)
        if said is None:  # a new one says where the head is, even if that is straight ahead
            values[key] = None if usual and key not in ("label", *AXES) else value
        elif not usual or key in said:
            values[key] = value
    return with_values(text, preset.name, values)


def with_values(text: str, name: str, values: Mapping[str, Any]) -> str:
    """The text with these values under a name; None takes a key away, others stay.

    Raises:
        PresetError: if a value is out of limits, or the text cannot be changed safely.
    """
    before = parse(text)
    said = tomllib.loads(text).get("presets", {}).get(name, {})
    merged = {k: v for k, v in {**said, **values}.items() if v is not None}
    wanted = {**before, name: _entry(name, merged)}
    if len(wanted) > MAX_PRESETS:
        raise PresetError(f"there are {MAX_PRESETS} presets already; delete one first")
    if name not in before:
        return _checked(_append(text, name, merged), wanted)
    block = _Block.find(text, name)
    if block is None:  # an inline table or dotted keys
        return _checked(_changed(text, lambda presets: _assign(presets[name], values)), wanted)
    own = _document(text[block.body : block.end])
    _assign(own, values)
    lines = _lines(own.as_string(), text)
    return _checked(text[: block.body] + lines + text[block.end :], wanted)


def without(text: str, name: str) -> str:
    """The text without this preset; comments that stand before the next one stay.

    Raises:
        PresetError: if the text cannot be changed safely.
    """
    wanted = {key: entry for key, entry in parse(text).items() if key != name}
    block = _Block.find(text, name)
    if block is None:
        return _checked(_changed(text, lambda presets: presets.pop(name)), wanted)
    before, after = text[: block.head], text[block.end :]
    if not before or before.endswith(("\n\n", "\r\n\r\n")):
        after = after.lstrip("\r\n")
    return _checked(before + after, wanted)


@dataclass(frozen=True)
class _Block:
    """Where ``[presets.NAME]`` stands in the text.

    Attributes:
        head, body: first character of its header line and of its first line.
        end: after its last value; what follows up to the next header belongs to that.
    """

    head: int
    body: int
    end: int

    @classmethod
    def find(cls, text: str, name: str) -> _Block | None:
        """None if the preset is written in another form."""
        table = _document(text)["presets"][name]
        if not isinstance(table, Table):
            return None
        lines = table.as_string()
        after = 0
        for key, item in reversed(table.value.body):
            if key is not None:
                break
            after += len(item.as_string())
        header = re.compile(
            rf"""^[ \t]*\[[ \t]*["']?presets["']?[ \t]*\.[ \t]*["']?{name}["']?[ \t]*\][^\n]*\n?""",
            re.MULTILINE,
        )
        for match in header.finditer(text):
            if text.startswith(lines, match.end()):
                return cls(match.start(), match.end(), match.end() + len(lines) - after)
        return None


def _document(text: str) -> Any:
    """The text as tomlkit has it: with its comments."""
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise PresetError(f"not readable as TOML: {error}") from None


def _changed(text: str, change: Callable[[Any], object]) -> str:
    """The text after a change of its presets; as it was if they are written too oddly for it."""
    document = _document(text)
    try:
        change(document["presets"])
    except (TOMLKitError, LookupError, TypeError, ValueError, AttributeError):
        return text
    changed: str = document.as_string()
    return changed


def _assign(table: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if value is None:
            table.pop(key, None)
        elif table.get(key) != value:  # an unchanged one stays as it is written
            table[key] = value


def _append(text: str, name: str, values: Mapping[str, Any]) -> str:
    table = tomlkit.table()
    for key, value in values.items():
        table[key] = value
    block = _lines(f"[presets.{name}]\n{table.as_string()}", text)
    end = "\r\n" if "\r\n" in text else "\n"
    text = text.rstrip()
    return text + 2 * end + block if text else block


def _lines(new: str, text: str) -> str:
    """New lines that end as those of ``text`` do."""
    new = new if new.endswith("\n") or not new else new + "\n"
    return re.sub(r"\r?\n", "\r\n", new) if "\r\n" in text else new


def _checked(text: str, wanted: Mapping[str, Entry]) -> str:
    """``text`` if it says what it should: whatever form a person has written stays whole."""
    try:
        right = parse(text) == wanted
    except PresetError:
        right = False
    if not right:
        raise PresetError(
            "its presets are written in a form that only you can change; write each one as "
            "[presets.NAME] with a line for every value"
        )
    return text


def _label_of(name: str) -> str:
    words = re.sub(r"[-_]+", " ", name).strip()
    return words[:1].upper() + words[1:]


def _plain(text: str) -> str:
    """Text of a file, short and without what could steer a terminal."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= MAX_LABEL else shown[: MAX_LABEL - 1] + "…"
