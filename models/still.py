"""A still picture of an avatar at rest, made by its own networks: what a bundle shows of itself."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import PREVIEW, AvatarBundle, rewrite_manifest
from daetalker.models.mel import log_mel
from daetalker.models.verify import open_network

_SAMPLES_PER_FRAME = 640


def render_still(bundle: AvatarBundle) -> NDArray[np.uint8]:
    """The avatar silent, looking straight ahead, eyes open: ``[S, S, 3]`` RGB.

    Raises:
        BundleError: if a network cannot be opened.
    """
    frames = bundle.manifest.window_frames
    silence = np.zeros(_SAMPLES_PER_FRAME * frames, np.float32)
    acoustic = open_network(bundle, "acoustic")
    hears = acoustic.get_inputs()[0].name
    heard = {hears: (log_mel(silence) if hears == "mel" else silence)[None]}

    def run(name: str, feed: dict[str, NDArray[Any]], *wanted: str) -> list[NDArray[Any]]:
        return list(open_network(bundle, name).run(list(wanted), feed))

    (features,) = acoustic.run(["features"], heard)
    (hidden,) = run("speech", {"features": features}, "hidden")
    control = np.zeros((1, frames, 4), np.float32)
    (latents,) = run("latent", {"hidden": hidden, "control": control}, "latents")
    (picture,) = run("student", {"latent": latents[0, -1:]}, "frame")
    still: NDArray[np.uint8] = picture[0]
    return still


def add_preview(bundle: AvatarBundle) -> Path:
    """Render the still into the bundle's folder and note it in the manifest."""
    path = bundle.path / PREVIEW
    path.write_bytes(encode_png(render_still(bundle)))
    rewrite_manifest(bundle.path)
    return path


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """A PNG file of an ``[H, W, 3]`` RGB picture."""
    height, width, _ = rgb.shape
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "rgb24"
    codec.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
