"""What each network of a bundle takes and gives; docs/bundle.md has the same as a table."""

from __future__ import annotations

from collections.abc import Mapping

from daetalker.models.manifest import Manifest
from daetalker.models.onnx_check import Network, NetworkError, Value

__all__ = ["SIGNED", "Signature", "check_signature", "signature", "words"]

# In video frames: the log-mel has 4 columns a frame, the acoustic features 2.
_MEL_BANDS, _MEL_COLUMNS, _FEATURES, _SAMPLES = 80, 4, 2, 640
_FREE = None

Signature = Mapping[str, Value]
SIGNED = ("acoustic", "speech", "latent", "student", "encoder", "teacher")
"""The networks that a bundle may hold; the first four are needed."""


def signature(name: str, m: Manifest, *, hears: str = "mel") -> tuple[Signature, Signature]:
    """Inputs and outputs of a network, by name; None is any length.

    Args:
        hears: ``mel``, or ``samples`` where the acoustic network hears the wave itself.
    """
    frames, side = m.window_frames, m.size

    def real(*shape: int | None) -> Value:
        return Value("tensor(float)", shape)

    image, latent = real(_FREE, 3, side, side), real(_FREE, m.latent)
    features = real(1, _FEATURES * frames, _FREE)
    hidden = real(1, frames, m.hidden)
    heard = {
        "mel": real(1, _MEL_BANDS, _MEL_COLUMNS * frames),
        "samples": real(1, _SAMPLES * frames),
    }
    table: dict[str, tuple[Signature, Signature]] = {
        "acoustic": ({hears: heard[hears]}, {"features": features}),
        "speech": ({"features": features}, {"hidden": hidden, "pose": real(1, frames, 3)}),
        "latent": (
            {"hidden": hidden, "control": real(1, frames, 4)},
            {"latents": real(1, frames, m.latent)},
        ),
        "student": (
            {"latent": latent},
            {"frame": Value("tensor(uint8)", (_FREE, side, side, 3))},
        ),
        "encoder": ({"image": image}, {"latent": latent}),
        "teacher": (
            {"x_t": image, "t": Value("tensor(int64)", (_FREE,)), "latent": latent},
            {"x0": image},
        ),
    }
    return table[name]


def check_signature(name: str, manifest: Manifest, network: Network) -> None:
    """Compare what a network says of itself with what it must take and give.

    An output's side that the file leaves open is found out by running it (`verify.py`).

    Raises:
        NetworkError: naming the input or output.
    """
    hears = "samples" if set(network.inputs) == {"samples"} else "mel"
    inputs, outputs = signature(name, manifest, hears=hears)
    _compare("input", network.inputs, inputs)
    _compare("output", network.outputs, outputs)


def words(value: Value) -> str:
    """A type and shape as people write it."""
    sides = ", ".join("B" if side is None else str(side) for side in value.shape)
    return f"{value.dtype} [{sides}]"


def _compare(kind: str, found: Signature, wanted: Signature) -> None:
    if not wanted.keys() <= found.keys() or (kind == "input" and wanted.keys() != found.keys()):
        names = ", ".join(map(repr, list(found)[:8])) or "none"
        raise NetworkError(f"must have the {kind}s {', '.join(wanted)}, not {names}")
    for key, value in wanted.items():
        same = found[key].dtype == value.dtype and len(found[key].shape) == len(value.shape)
        sides = zip(found[key].shape, value.shape, strict=False)
        if not same or not all(_fits(kind, *pair) for pair in sides):
            raise NetworkError(f"must have {words(value)} as {kind} {key!r}, not "
                               f"{words(found[key])}")  # fmt: skip


def _fits(kind: str, found: int | None, wanted: int | None) -> bool:
    return found == wanted or (wanted is None) or (found is None and kind == "output")
