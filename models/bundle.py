"""Avatar bundles: a folder with the networks, their configuration, x_T, presets and checksums.

A bundle is data only.  Loading parses ``manifest.json``, checks every file's size and SHA-256 and
never unpickles anything; the networks are ONNX files that the caller opens.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
EMBEDDED = Path(__file__).resolve().parent / "avatars"
AXES = ("yaw", "pitch", "roll")
LIVE_NETWORKS = ("acoustic", "speech", "latent", "student")
MAX_FILE_BYTES = 512 * 1024 * 1024


class BundleError(ValueError):
    """An avatar bundle is missing, incomplete or damaged; the message says what to do."""


@dataclass(frozen=True)
class Preset:
    """A named head pose in degrees.

    Attributes:
        ease_s: seconds the head takes to get there.
        natural: share of the speech-driven movement kept around the pose, 0 to 1.
    """

    name: str
    label: str
    yaw: float
    pitch: float
    roll: float
    ease_s: float = 0.5
    natural: float = 0.15


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
        consent: who agreed to what.
        files: SHA-256 of each file, hexadecimal.
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
    consent: str
    files: dict[str, str]


@dataclass(frozen=True)
class AvatarBundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest

    def network(self, name: str) -> Path:
        """Path of ``NAME.onnx``.

        Raises:
            BundleError: if the bundle does not hold that network.
        """
        file = f"{name}.onnx"
        if file not in self.manifest.files:
            raise BundleError(f"avatar '{self.manifest.name}' has no network '{name}'")
        return self.path / file

    def noise(self) -> NDArray[np.float32]:
        """The shared x_T of section 3.3, ``[1, 3, S, S]`` standard normal."""
        noise: NDArray[np.float32] = np.load(self.path / "x_T.npy", allow_pickle=False)
        return noise.astype(np.float32)

    def preset(self, name: str) -> Preset:
        """The preset of that name.

        Raises:
            BundleError: naming the presets there are.
        """
        for preset in self.manifest.presets:
            if preset.name == name:
                return preset
        names = ", ".join(p.name for p in self.manifest.presets)
        raise BundleError(f"unknown preset '{name}'; avatar '{self.manifest.name}' has: {names}")


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, values: dict[str, Any]) -> None:
    """Write ``manifest.json`` with the checksums of every other file in ``folder``."""
    files = {
        p.name: sha256_of(p)
        for p in sorted(folder.iterdir())
        if p.is_file() and p.name != "manifest.json"
    }
    document = {"format": FORMAT, **values, "files": files}
    _parse(document, folder)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def load_bundle(path: Path) -> AvatarBundle:
    """Read and verify a bundle.

    Raises:
        BundleError: naming the file and what is wrong with it.
    """
    target = path / "manifest.json"
    if not target.is_file():
        raise BundleError(f"{path} is not an avatar bundle: manifest.json is missing")
    try:
        document = json.loads(target.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{target} is not readable JSON: {error}") from error
    manifest = _parse(document, path)
    for name, digest in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise BundleError(f"avatar '{manifest.name}' is incomplete: {name} is missing")
        if file.stat().st_size > MAX_FILE_BYTES:
            raise BundleError(f"avatar '{manifest.name}': {name} is larger than a bundle may hold")
        if sha256_of(file) != digest:
            raise BundleError(
                f"avatar '{manifest.name}' is damaged: {name} does not match its checksum; "
                "install or export it again"
            )
    return AvatarBundle(path, manifest)


def find_avatar(name_or_path: str) -> Path:
    """Folder of an embedded avatar by name, or of any bundle by path.

    Raises:
        BundleError: naming the embedded avatars there are.
    """
    for folder in (EMBEDDED / name_or_path, Path(name_or_path)):
        if (folder / "manifest.json").is_file():
            return folder
    names = ", ".join(p.name for p in list_avatars()) or "none"
    raise BundleError(f"no avatar '{name_or_path}': not a bundle folder, and embedded are: {names}")


def list_avatars() -> list[Path]:
    """Folders of the embedded avatars."""
    return sorted(p.parent for p in EMBEDDED.glob("*/manifest.json"))


def _parse(document: Any, where: Path) -> Manifest:
    def fail(problem: str) -> BundleError:
        return BundleError(f"{where.name}/manifest.json: {problem}")

    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise fail(f"format must be {FORMAT}; this version cannot read it")
    values = {k: v for k, v in document.items() if k != "format"}
    wanted = Manifest.__dataclass_fields__
    missing, unknown = wanted.keys() - values.keys(), values.keys() - wanted.keys()
    if missing or unknown:
        problem = "missing" if missing else "unknown"
        raise fail(f"{problem} field {sorted(missing or unknown)[0]!r}")
    for key in ("size", "fps", "window_frames", "hop_frames", "lookahead_frames", "latent",
                "hidden", "diffusion_steps"):  # fmt: skip
        if type(values[key]) is not int or not 0 < values[key] <= 4096:
            raise fail(f"{key} must be a positive whole number")
    try:
        values["pose_range_deg"] = {
            axis: (
                float(values["pose_range_deg"][axis][0]),
                float(values["pose_range_deg"][axis][1]),
            )
            for axis in AXES
        }
        values["presets"] = tuple(Preset(**p) for p in values["presets"])
        values["attributions"] = tuple(str(a) for a in values["attributions"])
        values["files"] = {str(k): str(v) for k, v in dict(values["files"]).items()}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise fail(f"pose_range_deg, presets, attributions or files: {error}") from error
    manifest = Manifest(**values)
    for name in manifest.files:
        if Path(name).name != name or name.startswith("."):
            raise fail(f"file name {name!r} must stay inside the bundle")
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
                raise fail(f"preset '{preset.name}': {axis} is outside {low:g} to {high:g} degrees")
    return manifest
