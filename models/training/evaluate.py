"""All figures of an avatar on held-out sets, and the paper's tables, as plain numbers.

The caller injects the synthesis, so this file knows no clock and no session.  ``None`` stands for
"not measured": a network or a file is missing, or no face was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.models.training import lips
from daetalker.models.training.data import FPS, SAMPLES_PER_FRAME, DataError, lip_opening
from daetalker.models.training.landmarks import FaceMeter, MeasureError
from daetalker.models.training.probes import (
    Audio,
    Frame,
    Meter,
    Synthesise,
    mean,
    pose_probe,
    ratio,
    seam_ratio,
    silence_probe,
    spread,
    stream_probe,
)
from daetalker.models.training.reconstruct import make_score, reconstruction
from daetalker.models.training.report import format_table
from daetalker.models.training.sync import Mouths, landmark_distance, mean_distance
from daetalker.models.training.tables.held import Held, calibration_frames, load_held, with_faces
from daetalker.models.training.tables.lipsync import SyncSource
from daetalker.models.training.tables.measure import QUICK as QUICK_EXTENT
from daetalker.models.training.tables.measure import Extent, Tables, Wanted
from daetalker.models.training.tables.pictures import Album
from daetalker.models.training.tables.show import Shown
from daetalker.models.training.tables.stretch import true_frames
from daetalker.models.training.tables.take import RememberingMeter, Take, record

__all__ = [
    "QUICK",
    "Audio",
    "Extent",
    "Frame",
    "Limits",
    "MeasureError",
    "SyncSource",
    "Synthesise",
    "Wanted",
    "evaluate_avatar",
    "format_table",
]

NO_TABLES, NO_NETWORKS = Wanted(), SyncSource()


@dataclass(frozen=True)
class Limits:
    """How much is measured; the defaults take some minutes a set on two cores.

    Attributes:
        reconstruction_frames: held-out frames, evenly spaced, through encoder and student.
        teacher_frames: frames, evenly spaced, that go through the teacher and the student.
        teacher_steps: DDIM steps; the first number gives the ``teacher_*`` keys, further ones
            ``teacher_N_steps_*``.
        lips_s: seconds of speech synthesised and compared with the truth.
        presets: poses tried, evenly spaced in the bundle's list.
        pose_s: seconds of each pose; ``pose_settle_s`` of them, in which the head gets there, are
            left out.
        silence_s: seconds of digital silence, and of a quiet room, after two seconds of speech.
        stream_s: seconds compared between the live session and the offline stages.
        tables: what the tables measure beyond that.
    """

    reconstruction_frames: int = 200
    teacher_frames: int = 24
    teacher_steps: tuple[int, ...] = (50, 100)
    lips_s: float = 180.0
    presets: int = 5
    pose_s: float = 5.0
    pose_settle_s: float = 1.5
    silence_s: float = 8.0
    stream_s: float = 12.0
    tables: Extent = field(default_factory=Extent)


QUICK = Limits(
    reconstruction_frames=40,
    teacher_frames=4,
    teacher_steps=(50,),
    lips_s=30.0,
    pose_s=3.0,
    silence_s=4.0,
    stream_s=4.0,
    tables=QUICK_EXTENT,
)


def evaluate_avatar(
    bundle: AvatarBundle,
    data: Path | Sequence[Path],
    synthesise: Synthesise,
    stream_synthesise: Synthesise | None = None,
    *,
    face_model: Path,
    lpips_weights: Path,
    cache: Path,
    limits: Limits = Limits(),
    hop_frames: int | None = None,
    threads: int = 2,
    wanted: Wanted = NO_TABLES,
    sync: SyncSource = NO_NETWORKS,
    other: Callable[[Path], Synthesise] | None = None,
    album: Album | None = None,
) -> dict[str, Any]:
    """Measure an avatar; progress goes to stderr, nothing is printed.

    Args:
        data: a set as `data.load_person` reads it, or several; with ``phones.csv`` for the
            closures.
        synthesise: the stages without a clock.
        stream_synthesise: the live session with a simulated clock; without it
            ``stream_max_abs_diff`` is None.
        face_model: MediaPipe's ``face_landmarker.task``.
        lpips_weights: AlexNet LPIPS v0.1 as safetensors.
        cache: folder for decoded frames (about 0.2 MB a frame at 256x256).
        hop_frames: hop of the profile in use; by default the bundle's.
        wanted: tables of the paper.
        sync: networks that judge picture and sound together.
        other: makes the synthesis of another bundle, for the ablations.
        album: is given pictures and clips for the report.

    Returns:
        Figures of the first set by name, ready for JSON; with several sets all of them in
        ``sets``; the tables wanted as ``table1`` to ``table4``.  What each means is said where it
        is computed.

    Raises:
        MeasureError: if a package or weights are missing.
        DataError: if a folder is unusable.
    """
    folders = [data] if isinstance(data, Path) else list(data)
    if not folders:
        raise DataError("there is no set to measure")
    score = make_score(lpips_weights)
    album = Album() if album is None else album
    found: list[dict[str, Any]] = []
    with FaceMeter(face_model) as raw_meter:
        meter = RememberingMeter(raw_meter)
        tables = Tables(
            bundle, wanted, limits.tables, meter, sync, synthesise, other, album, threads
        )
        for folder, name in zip(folders, _names(folders), strict=True):
            held = load_held(folder, name, bundle.manifest.size, cache, limits.lips_s)
            one = _about(bundle, held)
            shown, frames = Shown(), limits.teacher_frames
            one |= reconstruction(
                bundle,
                held.whole,
                score,
                frames=limits.reconstruction_frames,
                teacher_frames=frames,
                teacher_steps=tables.reconstruction_steps(limits.teacher_steps),
                threads=threads,
                show=shown,
            )
            tables.compare_landmarks(folder, held, score, frames, shown)
            truth = _true_take(held, meter, tables)
            held = with_faces(held, truth.faces)
            student = _student_take(held, meter, tables, synthesise)
            one |= _speech(held, truth, student, hop_frames or bundle.manifest.hop_frames)
            one |= _probes(held, meter, bundle, synthesise, stream_synthesise, limits, one)
            tables.measure(held, truth, student)
            found.append(one)
    result = dict(found[0])
    if len(found) > 1:
        result["sets"] = found
    plain: dict[str, Any] = _plain(result | tables.objects(found[0]))
    return plain


def _about(bundle: AvatarBundle, held: Held) -> dict[str, Any]:
    return {
        "avatar": bundle.manifest.name,
        "data": held.name,
        "truth": held.truth,
        "size": bundle.manifest.size,
    }


def _names(folders: Sequence[Path]) -> list[str]:
    """A set's own name, with its folder's before it where two would be called the same."""
    names = [folder.resolve().name for folder in folders]
    return [
        name if names.count(name) == 1 else f"{folder.resolve().parent.name}/{name}"
        for folder, name in zip(folders, names, strict=True)
    ]


def _true_take(held: Held, meter: Meter, tables: Tables) -> Take:
    """The true video, as much of it as calibration and tables need."""
    spoken = tables.spoken(held)
    indices = sorted({*calibration_frames(held), *range(spoken)})
    return record(
        true_frames(held, indices),
        meter,
        held.count,
        held.still,
        f"{held.name}, true video",
        sync=tables.collector(),
        sync_frames=spoken,
    )


def _student_take(held: Held, meter: Meter, tables: Tables, synthesise: Synthesise) -> Take:
    return record(
        synthesise(held.audio),
        meter,
        held.count,
        held.still,
        f"{held.name}, speech",
        sync=tables.collector(),
        sync_frames=tables.spoken(held),
        keep=tables.kept(held),
    )


def _probes(
    held: Held,
    meter: Meter,
    bundle: AvatarBundle,
    synthesise: Synthesise,
    stream_synthesise: Synthesise | None,
    limits: Limits,
    speech: Mapping[str, Any],
) -> dict[str, Any]:
    """Silence, specified poses, live against offline; ``speech`` is what `_speech` found."""
    presets = bundle.manifest.presets
    chosen = [presets[i] for i in spread(len(presets), limits.presets)]
    result = silence_probe(
        meter,
        synthesise,
        held.audio,
        limits.silence_s,
        speech["speech_motion"],
        speech["pbm_threshold"],
    )
    result |= pose_probe(meter, synthesise, held.audio, chosen, limits.pose_s, limits.pose_settle_s)
    result["stream_max_abs_diff"] = None
    if stream_synthesise is not None:
        audio = held.audio[: int(limits.stream_s * FPS) * SAMPLES_PER_FRAME]
        result |= stream_probe(synthesise, stream_synthesise, audio)
    return result


def _speech(held: Held, truth: Take, student: Take, hop: int) -> dict[str, Any]:
    """The speech of a set: lips against truth, seams of the latents, trembling background."""
    count = held.count
    true = Mouths.of(truth.faces, count)
    ours = Mouths.of(student.faces, count)
    pose_errors = [
        float(np.mean((face.pose_deg - held.person.pose_deg[f]) ** 2))
        for f, face in truth.faces.items()
    ]
    return {
        "frames": int(student.shown.sum()),
        "frames_missing": count - int(student.shown.sum()),
        "faces_found": len(student.faces),
        **_lips(held, student, truth.opening),
        # Mean distance of the 20 mouth points between generated and true frames, both measured,
        # in pixels of a 256x256 picture with both mouths' means on each other.
        "lmd": landmark_distance(ours.seen_px, true.seen_px),
        # The same, heads turned to the front, in outer eye distances: see Face.mouth.
        "lmd_eye_distances": mean_distance(ours.front, true.front),
        "seam_ratio": seam_ratio(student.latent_steps, student.speaking, hop),
        # Mean change from frame to frame where the true video does not move, levels of 255.
        "jitter_levels": student.jitter_levels,
        "jitter_truth_levels": truth.jitter_levels,
        # The pose measure's own error on the true video.
        "pose_floor_msd_deg2": mean(pose_errors),
    }


def _lips(held: Held, student: Take, measured: NDArray[np.float64]) -> dict[str, Any]:
    """Generated opening against the true landmarks; beside it the true video's, ``[T]``."""
    count, phones, opening = held.count, held.phones, student.opening
    target = lip_opening(held.person.landmarks)
    spoken = [p for p in phones if p.name != "SIL"]
    speech = lips.mask_of(spoken, count) if phones else student.speaking
    pause = lips.mask_of(lips.pauses(phones), count)
    bilabial = [p for p in phones if p.name in lips.BILABIAL]
    return {
        "lip_corr": lips.correlation(opening, target),
        "lip_lag_frames": lips.best_lag(opening, target),
        "lip_corr_ceiling": lips.correlation(measured, target),
        "pbm_closed": lips.closed_share(opening, bilabial, held.shut),
        "pbm_control": lips.closed_share(opening, lips.vowels_in_the_open(phones), held.shut),
        "pbm_closed_ceiling": lips.closed_share(measured, bilabial, held.shut),
        "pbm_phones": len(bilabial),
        "pbm_threshold": held.shut,
        "speech_motion": lips.movement(opening, speech),
        "silence_motion_floor": ratio(
            lips.movement(measured, pause), lips.movement(measured, speech)
        ),
    }


def _plain(value: Any) -> Any:
    """What JSON can hold: NaN becomes None, numpy numbers Python ones."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
