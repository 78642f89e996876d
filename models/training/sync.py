"""The sync figures of Table 1 for one video: collected frame by frame, then judged.

Every row is judged against the *true* sound, the true video and its landmarks.  The two controls
are videos that the avatar makes from other sound (`control_audio`), so that every figure, also
those that look at pictures alone, can lose.  T frames, S pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from daetalker.models.training import lips
from daetalker.models.training.data import FPS, SAMPLES_PER_FRAME
from daetalker.models.training.face_crops import FaceCrops, mouth_grey
from daetalker.models.training.landmarks import MOUTH_POINTS, Face
from daetalker.models.training.light_asd import LightAsd, light_asd_figures
from daetalker.models.training.probes import Audio, Meter
from daetalker.models.training.syncnet import WINDOW, LipWindows, SyncNet, lip_sync

LMD_SIDE = 256
SHIFT_FRAMES, FOREIGN_FRAMES = 6, 37
# Wide enough to find the shifted control where it is.
LAG_REACH = 10


@dataclass(frozen=True)
class Mouths:
    """Lips of a video, frame by frame; NaN where no face was found.

    Attributes:
        opening: ``[T]`` in eye distances, see `Face.opening`.
        seen_px: ``[T, 20, 2]`` mouth points as they stand in a picture of 256 pixels.
        front: ``[T, 20, 2]`` with the head turned to the front, in eye distances, see `Face.mouth`.
    """

    opening: NDArray[np.float64]
    seen_px: NDArray[np.float64]
    front: NDArray[np.float64]

    @classmethod
    def of(cls, faces: Mapping[int, Face], count: int) -> Mouths:
        """T = ``count`` frames from faces by frame; not every frame need be there."""
        points = len(MOUTH_POINTS)
        made = cls(
            np.full(count, np.nan),
            np.full((count, points, 2), np.nan),
            np.full((count, points, 2), np.nan),
        )
        for f, face in faces.items():
            made.opening[f] = face.opening
            made.seen_px[f] = face.points[list(MOUTH_POINTS), :2] * LMD_SIDE
            made.front[f] = face.mouth
        return made


@dataclass(frozen=True)
class SyncTruth:
    """What a row is judged against, beside the sound.

    Attributes:
        opening: ``[T]`` lip opening of the set's own landmarks, see `data.lip_opening`.
        mouths: of the true video, measured as the row's are.
        phones: with their times; without them closures are not measured.
    """

    opening: NDArray[np.float32]
    mouths: Mouths
    phones: Sequence[lips.Phone] = ()


@dataclass(frozen=True)
class SyncFigures:
    """One row of Table 1 without its name; None stands for "not measured".

    Attributes:
        frames, faces_found: length of the row, and pictures in which a face was found.
        lse_d, lse_c, lse_offset_frames: see `syncnet.LipSync`.
        light_asd: Light-ASD's mean speaking score, a logit; higher is better.  It asks whether the
            mouth moves as in speech and hardly whether in *this* speech: on true video, sound that
            comes late or belongs elsewhere leaves it where it was.
        light_asd_contrast: Light-ASD's score of the pictures alone, where the sound speaks less
            where it is silent: whether the mouth moves when it should.  Higher is better.
        lip_corr: correlation of the opening with the true one, frame by frame.
        lip_lag_frames: the lag, -10 to 10, at which that is highest; positive if the row is late.
        pbm_closed: share of p, b, m during which, or within a frame of which, the lips are shut.
        av_offset_ms: by how much the sound comes after the picture, from the sound and the lip
            opening alone; means nothing if ``av_offset_confidence`` is below 0.3.
        lmd: pixels of a 256x256 picture, see `landmark_distance`; lower is better.
        lmd_eye_distances: the same with both heads turned to the front, in eye distances: lips
            without the head.
    """

    frames: int
    faces_found: int
    lse_d: float | None
    lse_c: float | None
    lse_offset_frames: float | None
    light_asd: float | None
    light_asd_contrast: float | None
    lip_corr: float | None
    lip_lag_frames: float | None
    pbm_closed: float | None
    av_offset_ms: float | None
    av_offset_confidence: float | None
    lmd: float | None
    lmd_eye_distances: float | None


class SyncCollector:
    """Measures a video as it comes; holds numbers and small crops, never the video.

    Three minutes take about 60 MB with Light-ASD and 20 MB more with SyncNet.

    Args:
        light_asd, syncnet: without one its figures are "not measured".
    """

    def __init__(
        self, meter: Meter, *, light_asd: LightAsd | None = None, syncnet: SyncNet | None = None
    ) -> None:
        self._meter = meter
        self._light_asd, self._syncnet = light_asd, syncnet
        self._crops = FaceCrops() if light_asd is not None or syncnet is not None else None
        self._lips = LipWindows(syncnet) if syncnet is not None else None
        self._grey: list[NDArray[np.uint8]] = []
        self._faces: dict[int, Face] = {}
        self._count = 0
        self._before: NDArray[np.uint8] | None = None
        self._embedded: tuple[Tensor | None, Tensor | None] | None = None

    def add(self, index: int, rgb: NDArray[np.uint8]) -> Face | None:
        """Measure frame ``index``, ``[S, S, 3]`` RGB, and give its face; frames come in order.

        The networks take a frame left out to show what the one before it shows.

        Raises:
            ValueError: if a frame comes twice or too late, or after `figures` was called.
        """
        if index < self._count or self._embedded is not None:
            raise ValueError(f"frame {index} comes too late: {self._count} were collected")
        face = self._meter.measure(rgb)
        if face is not None:
            self._faces[index] = face
        while self._count < index:
            self._look(rgb if self._before is None else self._before, None)
        self._look(rgb, face)
        self._before = rgb.copy()
        return face

    def mouths(self, count: int | None = None) -> Mouths:
        """What was collected, T = ``count`` frames of it or as many as came."""
        count = self._count if count is None else count
        return Mouths.of({f: face for f, face in self._faces.items() if f < count}, count)

    def figures(self, audio: Audio, truth: SyncTruth) -> dict[str, float | None]:
        """Judge what was collected, as often as wanted; ends the collecting.

        Args:
            audio: ``[640 T]`` 16 kHz in [-1, 1], what the video should say: for all rows, the
                controls too, the true sound.

        Returns:
            `SyncFigures` by name, ready for JSON.
        """
        count = min(self._count, len(audio) // SAMPLES_PER_FRAME, len(truth.opening))
        audio = audio[: count * SAMPLES_PER_FRAME]
        mouths = self.mouths(count)
        figures = {**self._heard(audio, count), **lip_figures(mouths, audio, truth)}
        return asdict(
            SyncFigures(
                frames=count,
                faces_found=int(np.isfinite(mouths.opening).sum()),
                **{name: _plain(value) for name, value in figures.items()},
            )
        )

    def _look(self, rgb: NDArray[np.uint8], face: Face | None) -> None:
        self._count += 1
        if self._crops is not None:
            self._keep(self._crops.add(rgb, face))

    def _keep(self, crops: Sequence[NDArray[np.uint8]]) -> None:
        for crop in crops:
            if self._light_asd is not None:
                self._grey.append(mouth_grey(crop))
            if self._lips is not None:
                self._lips.add(crop)

    def _heard(self, audio: Audio, count: int) -> dict[str, float | None]:
        """What the two networks say of pictures and sound together."""
        if self._embedded is None:
            if self._crops is not None:
                self._keep(self._crops.finish())
            asd = self._light_asd
            self._embedded = (
                asd.see(np.stack(self._grey)) if asd is not None and self._grey else None,
                self._lips.finish() if self._lips is not None else None,
            )
            self._grey = []
        seen, lips_seen = self._embedded
        made: dict[str, float | None] = dict.fromkeys(
            ("lse_d", "lse_c", "lse_offset_frames", "light_asd", "light_asd_contrast")
        )
        if self._light_asd is not None and seen is not None and count:
            made |= light_asd_figures(self._light_asd, seen[:count], audio)
        if self._syncnet is not None and lips_seen is not None and count > WINDOW:
            found = lip_sync(lips_seen, self._syncnet.hear(audio))
            made["lse_d"], made["lse_c"] = found.distance, found.confidence
            made["lse_offset_frames"] = float(found.offset_frames)
        return made


def lip_figures(mouths: Mouths, audio: Audio, truth: SyncTruth) -> dict[str, float]:
    """The figures that need no network but the face landmarks; NaN where not measured."""
    # An ONNX session and PyAV come with it; only who judges pays for them.
    from daetalker.models.training.prepare.offset import estimate_offset_ms

    opening = mouths.opening
    target, true = truth.opening[: len(opening)], truth.mouths
    bilabial = [p for p in truth.phones if p.name in lips.BILABIAL]
    bilabial = [p for p in bilabial if p.end_s * FPS <= len(opening)]
    threshold = lips.shut_threshold(true.opening, truth.phones)
    offset_ms, confidence = estimate_offset_ms(audio, opening.astype(np.float32), FPS)
    return {
        "lip_corr": lips.correlation(opening, target),
        "lip_lag_frames": lips.best_lag(opening, target, LAG_REACH),
        "pbm_closed": lips.closed_share(opening, bilabial, threshold),
        "av_offset_ms": offset_ms,
        "av_offset_confidence": confidence,
        "lmd": landmark_distance(mouths.seen_px, true.seen_px[: len(opening)]),
        "lmd_eye_distances": mean_distance(mouths.front, true.front[: len(opening)]),
    }


def landmark_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """LMD of two mouths ``[T, 20, 2]``, in their unit; NaN if they share no frame.

    Chen et al. (2018): the mean distance of corresponding lip points, after both mouths' means are
    moved onto each other.  That takes away where the head is, not how it is turned or how large.
    """
    return mean_distance(a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True))


def mean_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Mean distance of points ``[T, P, 2]`` over frames measured in both; NaN if there is none."""
    apart = np.linalg.norm(a - b, axis=-1)
    apart = apart[np.isfinite(apart)]
    return float(apart.mean()) if apart.size else float("nan")


def control_audio(audio: Audio, kind: Literal["shifted", "foreign"]) -> Audio:
    """Sound ``[640 T]`` for a control: its video must lose when judged against the true sound.

    ``shifted`` comes six frames (240 ms) late, silence in front, the end cut off.  ``foreign`` is
    the speech half way round the recording and a little on: other sentences of the same voices,
    out of step also where all clips are cut alike (75 frames each in GRID).
    """
    if kind == "shifted":
        late = min(SHIFT_FRAMES * SAMPLES_PER_FRAME, len(audio))
        return np.concatenate([np.zeros(late, audio.dtype), audio[: len(audio) - late]])
    half = len(audio) // SAMPLES_PER_FRAME // 2 + FOREIGN_FRAMES
    return np.roll(audio, half * SAMPLES_PER_FRAME)


def _plain(value: float | None) -> float | None:
    """NaN, which JSON lacks, as None."""
    return None if value is None or not math.isfinite(value) else float(value)
