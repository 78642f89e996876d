"""`daetalker presets`: what there is, and whether the file of presets is right."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from daetalker.models.bundle import find_avatar, load_bundle
from daetalker.streamer.presets import PresetBook, PresetError, default_presets_path

__all__ = ["open_book", "presets_command"]


def open_book(path: Path | None) -> PresetBook:
    """The presets of a file that must be there, or of the user's own, which need not.

    Raises:
        PresetError: if the file is missing or wrong.
    """
    if path is not None and not path.is_file():
        raise PresetError(f"there is no file of presets {path}")
    return PresetBook(path or default_presets_path())


def presets_command(options: argparse.Namespace) -> None:
    """Run the action of ``options``.

    Raises:
        PresetError: one sentence for the user.
        BundleError: if the avatar is missing or damaged.
    """
    manifest = load_bundle(find_avatar(options.avatar)).manifest
    book = open_book(options.presets)
    presets = book.for_avatar(manifest)
    if options.action == "check":
        book.check(manifest)
        own = sum(book.is_own(preset.name, manifest) for preset in presets)
        found = "all right" if book.path.exists() else "not there yet, which is all right"
        print(
            f"{book.path}: {found}; '{manifest.name}' has {len(presets)} presets, "
            f"{own} of them from this file"
        )
    elif options.json:
        rows = [{**asdict(preset), "own": book.is_own(preset.name, manifest)} for preset in presets]
        print(json.dumps(rows))
    else:
        for preset in presets:
            hold = "for good" if preset.hold_s is None else f"{preset.hold_s:g} s"
            print(
                f"{preset.name:16} yaw {preset.yaw:6.1f}  pitch {preset.pitch:6.1f}  "
                f"roll {preset.roll:6.1f}  ease {preset.ease_s:g} s  natural {preset.natural:g}  "
                f"hold {hold}  {'yours' if book.is_own(preset.name, manifest) else 'avatar'}  "
                + "".join(c if c.isprintable() else " " for c in preset.label)
            )
        print(f"your own presets lie in {book.path}")
