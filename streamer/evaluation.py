"""`daetalker evaluate`: the measuring code of the training extra, fed by the live stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle, find_avatar, load_bundle
from daetalker.streamer.control import Control
from daetalker.streamer.engine import Engine
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.media import MODEL_RATE, VOICE_RATE, VideoFrame, to_model_rate
from daetalker.streamer.offline import stream_synthesise, synthesise
from daetalker.streamer.profile import PROFILES, Profile

Angles = tuple[float, float, float]


class EvaluationError(StreamerError):
    """The evaluation cannot be made; the message says what is missing."""


@dataclass(frozen=True)
class Request:
    """What to measure, and where things lie.

    Attributes:
        data: sets, or datasets of which the held-out sets are meant.
        weights: folder with the measuring networks; None for the usual place, fetched if missing.
        cache: folder for decoded frames.
        tables: of the paper, 1 to 4.
        references: training set of the landmark baseline; None for the one beside the first set.
        ablations: folder RUN/ablations of a training run.
        syncnet: the public SyncNet v2 weights.
        seconds: of each set's speech that the tables' rows are of; None for the default.
        decoder_seconds: of it decoded by DDIM; None for the default.
        html, markdown: files to write.
    """

    data: Sequence[Path]
    weights: Path | None
    cache: Path
    tables: frozenset[int] = frozenset()
    references: Path | None = None
    ablations: Path | None = None
    syncnet: Path | None = None
    seconds: float | None = None
    decoder_seconds: float | None = None
    html: Path | None = None
    markdown: Path | None = None
    profile: str = "default"
    threads: int = 2
    quick: bool = False


def evaluate(avatar: str, request: Request) -> dict[str, Any]:
    """All figures of an avatar, and the report if files are asked for; takes minutes.

    Raises:
        BundleError: if the avatar is missing or damaged.
        EvaluationError: if a package, the weights or the data are missing.
    """
    try:
        from daetalker.models.training import evaluate as measuring
        from daetalker.models.training.data import DataError, sets_of, train_set_of
        from daetalker.models.training.tables.page import html_page, markdown
        from daetalker.models.training.tables.pictures import Album
        from daetalker.models.training.weights import weight
    except ImportError as error:
        raise EvaluationError(
            f"evaluating needs the training extra ({error.name} is not installed): "
            'pip install "daetalker[train]"'
        ) from None
    for file in (request.html, request.markdown):
        if file is not None and not file.resolve().parent.is_dir():
            raise EvaluationError(f"{file} cannot be written: there is no folder {file.parent}")
    bundle = load_bundle(find_avatar(avatar))
    engine = Engine(bundle, threads=request.threads)
    cut = PROFILES[request.profile]
    limits = measuring.QUICK if request.quick else measuring.Limits()
    extent = limits.tables
    if request.seconds is not None:
        extent = replace(extent, speech_s=request.seconds)
    if request.decoder_seconds is not None:
        extent = replace(extent, decoder_s=request.decoder_seconds)
    album = Album()

    def other(folder: Path) -> Any:
        variant = load_bundle(folder)
        return _offline(variant, Engine(variant, threads=request.threads), cut)

    try:
        folders = [folder for named in request.data for folder in sets_of(named)]
        references = train_set_of(request.references) if request.references else None
        asks_sync = bool(request.tables & {1, 2})
        figures = measuring.evaluate_avatar(
            bundle,
            folders,
            _offline(bundle, engine, cut),
            _live(bundle, engine, cut),
            face_model=weight("face_landmarker", request.weights),
            lpips_weights=weight("lpips", request.weights),
            cache=request.cache,
            limits=replace(limits, tables=extent),
            hop_frames=cut.hop_frames,
            threads=request.threads,
            wanted=measuring.Wanted(request.tables, references, request.ablations),
            sync=measuring.SyncSource.load(
                weight("light_asd", request.weights) if asks_sync else None,
                request.syncnet if asks_sync else None,
            ),
            other=other,
            album=album,
        )
        if request.html is not None:
            page = html_page(figures, album, bundle.manifest.label)
            _write(request.html, page)
        if request.markdown is not None:
            _write(request.markdown, markdown(figures))
    except (measuring.MeasureError, DataError) as error:
        raise EvaluationError(str(error)) from error
    return figures


def tables_text(figures: dict[str, Any]) -> str:
    """Figures and tables for people to read in a terminal."""
    from daetalker.models.training.report import format_table
    from daetalker.models.training.tables.sheets import as_text, sheets

    sets = figures.get("sets") or [figures]
    return "\n\n".join([*map(format_table, sets), *map(as_text, sheets(figures))])


# Both hear what a server would hear of these samples, so they can be compared bit by bit.
def _offline(bundle: AvatarBundle, engine: Engine, cut: Profile) -> Any:
    def frames(samples: NDArray[np.float32], *, pose: Angles | None = None) -> Iterable[VideoFrame]:
        return synthesise(
            bundle,
            engine,
            to_model_rate(as_voice(samples)),
            control=_control(pose),
            profile=cut,
            frames=-(-samples.size // (MODEL_RATE // bundle.manifest.fps)),
        )

    return frames


def _live(bundle: AvatarBundle, engine: Engine, cut: Profile) -> Any:
    def frames(samples: NDArray[np.float32], *, pose: Angles | None = None) -> Iterable[VideoFrame]:
        return stream_synthesise(
            bundle, engine, as_voice(samples), control=_control(pose), profile=cut
        )

    return frames


def _control(pose: Angles | None) -> Control:
    return Control() if pose is None else Control(pose=pose, natural=0.0)


def _write(file: Path, text: str) -> None:
    partial = file.with_name(f".{file.name}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        raise EvaluationError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


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
