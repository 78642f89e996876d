"""All figures of an avatar on a held-out folder, in one dictionary of plain numbers.

The caller injects the synthesis, so this file knows no clock and no session.  ``None`` stands for
"not measured": a network or a file is missing, or no face was found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.models.training import lips
from daetalker.models.training.data import (
    FPS,
    SAMPLES_PER_FRAME,
    DataError,
    Person,
    lip_opening,
    load_person,
)
from daetalker.models.training.landmarks import Face, FaceMeter, MeasureError
from daetalker.models.training.probes import (
    Audio,
    Frame,
    Synthesise,
    mean,
    pose_probe,
    ratio,
    seam_ratio,
    silence_probe,
    spread,
    stream_probe,
)
from daetalker.models.training.progress import track
from daetalker.models.training.reconstruct import make_score, reconstruction
from daetalker.models.training.report import format_table

__all__ = [
    "QUICK",
    "Frame",
    "Limits",
    "MeasureError",
    "Synthesise",
    "evaluate_avatar",
    "format_table",
]

STILL_LEVELS = 1.5


@dataclass(frozen=True)
class Limits:
    """How much is measured; the defaults take some minutes on two cores.

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


QUICK = Limits(
    reconstruction_frames=40,
    teacher_frames=4,
    teacher_steps=(50,),
    lips_s=30.0,
    pose_s=3.0,
    silence_s=4.0,
    stream_s=4.0,
)


@dataclass(frozen=True)
class _Held:
    """The held-out material and the length of it, in frames, that is measured."""

    person: Person
    phones: list[lips.Phone]
    count: int

    @property
    def audio(self) -> Audio:
        return self.person.audio[: self.count * SAMPLES_PER_FRAME]

    @property
    def frames(self) -> NDArray[np.uint8]:
        return self.person.frames[: self.count]


def evaluate_avatar(
    bundle: AvatarBundle,
    data: Path,
    synthesise: Synthesise,
    stream_synthesise: Synthesise | None = None,
    *,
    face_model: Path,
    lpips_weights: Path,
    cache: Path,
    limits: Limits = Limits(),
    hop_frames: int | None = None,
    threads: int = 2,
) -> dict[str, Any]:
    """Measure an avatar; progress goes to stderr, nothing is printed.

    Args:
        data: a folder as `data.load_person` reads it, with ``phones.csv`` for the closures.
        synthesise: the stages without a clock.
        stream_synthesise: the live session with a simulated clock; without it
            ``stream_max_abs_diff`` is None.
        face_model: MediaPipe's ``face_landmarker.task``.
        lpips_weights: AlexNet LPIPS v0.1 as safetensors.
        cache: folder for decoded frames (about 0.2 MB a frame at 256x256).
        hop_frames: hop of the profile in use; by default the bundle's.

    Returns:
        Figures by name, ready for JSON; what each means is said where it is computed.

    Raises:
        MeasureError: if a package or weights are missing.
        DataError: if the folder is unusable.
    """
    score = make_score(lpips_weights)
    with FaceMeter(face_model) as meter:
        held = _load(data, bundle.manifest.size, cache, limits)
        truth = _measure_truth(meter, held)
        result: dict[str, Any] = {
            "avatar": bundle.manifest.name,
            "data": data.resolve().name,
            "size": bundle.manifest.size,
            **reconstruction(
                bundle,
                held.person,
                score,
                frames=limits.reconstruction_frames,
                teacher_frames=limits.teacher_frames,
                teacher_steps=limits.teacher_steps,
                threads=threads,
            ),
        }
        hop = hop_frames or bundle.manifest.hop_frames
        result |= _speech(meter, held, truth, synthesise, hop)
        result |= silence_probe(
            meter,
            synthesise,
            held.audio,
            limits.silence_s,
            result["speech_motion"],
            result["pbm_threshold"],
        )
        presets = bundle.manifest.presets
        chosen = [presets[i] for i in spread(len(presets), limits.presets)]
        result |= pose_probe(
            meter, synthesise, held.audio, chosen, limits.pose_s, limits.pose_settle_s
        )
    result["stream_max_abs_diff"] = None
    if stream_synthesise is not None:
        audio = held.audio[: int(limits.stream_s * FPS) * SAMPLES_PER_FRAME]
        result |= stream_probe(synthesise, stream_synthesise, audio)
    plain: dict[str, Any] = _plain(result)
    return plain


def _load(data: Path, size: int, cache: Path, limits: Limits) -> _Held:
    person = load_person(data, size, cache)
    table = data / "phones.csv"
    phones = lips.read_phones(table) if table.is_file() else []
    count = min(len(person.frames), len(person.audio) // SAMPLES_PER_FRAME)
    count = min(count, int(limits.lips_s * FPS))
    if count < 2 * FPS:
        raise DataError(f"{data} is too short to measure: {count} frames, at least 50 are needed")
    return _Held(person, [p for p in phones if p.end_s * FPS <= count], count)


def _measure_truth(meter: FaceMeter, held: _Held) -> dict[int, Face]:
    """Faces of the true video: one second in four, and around p, b, m and pauses.

    They calibrate what counts as shut and give the measure's own ceilings and floors.
    """
    wanted = np.arange(held.count) % (4 * FPS) < FPS
    bilabial = [p for p in held.phones if p.name in lips.BILABIAL]
    wanted |= lips.mask_of(bilabial, held.count, widen=1)
    wanted |= lips.mask_of(lips.pauses(held.phones), held.count, widen=1)
    indices = [int(f) for f in np.flatnonzero(wanted)]
    faces = {f: meter.measure(held.frames[f]) for f in track(indices, "true video", len(indices))}
    return {f: face for f, face in faces.items() if face is not None}


def _speech(
    meter: FaceMeter, held: _Held, truth: dict[int, Face], synthesise: Synthesise, hop: int
) -> dict[str, Any]:
    """One pass over the speech: lips against truth, seams of the latents, trembling background."""
    count = held.count
    opening = np.full(count, np.nan)
    steps = np.full(count, np.nan)
    speaking = np.zeros(count, bool)
    still = _still_pixels(held.frames)
    mouth_distances, changes = [], []
    shown, before = 0, None
    for frame in track(synthesise(held.audio), "speech", count):
        f = frame.index
        if not 0 <= f < count:
            continue
        shown += 1
        speaking[f] = frame.speaking
        face = meter.measure(frame.rgb)
        if face is not None:
            opening[f] = face.opening
            if f in truth:
                apart = np.linalg.norm(face.mouth - truth[f].mouth, axis=-1)
                mouth_distances.append(float(apart.mean()))
        if before is not None and before.index == f - 1:
            steps[f] = float(np.linalg.norm(frame.latent - before.latent))
            changes.append(_mean_change(before.rgb, frame.rgb, still))
        before = frame

    true_changes = [
        _mean_change(held.frames[f - 1], held.frames[f], still) for f in range(1, 2 * FPS)
    ]
    pose_errors = [
        float(np.mean((face.pose_deg - held.person.pose_deg[f]) ** 2)) for f, face in truth.items()
    ]
    return {
        "frames": shown,
        "frames_missing": count - shown,
        "faces_found": int(np.isfinite(opening).sum()),
        **_lips(held, opening, truth, speaking),
        # Mean distance of the 20 mouth points between generated and true frames, both measured,
        # heads turned to the front, in outer eye distances: see Face.mouth.
        "lmd": mean(mouth_distances),
        "seam_ratio": seam_ratio(steps, speaking, hop),
        # Mean change from frame to frame where the true video does not move, levels of 255.
        "jitter_levels": mean(changes),
        "jitter_truth_levels": mean(true_changes),
        # The pose measure's own error on the true video.
        "pose_floor_msd_deg2": mean(pose_errors),
    }


def _lips(
    held: _Held,
    opening: NDArray[np.float64],
    truth: dict[int, Face],
    speaking: NDArray[np.bool_],
) -> dict[str, Any]:
    """Generated opening ``[T]`` against the true landmarks; beside it the true video's."""
    count, phones = held.count, held.phones
    target = lip_opening(held.person.landmarks[:count])
    measured = np.full(count, np.nan)
    for f, face in truth.items():
        measured[f] = face.opening
    spoken = [p for p in phones if p.name != "SIL"]
    speech = lips.mask_of(spoken, count) if phones else speaking
    pause = lips.mask_of(lips.pauses(phones), count)
    bilabial = [p for p in phones if p.name in lips.BILABIAL]
    threshold = lips.shut_threshold(measured, phones)
    return {
        "lip_corr": lips.correlation(opening, target),
        "lip_lag_frames": lips.best_lag(opening, target),
        "lip_corr_ceiling": lips.correlation(measured, target),
        "pbm_closed": lips.closed_share(opening, bilabial, threshold),
        "pbm_control": lips.closed_share(opening, lips.vowels_in_the_open(phones), threshold),
        "pbm_closed_ceiling": lips.closed_share(measured, bilabial, threshold),
        "pbm_phones": len(bilabial),
        "pbm_threshold": threshold,
        "speech_motion": lips.movement(opening, speech),
        "silence_motion_floor": ratio(
            lips.movement(measured, pause), lips.movement(measured, speech)
        ),
    }


def _still_pixels(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """``[S, S]`` True where the true video does not move but for compression noise."""
    sample = frames[spread(len(frames), 60)][..., 1].astype(np.float32)
    still: NDArray[np.bool_] = sample.std(axis=0) < STILL_LEVELS
    return still


def _mean_change(a: NDArray[np.uint8], b: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
    if not where.any():
        return float("nan")
    return float(np.abs(a[where].astype(np.int16) - b[where]).mean())


def _plain(value: Any) -> Any:
    """What JSON can hold: NaN becomes None, numpy numbers Python ones."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
