"""The presets of the mock server: those of the avatar, and those that pages save, in memory."""

from __future__ import annotations

from typing import Any

POSE_RANGE = {"yaw": [-30, 30], "pitch": [-18, 18], "roll": [-12, 12]}
DEFAULTS = {"ease_s": 0.5, "natural": 0.15, "hold_s": None}

Preset = dict[str, Any]


def _preset(name: str, label: str, yaw: float, pitch: float, roll: float) -> Preset:
    return {"name": name, "label": label, "yaw": yaw, "pitch": pitch, "roll": roll, **DEFAULTS}


BUNDLE = (
    _preset("straight", "Straight", 0, 0, 0),
    _preset("left", "Left", -18, 0, 0),
    _preset("right", "Right", 18, 0, 0),
    _preset("up", "Up", 0, 11, 0),
    _preset("thinking", "Thinking", 10, 6, -6),
)


class MockPresets:
    """A user's file over an avatar's presets, as docs/presets.md describes it."""

    def __init__(self) -> None:
        self._own: dict[str, Preset] = {}
        self._hidden: set[str] = set()

    def list(self) -> list[Preset]:
        """All presets as clients are told them, the avatar's first."""
        bundled = [
            {**self._own.get(preset["name"], preset), "own": preset["name"] in self._own}
            for preset in BUNDLE
            if preset["name"] not in self._hidden
        ]
        names = {preset["name"] for preset in BUNDLE}
        return bundled + [{**p, "own": True} for name, p in self._own.items() if name not in names]

    def find(self, name: str) -> Preset | None:
        """The preset of this name, or None."""
        return next((preset for preset in self.list() if preset["name"] == name), None)

    def save(self, message: dict[str, Any]) -> None:
        """Add or change one; raises ValueError with a sentence if it is out of range."""
        preset = {**DEFAULTS, **{k: v for k, v in message.items() if k != "type"}}
        for axis, (low, high) in POSE_RANGE.items():
            if not low <= preset[axis] <= high:
                raise ValueError(f"{axis}: {preset[axis]:g} is not in {low} to {high} degrees.")
        self._hidden.discard(preset["name"])
        self._own[preset["name"]] = preset

    def delete(self, name: str) -> None:
        """Forget one of the user's, or hide one of the avatar's; KeyError if there is none."""
        if self.find(name) is None:
            raise KeyError(name)
        if self._own.pop(name, None) is None:
            self._hidden.add(name)

    def reset(self) -> None:
        """As before the first page came."""
        self._own.clear()
        self._hidden.clear()
