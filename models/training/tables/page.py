"""The whole evaluation as one HTML file: no scripts, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from daetalker.models.training.report import HEADLINES, base_lines
from daetalker.models.training.tables.pictures import Album, jpeg_uri, mp4_uri
from daetalker.models.training.tables.plots import (
    jitter_plot,
    loss_plot,
    opening_plot,
    quality_plot,
)
from daetalker.models.training.tables.sheets import as_markdown, cell, sheets

TEMPLATE = "report.html.j2"
CAPTIONS = {
    "quality": "Quality against evaluations a frame.",
    "jitter": "What the shared x_T does, by evaluations a frame.",
    "loss": "Figure 6: held-out error of the predicted latents while training.",
    "opening": "Lip opening, measured in the pictures.",
}
SECTIONS = {
    "table1": ("Lip-sync", "Table 1 of the paper"),
    "table2": ("Ablations", "Table 2"),
    "table3": ("Reconstruction", "Table 3"),
    "table4": ("Head pose", "Table 4 and Figure 6"),
}


def html_page(result: Mapping[str, Any], album: Album, label: str) -> str:
    """The report.

    Args:
        result: what `evaluate_avatar` returned.
        album: the pictures that it collected.
        label: the avatar's name for people.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made = sheets(result)
    plots = _plots(result)
    sections = [
        {
            "id": key,
            "title": title,
            "source": source,
            "sheets": [sheet for sheet in made if sheet.table == key],
            "plots": plots.get(key, []),
            "strips": [
                {
                    "strip": strip,
                    "rows": [(n, [jpeg_uri(p) for p in row]) for n, row in strip.rows],
                }
                for strip in album.strips.get(key, [])
            ],
            "clips": [
                {
                    "clip": clip,
                    "uri": mp4_uri(clip.frames, clip.audio),
                    "height": clip.frames[0].shape[0],
                    "width": clip.frames[0].shape[1],
                }
                for clip in album.clips.get(key, [])
            ],
        }
        for key, (title, source) in SECTIONS.items()
        if key in result
    ]
    sets = result.get("sets") or [result]
    return environment.get_template(TEMPLATE).render(
        label=label,
        result=result,
        headlines=[
            (name, cell(result[key], digits), unit)
            for key, name, digits, unit in HEADLINES
            if result.get(key) is not None
        ],
        sections=sections,
        base=[(one["data"], base_lines(one)) for one in sets],
    )


def markdown(result: Mapping[str, Any]) -> str:
    """The same tables for a page of documentation."""
    head = f"## {result['avatar']}, {result['size']}x{result['size']}"
    parts = [head, *(as_markdown(sheet) for sheet in sheets(result))]
    for one in result.get("sets") or [result]:
        lines = ["| figure | value | unit | aim | on true video |", "|---|---:|---|---|---:|"]
        lines += ["| " + " | ".join(c.strip() for c in line) + " |" for line in base_lines(one)]
        parts.append("\n".join([f"### All figures: {one['data']}", "", *lines]))
    return "\n\n".join(parts) + "\n"


def _plots(result: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Captions and SVG by table."""
    found: dict[str, list[tuple[str, str]]] = {}

    def put(table: str, caption: str, svg: str | None) -> None:
        if svg is not None:
            found.setdefault(table, []).append((CAPTIONS[caption], svg))

    if "table1" in result:
        for one in result["table1"]["sets"].values():
            curve = one.get("opening")
            if curve:
                put("table1", "opening", opening_plot(curve["truth"], curve["student"], 25))
                break
    if "table2" in result:
        for one in result["table2"]["sets"].values():
            if one.get("noise"):
                put("table2", "jitter", jitter_plot(one["noise"]))
                break
    if "table3" in result:
        put("table3", "quality", quality_plot(result["table3"]))
    if "table4" in result and result["table4"].get("figure6"):
        put("table4", "loss", loss_plot(result["table4"]["figure6"]["curves"]))
    return found
