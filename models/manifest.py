"""What ``manifest.json`` of an avatar bundle says, and the checks that every manifest passes.

Nothing in a manifest is trusted: bundles come from other people too (`models/archive.py`).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from daetalker.models.consent import Consent

FORMAT = 2
# Format 1 said consent in one string.
READABLE = (1, 2)
AXES = ("yaw", "pitch", "roll")
LIVE_NETWORKS = ("acoustic", "speech", "latent", "student")
MAX_MANIFEST_BYTES = 1024 * 1024
NATURAL_STEP_DEG = 1.5
"""What a manifest that does not say it is taken to mean: calmer than most people."""
NATURAL_STEP_RANGE_DEG = (0.1, 10.0)
MAX_HOLD_S = 3600.0
MAX_SIZE = 1024
"""Largest side of a frame in pixels: four times what the paper trains."""
MAX_FILES = 100
MAX_PRESETS = 100
MAX_LABEL = 256

# Names become parts of paths and addresses, and are typed into shells.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
SAFE_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()+-]{0,99}")
# A name that ends so, or these before the first dot, are something else to Windows.
_UNSAFE_END = (" ", ".")
_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COUNTS = ("size", "fps", "window_frames", "hop_frames", "lookahead_frames", "latent", "hidden",
           "diffusion_steps")  # fmt: skip
_KINDS: dict[str, tuple[type, str]] = {
    "name": (str, "a text"),
    "label": (str, "a text"),
    "licence": (str, "a text"),
    "synthetic": (bool, "true or false"),
    "figures": (dict, "a table"),
}


class BundleError(ValueError):
    """An avatar bundle is missing, incomplete or damaged; the message says what to do."""


@dataclass(frozen=True)
class Preset:
    """A named head pose in degrees.

    Attributes:
        ease_s: seconds the head takes to get there.
        natural: share of the speech-driven movement kept around the pose, 0 to 1.
        hold_s: seconds it is held after arriving, then the head goes back to the speech; None for
            good.
    """

    name: str
    label: str
    yaw: float
    pitch: float
    roll: float
    ease_s: float = 0.5
    natural: float = 0.15
    hold_s: float | None = None


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says.

    Attributes:
        size: side of the square frame in pixels.
        window_frames, hop_frames, lookahead_frames: how the stream cuts speech, in video frames.
        latent, hidden: widths of c and of the speech encoder's output.
        pose_range_deg: smallest and largest angle of each axis seen in training.
        figures: held-out figures of the training run.
        synthetic: True if nobody's likeness is shown.
        consent: who is shown, and who agreed to what.
        files: SHA-256 of each file but the manifest, hexadecimal.
        natural_step_deg: 99th percentile of the head's step from one frame to the next in the
            person's own video: Euclidean norm over yaw, pitch and roll, degrees a frame.
    """

    name: str
    label: str
    size: int
    fps: int
    window_frames: int
    hop_frames: int
    lookahead_frames: int
    latent: int
    hidden: int
    diffusion_steps: int
    pose_range_deg: dict[str, tuple[float, float]]
    presets: tuple[Preset, ...]
    figures: dict[str, Any]
    licence: str
    attributions: tuple[str, ...]
    synthetic: bool
    consent: Consent
    files: dict[str, str]
    natural_step_deg: float = NATURAL_STEP_DEG


def decode_manifest(data: bytes, target: Path) -> Any:
    """The JSON document in a manifest's bytes.

    Raises:
        BundleError: naming ``target``, if it is too large or not JSON.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{target} is larger than a manifest may be")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_no_name_twice)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{target} is not readable JSON: {error}") from error


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Programs differ in which of two fields of one name they take."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a field is there twice")
    return table


def parse_manifest(document: Any, where: Path) -> Manifest:
    """Check every field of a decoded manifest: what passes can be typed and put into paths.

    Args:
        where: the bundle's folder, named in errors.

    Raises:
        BundleError: naming the field.
    """

    def fail(problem: str) -> BundleError:
        return BundleError(f"{where.name}/manifest.json: {problem}")

    if not isinstance(document, dict) or document.get("format") not in READABLE:
        readable = " or ".join(map(str, READABLE))
        raise fail(f"format must be {readable}; this version reads no other")
    values = {k: v for k, v in document.items() if k != "format"}
    known = {field.name: field for field in fields(Manifest)}
    wanted = {name for name, field in known.items() if field.default is MISSING}
    missing, unknown = wanted - values.keys(), values.keys() - known.keys()
    if missing or unknown:
        problem = "missing" if missing else "unknown"
        raise fail(f"{problem} field {sorted(missing or unknown)[0]!r}")
    for key in _COUNTS:
        most = MAX_SIZE if key == "size" else 4096
        if type(values[key]) is not int or not 0 < values[key] <= most:
            raise fail(f"{key} must be a positive whole number, {most} at most")
    for key, (kind, words) in _KINDS.items():
        if not isinstance(values[key], kind):
            raise fail(f"{key} must be {words}")
    for key in ("label", "licence"):
        if len(values[key]) > MAX_LABEL:
            raise fail(f"{key} may have {MAX_LABEL} characters at most")
    if not SAFE_NAME.fullmatch(values["name"]):
        raise fail("name must be letters, digits, - and _, 64 at most, and start with no - or _")
    step = values.setdefault("natural_step_deg", NATURAL_STEP_DEG)
    low, high = NATURAL_STEP_RANGE_DEG
    if isinstance(step, bool) or not isinstance(step, int | float) or not low <= step <= high:
        raise fail(f"natural_step_deg must be a number of {low:g} to {high:g} degrees a frame")
    try:
        values["pose_range_deg"] = {
            axis: (
                float(values["pose_range_deg"][axis][0]),
                float(values["pose_range_deg"][axis][1]),
            )
            for axis in AXES
        }
        values["presets"] = tuple(_preset(p) for p in values["presets"])
        if not isinstance(values["attributions"], list | tuple):
            raise ValueError("attributions must be a list of texts")
        values["attributions"] = tuple(str(a) for a in values["attributions"])
        values["files"] = {str(k): str(v) for k, v in dict(values["files"]).items()}
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise fail(f"pose_range_deg, presets, attributions or files: {error}") from error
    try:
        values["consent"] = Consent.of(values["consent"])
    except ValueError as error:
        raise fail(str(error)) from error
    manifest = Manifest(**values)
    for name, digest in manifest.files.items():
        if not is_safe_file(name) or name == "manifest.json":
            raise fail(f"file name {name[:100]!r} must stay inside the bundle")
        if not _SHA256.fullmatch(digest):
            raise fail(f"files: {name} needs a SHA-256 of 64 hexadecimal digits")
    if len({name.casefold() for name in manifest.files} | {"manifest.json"}) <= len(manifest.files):
        raise fail("files: two names differ only in capital letters")
    if len(manifest.files) >= MAX_FILES or len(manifest.presets) > MAX_PRESETS:
        raise fail(f"it may list {MAX_FILES - 1} files and {MAX_PRESETS} presets at most")
    for needed in (*(f"{n}.onnx" for n in LIVE_NETWORKS), "x_T.npy"):
        if needed not in manifest.files:
            raise fail(f"files must list {needed}")
    for axis, (low, high) in manifest.pose_range_deg.items():
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise fail(f"pose_range_deg.{axis} must rise")
    for preset in manifest.presets:
        for axis in AXES:
            low, high = manifest.pose_range_deg[axis]
            if not low <= getattr(preset, axis) <= high:
                raise fail(f"preset {preset.name!r}: {axis} is outside {low:g} to {high:g} degrees")
    return manifest


def is_safe_file(name: str) -> bool:
    """Whether a name is that of a plain file in the bundle's folder, on every system."""
    device = name.partition(".")[0].rstrip().casefold() in _DEVICES
    return bool(SAFE_FILE.fullmatch(name)) and not name.endswith(_UNSAFE_END) and not device


def _preset(value: Any) -> Preset:
    preset = Preset(**value)
    numbers = ["yaw", "pitch", "roll", "ease_s", "natural"]
    for key in numbers if preset.hold_s is None else [*numbers, "hold_s"]:
        number = getattr(preset, key)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"{key} must be a number")
    if not isinstance(preset.name, str) or not isinstance(preset.label, str):
        raise ValueError("name and label must be texts")
    if max(len(preset.name), len(preset.label)) > MAX_LABEL:
        raise ValueError(f"name and label may have {MAX_LABEL} characters at most")
    if not (0 < preset.ease_s <= 60 and 0 <= preset.natural <= 1):
        raise ValueError("ease_s must be above 0 and at most 60, natural 0 to 1")
    if preset.hold_s is not None and not 0 <= preset.hold_s <= MAX_HOLD_S:
        raise ValueError(f"hold_s must be 0 to {MAX_HOLD_S:g} seconds")
    return preset
