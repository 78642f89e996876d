"""`daetalker avatars`: which there are, what they say of themselves, and handing them on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daetalker.models.archive import export_archive, import_archive
from daetalker.models.bundle import (
    AvatarBundle,
    BundleError,
    avatars_folder,
    embedded_avatars,
    find_avatar,
    list_avatars,
    load_bundle,
)
from daetalker.models.consent import lacking
from daetalker.models.verify import check_networks


def avatars_command(options: argparse.Namespace) -> bool:
    """Run the action of ``options``; False if it found an avatar damaged.

    Raises:
        BundleError: one sentence for the user.
    """
    match options.action:
        case "list":
            return _list(options.json)
        case "import":
            bundle = import_archive(options.source, check=check_networks, replace=options.replace)
            print(f"imported {bundle.manifest.name} into {bundle.path}")
            print(_plain(f"consent: {_consent_line(bundle)}"))
            print(f"use it: daetalker serve --avatar {bundle.manifest.name}")
            return True
    bundle = load_bundle(find_avatar(options.name))
    match options.action:
        case "show":
            if options.json:
                print(json.dumps(_as_json(bundle) | _details(bundle)))
            else:
                for line in _description(bundle):
                    print(_plain(line))
        case "verify":
            networks = check_networks(bundle)
            print(
                f"{bundle.manifest.name}: {len(bundle.manifest.files)} files, all checksums right; "
                f"{len(networks)} networks ({', '.join(networks)}) and x_T fit together "
                f"({bundle.path})"
            )
        case "export":
            path = export_archive(bundle, options.output, replace=options.replace)
            print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")
    return True


def _list(as_json: bool) -> bool:
    rows: list[dict[str, Any]] = []
    for folder in list_avatars():
        try:
            rows.append(_as_json(load_bundle(folder)))
        except BundleError as error:  # one damaged avatar must not hide the others
            rows.append({"name": folder.name, "folder": str(folder), "error": str(error)})
    if as_json:
        print(json.dumps(rows))
    else:
        for row in rows:
            if "error" in row:
                text = f"{row['name']:12} damaged: {row['error']}"
            else:
                kind = "synthetic" if row["synthetic"] else f"shows {row['consent']['person']}"
                text = (
                    f"{row['name']:12} {row['size']}x{row['size']} {row['fps']} fps "
                    f"{row['mb']:6.1f} MB  {row['where']:8}  {row['label']} ({kind})"
                )
            print(_plain(text))
        print(f"imported avatars lie in {avatars_folder()}")
    return all("error" not in row for row in rows)


def _as_json(bundle: AvatarBundle) -> dict[str, Any]:
    m = bundle.manifest
    return {
        "name": m.name,
        "label": m.label,
        "size": m.size,
        "fps": m.fps,
        "mb": round(bundle.size_bytes / 1e6, 1),
        "where": _where(bundle.path),
        "folder": str(bundle.path),
        "synthetic": m.synthetic,
        "consent": m.consent.as_json(),
        "preview": None if bundle.preview is None else str(bundle.preview),
    }


def _details(bundle: AvatarBundle) -> dict[str, Any]:
    m = bundle.manifest
    return {
        "pose_range_deg": {axis: list(limits) for axis, limits in m.pose_range_deg.items()},
        "presets": [preset.name for preset in m.presets],
        "licence": m.licence,
        "attributions": list(m.attributions),
        "figures": m.figures,
    }


def _where(folder: Path) -> str:
    if folder in embedded_avatars():
        return "embedded"
    return "imported" if folder.parent == avatars_folder() else "folder"


def _description(bundle: AvatarBundle) -> Iterator[str]:
    m = bundle.manifest
    size_mb = bundle.size_bytes / 1e6
    yield f"{m.label} ({m.name}), {size_mb:.1f} MB, {_where(bundle.path)}: {bundle.path}"
    yield f"frames: {m.size}x{m.size} at {m.fps} a second"
    limits = [f"{axis} {low:g} to {high:g}" for axis, (low, high) in m.pose_range_deg.items()]
    yield "pose range in degrees: " + "  ".join(limits)
    for preset in m.presets:
        angles = f"{preset.yaw:g}, {preset.pitch:g}, {preset.roll:g}"
        yield f"preset {preset.name} ({preset.label}): {angles}"
    if bundle.preview is not None:
        yield f"preview: {bundle.preview}"
    yield f"synthetic: {'yes' if m.synthetic else 'no'}"
    yield f"consent: {_consent_line(bundle)}"
    for name, value in m.consent.as_json().items():
        if name != "statement" and value:
            shown = ", ".join(value) if isinstance(value, list) else value
            yield f"  {name.replace('_', ' ')}: {shown}"
    yield f"licence: {m.licence}"
    yield from (f"  {line}" for line in m.attributions)
    yield from _figures(m.figures, "figure")


def _consent_line(bundle: AvatarBundle) -> str:
    m = bundle.manifest
    problem = lacking(m.consent, m.synthetic)
    if problem:
        return f"{m.consent.statement} (not said: {problem})".strip()
    return m.consent.statement


def _figures(figures: dict[str, Any], name: str, depth: int = 3) -> Iterator[str]:
    """One line a number, named by its path; what is nested deeper than ``depth`` as it is."""
    for key, value in figures.items():
        if isinstance(value, dict) and depth:
            yield from _figures(value, f"{name} {key}", depth - 1)
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            yield f"{name} {key}: {shown}"


def _plain(text: str) -> str:
    """Text of unknown origin without what could steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
