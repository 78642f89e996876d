"""Recipes from TOML files: `daetalker train --config embedded|paper|FILE.toml`.

A file names its base and overrides what it wants, field by field::

    base = "embedded"
    seed = 3

    [autoencoder.network.unet]
    size = 128
    patch = 2

Keys are the fields of `configs.Recipe`.  An unknown key, a wrong type or a number out of range is
refused by its key.
"""

from __future__ import annotations

import math
import tomllib
import types
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from daetalker.models.paper_unet import PaperUNetConfig
from daetalker.models.training.configs import (
    EMBEDDED,
    PAPER,
    PaperSpeech2LatentRecipe,
    Recipe,
)
from daetalker.models.training.data import DataError
from daetalker.models.unet import UNetConfig

RECIPES = {"embedded": EMBEDDED, "paper": PAPER}

# Smallest and largest value of a field by its name; other numbers must not be negative.
LIMITS: dict[str, tuple[float, float]] = {
    "alpha": (0, 1000),
    "base": (32, 1024),
    "batch": (1, 65_536),
    "blocks": (1, 8),
    "crop": (16, 1024),
    "decoder_blocks": (0, 32),
    "diffusion_steps": (1, 1000),
    "dropout": (0, 0.9),
    "ema": (0, 0.999999),
    "embedding": (1, 8192),
    "encoder_blocks": (0, 32),
    "expansion": (1, 16),
    "features": (1, 8192),
    "frames": (8, 500),
    "freeze": (0, 1),
    "heads": (1, 64),
    "hop": (1, 16),
    "kernel": (1, 101),
    "latent": (1, 4096),
    "lookahead": (1, 8),
    "longest_s": (0.08, 60),
    "near": (0, 1),
    "patch": (1, 16),
    "pose_channels": (1, 4096),
    "rate": (1e-9, 1),
    "ratio": (1, 8),
    "sampling_steps": (1, 1000),
    "shortest_s": (0.08, 60),
    "size": (16, 1024),
    "step": (1, 1000),
    "width": (4, 8192),
}
POSITIVE_LISTS = ("widths", "up_blocks", "encoder_widths", "multipliers", "encoder_multipliers")

WHISPER_S = 30

_T = TypeVar("_T")


class RecipeError(DataError):
    """A recipe cannot be used; the message names the key."""


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe by name (``embedded``, ``paper``) or from a TOML file.

    Raises:
        RecipeError: naming the key that is unknown, of a wrong type or out of range.
    """
    if str(name_or_path) in RECIPES:
        return RECIPES[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        names = ", ".join(RECIPES)
        raise RecipeError(f"no recipe '{name_or_path}': give {names} or a TOML file that exists")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} is not a TOML file that can be read: {error}") from None
    try:
        return recipe_of(document, default_name=path.stem)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def recipe_of(document: dict[str, Any], default_name: str = "custom") -> Recipe:
    """The recipe that a parsed TOML document describes.

    Raises:
        RecipeError: naming the key.
    """
    values = dict(document)
    base = values.pop("base", "embedded")
    if base not in RECIPES:
        raise RecipeError(f"base must be one of {', '.join(RECIPES)}, not {base!r}")
    recipe = override(replace(RECIPES[base], name=default_name), values)
    check(recipe)
    return recipe


def override(instance: _T, values: dict[str, Any], prefix: str = "") -> _T:
    """A copy of a dataclass with the fields in ``values``; nested tables go into nested classes.

    Raises:
        RecipeError: naming the dotted key.
    """
    kind: Any = type(instance)
    hints = get_type_hints(kind)
    names = [item.name for item in fields(kind)]
    changes: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix + name
        if name not in names:
            raise RecipeError(f"unknown key '{key}'; here can stand: {', '.join(names)}")
        current = getattr(instance, name)
        table = current if is_dataclass(current) else _default_of(hints[name])
        if table is not None:
            if not isinstance(value, dict):
                raise RecipeError(f"'{key}' must be a table of fields, not {value!r}")
            changes[name] = override(table, value, f"{key}.")
        else:
            changes[name] = _typed(key, hints[name], value)
    try:
        return replace(instance, **changes)  # type: ignore[type-var]
    except ValueError as error:  # a network's own rule
        raise RecipeError(f"'{prefix.rstrip('.')}': {error}") from None


def _default_of(hint: Any) -> Any:
    """A default instance where an optional table stands at None."""
    if get_origin(hint) in (types.UnionType, Union) and type(None) in get_args(hint):
        kinds = [k for k in get_args(hint) if is_dataclass(k)]
        return kinds[0]() if kinds else None  # type: ignore[operator]
    return None


def _typed(key: str, hint: Any, value: Any) -> Any:
    name = key.rsplit(".", 1)[-1]
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            choices = ", ".join(get_args(hint))
            raise RecipeError(f"'{key}' must be one of {choices}, not {value!r}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(type(v) is int for v in value):
            raise RecipeError(f"'{key}' must be a list of whole numbers, not {value!r}")
        if name in POSITIVE_LISTS and (not value or min(value) < 1):
            raise RecipeError(f"'{key}' must hold numbers of at least 1, not {value!r}")
        return tuple(value)
    if hint is bool or hint is str:
        if type(value) is not hint:
            wanted = "true or false" if hint is bool else "a text in quotes"
            raise RecipeError(f"'{key}' must be {wanted}, not {value!r}")
        return value
    if hint is int and type(value) is not int:
        raise RecipeError(f"'{key}' must be a whole number, not {value!r}")
    if type(value) not in (int, float) or not math.isfinite(value):
        raise RecipeError(f"'{key}' must be a number, not {value!r}")
    low, high = LIMITS.get(name, (0, math.inf))
    if not low <= value <= high:
        bounds = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise RecipeError(f"'{key}' must be {bounds}, not {value!r}")
    return value if hint is int else float(value)


def check(recipe: Recipe) -> None:
    """Rules between fields.

    Raises:
        RecipeError: naming the keys that do not go together.
    """
    network, stage = recipe.autoencoder.network, recipe.autoencoder.training
    if not isinstance(network, PaperUNetConfig):
        _check_unet("autoencoder.network.unet", network.unet)
        if network.unet.size % 128:
            raise RecipeError(
                "'autoencoder.network.unet.size' must be a multiple of 128,"
                f" not {network.unet.size}"
            )
        if len(network.encoder_widths) != 4:
            raise RecipeError("'autoencoder.network.encoder_widths' must hold 4 numbers")
        if getattr(stage, "diffusion", 0) > stage.batch:
            raise RecipeError(
                "'autoencoder.training.diffusion' must not be above 'autoencoder.training.batch'"
            )
    _check_unet("student.network", recipe.student_network)
    for key, value in (
        ("speech2latent.network.latent", recipe.speech2latent.network.latent),
        ("student.network.latent", recipe.student_network.latent),
    ):
        if value != recipe.latent:
            raise RecipeError(
                f"'{key}' is {value}, but the autoencoder's latent is {recipe.latent}"
            )
    if recipe.student_network.size != recipe.size:
        raise RecipeError(
            f"'student.network.size' is {recipe.student_network.size},"
            f" but the autoencoder's frames have {recipe.size}"
        )
    speech = recipe.speech2latent.network
    if speech.width % (2 * speech.heads):
        raise RecipeError(
            "'speech2latent.network.width' must be a multiple of twice"
            " 'speech2latent.network.heads'"
        )
    if speech.kernel % 2 == 0:
        raise RecipeError("'speech2latent.network.kernel' must be odd")
    if isinstance(recipe.speech2latent, PaperSpeech2LatentRecipe):
        lengths = recipe.speech2latent.training
        if lengths.shortest_s > lengths.longest_s:
            raise RecipeError("'speech2latent.training.shortest_s' must not be above 'longest_s'")
        if recipe.front_end.kind == "whisper" and lengths.longest_s > WHISPER_S:
            raise RecipeError(
                f"'speech2latent.training.longest_s' must not be above {WHISPER_S}: Whisper hears"
                " no more"
            )
    if recipe.window.hop + recipe.window.lookahead >= recipe.window.frames:
        raise RecipeError("'window.hop' and 'window.lookahead' must fit into 'window.frames'")
    if recipe.speech2latent.network.ratio != 2:
        raise RecipeError("'speech2latent.network.ratio' must be 2: features at 50 Hz, 25 fps")


def _check_unet(key: str, unet: UNetConfig) -> None:
    if len(unet.widths) != len(unet.up_blocks):
        raise RecipeError(f"'{key}.up_blocks' must be as long as '{key}.widths'")
    cell = unet.patch * 2 ** (len(unet.widths) - 1)
    if unet.size % cell:
        raise RecipeError(f"'{key}.size' must be a multiple of {cell}, not {unet.size}")
