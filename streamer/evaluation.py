"""`daetalker evaluate`: the measuring code of the training extra, fed by the live stages."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import find_avatar, load_bundle
from daetalker.streamer.control import Control
from daetalker.streamer.engine import Engine
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.media import MODEL_RATE, VOICE_RATE, VideoFrame, to_model_rate
from daetalker.streamer.offline import stream_synthesise, synthesise
from daetalker.streamer.profile import PROFILES

FACE_MODEL = Path("mediapipe/face_landmarker.task")
LPIPS_WEIGHTS = Path("lpips/lpips_alex_v0.1.safetensors")


class EvaluationError(StreamerError):
    """The evaluation cannot be made; the message says what is missing."""


def evaluate(
    avatar: str,
    data: Path,
    weights: Path,
    cache: Path,
    *,
    profile: str = "default",
    threads: int = 2,
    quick: bool = False,
) -> dict[str, Any]:
    """All figures of an avatar; takes minutes.

    Args:
        weights: folder with the measuring networks, `FACE_MODEL` and `LPIPS_WEIGHTS`.
        cache: folder for decoded frames.

    Raises:
        BundleError: if the avatar is missing or damaged.
        EvaluationError: if a package, the weights or the data are missing.
    """
    try:
        from daetalker.models.training import evaluate as measuring
        from daetalker.models.training.data import DataError
    except ImportError as error:
        raise EvaluationError(
            f"evaluating needs the training extra ({error.name} is not installed): "
            'pip install "daetalker[train]"'
        ) from None
    for file in (FACE_MODEL, LPIPS_WEIGHTS):
        if not (weights / file).is_file():
            raise EvaluationError(f"there is no {file} in {weights}; see docs/training.md")
    bundle = load_bundle(find_avatar(avatar))
    engine = Engine(bundle, threads=threads)
    cut = PROFILES[profile]

    def control(pose: tuple[float, float, float] | None) -> Control:
        return Control() if pose is None else Control(pose=pose, natural=0.0)

    # Both hear what a server would hear of these samples, so they can be compared bit by bit.
    def offline(
        samples: NDArray[np.float32], *, pose: tuple[float, float, float] | None = None
    ) -> Iterable[VideoFrame]:
        frames = -(-samples.size // (MODEL_RATE // bundle.manifest.fps))
        return synthesise(
            bundle,
            engine,
            to_model_rate(as_voice(samples)),
            control=control(pose),
            profile=cut,
            frames=frames,
        )

    def live(
        samples: NDArray[np.float32], *, pose: tuple[float, float, float] | None = None
    ) -> Iterable[VideoFrame]:
        return stream_synthesise(
            bundle, engine, as_voice(samples), control=control(pose), profile=cut
        )

    try:
        return measuring.evaluate_avatar(
            bundle,
            data,
            offline,
            live,
            face_model=weights / FACE_MODEL,
            lpips_weights=weights / LPIPS_WEIGHTS,
            cache=cache,
            limits=measuring.QUICK if quick else measuring.Limits(),
            hop_frames=cut.hop_frames,
            threads=threads,
        )
    except (measuring.MeasureError, DataError) as error:
        raise EvaluationError(str(error)) from error


def as_voice(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """16 kHz float32 in [-1, 1] as a microphone's 48 kHz int16, three samples for one."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=VOICE_RATE)
    pcm = np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
    sound = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
    sound.sample_rate = MODEL_RATE
    sound.pts, sound.time_base = 0, Fraction(1, MODEL_RATE)
    pieces = [*resampler.resample(sound), *resampler.resample(None)]
    line = np.concatenate([piece.to_ndarray().reshape(-1) for piece in pieces]).astype(np.int16)
    wanted = samples.size * (VOICE_RATE // MODEL_RATE)
    return np.pad(line, (0, max(0, wanted - line.size)))[:wanted]
