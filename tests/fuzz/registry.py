"""All targets by name; each module is imported when one of its targets is wanted."""

from __future__ import annotations

from importlib import import_module

from tests.fuzz.target import Target

_MODULES = {
    "messages": ("message", "command", "agent", "mqtt"),
    "rooms": ("sdp", "candidate", "presets", "timeline"),
    "files": ("manifest", "onnx", "noise", "archive"),
    "sound": ("intake", "voice", "converter", "backlog"),
    "talks": ("conversation", "offer", "http"),
}
NAMES = tuple(name for names in _MODULES.values() for name in names)


def load(name: str) -> Target:
    """The target of that name."""
    module = next(module for module, names in _MODULES.items() if name in names)
    targets: tuple[Target, ...] = import_module(f"tests.fuzz.{module}").TARGETS
    return next(target for target in targets if target.name == name)
