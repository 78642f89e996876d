"""What a person has to say about an avatar before it is exported: a TOML or JSON file.

docs/your-avatar.md has one to copy.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from daetalker.models.consent import Consent, lacking
from daetalker.models.manifest import SAFE_NAME, is_safe_file
from daetalker.models.training.build import BundleText
from daetalker.models.training.data import DataError


def read_description(path: Path) -> tuple[BundleText, dict[str, Any]]:
    """What ``path`` says about the avatar, and the figures to quote.

    Raises:
        DataError: naming what is missing or wrong, and where to write it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        figures: dict[str, Any] = values.pop("figures", {})
        licences = tuple(path.parent / name for name in values.pop("licence_files", ()))
        attributions = tuple(str(line) for line in values.pop("attributions", ()))
        values["consent"] = Consent.of(values.get("consent", ""))
        described = BundleText(**values, attributions=attributions, licence_files=licences)
        _check(described)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} cannot describe an avatar: {error}; see docs/your-avatar.md"
        ) from None
    problem = lacking(described.consent, described.synthetic)
    if problem:
        raise DataError(
            f"{path} does not say {problem}: an avatar is not exported without it; "
            "docs/your-avatar.md shows how to write it"
        )
    return described, figures


def _check(text: BundleText) -> None:
    if not isinstance(text.name, str) or not SAFE_NAME.fullmatch(text.name):
        raise ValueError("name must be letters, digits, - and _, 64 at most")
    if not isinstance(text.label, str) or not isinstance(text.licence, str):
        raise ValueError("label and licence must be texts")
    if not isinstance(text.synthetic, bool):
        raise ValueError("synthetic must be true or false")
    for file in text.licence_files:
        if not file.is_file():
            raise ValueError(f"the licence file {file} is missing")
        if not is_safe_file(file.name):
            raise ValueError(f"rename {file.name!r}: letters, digits, . - _ and spaces only")
