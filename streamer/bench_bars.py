"""A bar: what a figure may be at most, and whether it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Bar", "bar_figures", "bar_lines"]


@dataclass(frozen=True)
class Bar:
    """One figure against its limit.

    Attributes:
        value: None if it could not be measured, which fails.
        unit: of both, for people.
        skipped: why it is not judged; empty if it is.
    """

    name: str
    value: float | None
    most: float
    unit: str = ""
    skipped: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return bool(self.skipped) or (self.value is not None and self.value <= self.most)


def bar_figures(bars: Iterable[Bar]) -> list[dict[str, Any]]:
    """For JSON."""
    return [
        {
            "name": bar.name,
            "value": None if bar.value is None else round(bar.value, 3),
            "most": round(bar.most, 3),
            "unit": bar.unit,
            "ok": bar.ok,
            "skipped": bar.skipped or None,
        }
        for bar in bars
    ]


def bar_lines(figures: Iterable[dict[str, Any]]) -> list[str]:
    """What `bar_figures` gave, for people."""
    lines = []
    for bar in figures:
        verdict = "not judged" if bar["skipped"] else "ok" if bar["ok"] else "FAILED"
        value = "not measured" if bar["value"] is None else f"{bar['value']:g}"
        line = f"{verdict:11}{bar['name']}: {value}, at most {bar['most']:g} {bar['unit']}".rstrip()
        lines.append(line + (f" ({bar['skipped']})" if bar["skipped"] else ""))
    return lines
