"""What a bundle's networks take and give, checked before anyone relies on them.

A manifest's checksums say that files have arrived as they were sent, not that they are an avatar.
"""

from __future__ import annotations

from typing import Any

from daetalker.models.bundle import LIVE_NETWORKS, AvatarBundle, BundleError

# In video frames: the log-mel has 4 columns a frame, the acoustic features 2.
_MEL_BANDS, _MEL_COLUMNS, _FEATURES, _SAMPLES = 80, 4, 2, 640
_FREE = None

Shape = tuple[int | None, ...]
Signature = dict[str, tuple[str, Shape]]


def signatures(bundle: AvatarBundle) -> dict[str, tuple[Signature, Signature]]:
    """Inputs and outputs that each network must have, by network; ``None`` is any length.

    docs/bundle.md has the same as a table.
    """
    m = bundle.manifest
    frames, side = m.window_frames, m.size
    real, whole, byte = "tensor(float)", "tensor(int64)", "tensor(uint8)"
    image, latent = (real, (_FREE, 3, side, side)), (real, (_FREE, m.latent))
    features = (real, (1, _FEATURES * frames, _FREE))
    hidden = (real, (1, frames, m.hidden))
    return {
        "acoustic": (
            {"mel": (real, (1, _MEL_BANDS, _MEL_COLUMNS * frames))},
            {"features": features},
        ),
        "speech": (
            {"features": features},
            {"hidden": hidden, "pose": (real, (1, frames, 3))},
        ),
        "latent": (
            {"hidden": hidden, "control": (real, (1, frames, 4))},
            {"latents": (real, (1, frames, m.latent))},
        ),
        "student": ({"latent": latent}, {"frame": (byte, (_FREE, side, side, 3))}),
        "encoder": ({"image": image}, {"latent": latent}),
        "teacher": ({"x_t": image, "t": (whole, (_FREE,)), "latent": latent}, {"x0": image}),
    }


def check_networks(bundle: AvatarBundle) -> list[str]:
    """Open every network of the bundle and compare what it takes and gives; their names.

    Raises:
        BundleError: naming the network and what is wrong with it.
    """
    checked = []
    for name, (inputs, outputs) in signatures(bundle).items():
        if name not in LIVE_NETWORKS and f"{name}.onnx" not in bundle.manifest.files:
            continue
        session = open_network(bundle, name)
        given = {i.name for i in session.get_inputs()}
        if name == "acoustic" and given == {"samples"}:
            # Front-ends that hear the wave itself, such as wav2vec 2.0.
            frames = bundle.manifest.window_frames
            inputs = {"samples": ("tensor(float)", (1, _SAMPLES * frames))}
        _compare(bundle, name, "input", session.get_inputs(), inputs)
        _compare(bundle, name, "output", session.get_outputs(), outputs)
        checked.append(name)
    bundle.noise()
    return checked


def open_network(bundle: AvatarBundle, name: str) -> Any:
    """An ONNX Runtime session of one network, on one thread.

    Raises:
        BundleError: if the file is no network, or would read other files.
    """
    import onnxruntime as ort

    path = bundle.network(name)

    def fail(reason: object) -> BundleError:
        return BundleError(f"avatar '{bundle.manifest.name}': {name}.onnx {reason}")

    data = path.read_bytes()
    # ONNX may keep tensors in files beside it and names them under this key; ours never do.
    if b"location" in data:
        raise fail("refers to data outside itself")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no public base class
        raise fail(f"cannot be opened: {str(error).splitlines()[0][:200]}") from error


def _compare(bundle: AvatarBundle, name: str, kind: str, found: Any, wanted: Signature) -> None:
    have = {value.name: (value.type, value.shape) for value in found}
    if not wanted.keys() <= have.keys() or (kind == "input" and wanted.keys() != have.keys()):
        raise BundleError(
            f"avatar '{bundle.manifest.name}': {name}.onnx must have the {kind}s "
            f"{', '.join(wanted)}, not {', '.join(map(repr, have)) or 'none'}"
        )
    for key, (dtype, shape) in wanted.items():
        real_dtype, real_shape = have[key]
        same = real_dtype == dtype and len(real_shape) == len(shape)
        if not same or not all(map(_fits, real_shape, shape)):
            want = ", ".join("B" if side is None else str(side) for side in shape)
            raise BundleError(
                f"avatar '{bundle.manifest.name}': {kind} '{key}' of {name}.onnx must be {dtype} "
                f"[{want}], not {real_dtype} {real_shape}"
            )


def _fits(real: object, wanted: int | None) -> bool:
    return wanted is None or real == wanted
