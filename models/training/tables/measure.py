"""Measures what the tables need beyond the base figures, set by set, and puts them together.

The student's speech over a set and the true video come measured; what is added is decoded from
the same latents, on a short stretch where the decoder is slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daetalker.models.bundle import AvatarBundle, BundleError
from daetalker.models.training.data import FPS, DataError
from daetalker.models.training.probes import Frame, Meter, Synthesise, ratio
from daetalker.models.training.reconstruct import Network, Score
from daetalker.models.training.sync import SyncCollector, control_audio
from daetalker.models.training.tables import show, table1, table2, table3, table4
from daetalker.models.training.tables.baseline import References
from daetalker.models.training.tables.figure6 import figure6, gap
from daetalker.models.training.tables.held import Held
from daetalker.models.training.tables.lipsync import SyncSource, sync_figures
from daetalker.models.training.tables.pictures import Album
from daetalker.models.training.tables.stretch import Stretch, true_frames
from daetalker.models.training.tables.take import Take, record
from daetalker.models.training.tables.variants import decode

NO_TEACHER = "not measured: the bundle has no teacher"


@dataclass(frozen=True)
class Wanted:
    """Which tables, and what they need beside the sets.

    Attributes:
        tables: of 1 to 4.
        references: training set of the landmark baseline; None for the folder ``train`` beside
            the first set.
        ablations: ``RUN/ablations``.
    """

    tables: frozenset[int] = frozenset()
    references: Path | None = None
    ablations: Path | None = None


@dataclass(frozen=True)
class Extent:
    """How much the tables measure; the defaults take about ten minutes a set on two idle cores.

    Attributes:
        decoder_s: seconds of speech decoded by DDIM, twice (one x_T, new noise each frame).
        decoder_steps: evaluations a frame of it; the paper's number is 100.
        sweep_frames: neighbouring frames decoded both ways with each of ``sweep_steps``.
        reconstruction_steps: rows of Table 3.
        speech_s: seconds of each set's speech in the rows that the student makes.
        pose_s: seconds of each specified pose, ``pose_settle_s`` of them left out.
    """

    decoder_s: float = 6.0
    decoder_steps: int = 100
    sweep_frames: int = 8
    sweep_steps: tuple[int, ...] = (1, 4, 10, 100)
    reconstruction_steps: tuple[int, ...] = table3.STEPS
    speech_s: float = 60.0
    pose_s: float = 20.0
    pose_settle_s: float = 1.5


QUICK = Extent(
    decoder_s=2.0,
    decoder_steps=10,
    sweep_frames=4,
    sweep_steps=(1, 4, 10),
    reconstruction_steps=(1, 2, 4, 10, 50),
    speech_s=10.0,
    pose_s=4.0,
)


class Tables:
    """Collects the tables: `compare_landmarks` and `measure` for each set, then `objects`."""

    def __init__(
        self,
        bundle: AvatarBundle,
        wanted: Wanted,
        extent: Extent,
        meter: Meter,
        sync: SyncSource,
        synthesise: Synthesise,
        other: Callable[[Path], Synthesise] | None,
        album: Album,
        threads: int,
    ) -> None:
        """Open the teacher if a table needs it.

        Args:
            other: makes the synthesis of another bundle, for the ablations.
        """
        self._bundle, self._wanted, self._extent = bundle, wanted, extent
        self._meter, self._sync, self._synthesise = meter, sync, synthesise
        self._other, self._album = other, album
        self._sets: dict[str, dict[str, dict[str, Any]]] = {}
        self._baseline: dict[str, float] | str = ""
        self._teacher: Network | None = None
        if wanted.tables & {1, 2} and "teacher.onnx" in bundle.manifest.files:
            self._teacher = Network(bundle, "teacher", threads)
        self._figure6: dict[str, Any] = {}
        if 4 in wanted.tables and wanted.ablations is not None:
            self._figure6 = figure6(wanted.ablations)  # early: a wrong folder ends it at once

    def kept(self, held: Held) -> range:
        """The student's frames whose pictures are needed later."""
        if not self._wanted.tables & {1, 2}:
            return range(0)
        # Inside `spoken`, where every frame of the true video is measured.
        start, count = held.cut(0, self.spoken(held)).loudest(self._extent.decoder_s)
        return range(start, start + count)

    def spoken(self, held: Held) -> int:
        """How many of a set's first frames the sync figures are of."""
        if not self._wanted.tables & {1, 2}:
            return 0
        return min(int(self._extent.speech_s * FPS), held.count)

    def collector(self) -> SyncCollector | None:
        """For the two takes that `measure` is given."""
        return self._sync.collector(self._meter) if self._wanted.tables & {1, 2} else None

    def measure(self, held: Held, truth: Take, student: Take) -> None:
        """Add one set.

        Args:
            truth: the true video, at least what `spoken` says.
            student: the set's speech, with the pictures of `kept`.
                Both with a `collector` of the first `spoken` frames.
        """
        wanted, first = self._wanted.tables, not self._sets
        stretch = Stretch(held, self.kept(held), student)
        shared = self._decoded(stretch, shared=True) if wanted & {1, 2} else None
        one: dict[str, dict[str, Any]] = {}
        if 1 in wanted:
            one["table1"] = self._table1(held, truth, student, stretch, shared)
        if 2 in wanted:
            fresh = self._decoded(stretch, shared=False)
            one["table2"] = self._table2(held, truth, stretch, shared, fresh)
            if first and shared is not None and fresh is not None:
                show.add_noise(self._album, stretch, shared, fresh)
        if first and wanted & {1, 2}:
            show.add_speech(self._album, stretch, shared, self._extent.decoder_steps)
        if 4 in wanted:
            poses = table4.directions(self._bundle.manifest)
            extent = self._extent
            one["table4"], pictures = table4.pose_distances(
                held, student, self._meter, self._synthesise, poses,
                extent.pose_s, extent.pose_settle_s,
            )  # fmt: skip
            if first:
                self._album.add("table4", show.pose_strip(pictures))
        self._sets[held.name] = one

    def reconstruction_steps(self, base: tuple[int, ...]) -> tuple[int, ...]:
        """DDIM steps of the next set's reconstruction: the base figures' and Table 3's."""
        if 3 not in self._wanted.tables or self._sets:
            return base
        return (*base, *(s for s in self._extent.reconstruction_steps if s not in base))

    def compare_landmarks(
        self, folder: Path, held: Held, score: Score, frames: int, shown: show.Shown
    ) -> None:
        """The landmark baseline of Table 3, on the first set, and its strip.

        Args:
            frames: as many as the teacher's figures are of.
            shown: what encoder and decoders made of them.
        """
        if 3 not in self._wanted.tables or self._sets:
            return
        references = self._wanted.references or folder.resolve().parent / "train"
        if self._wanted.references is None and not references.is_dir():
            self._baseline = "not measured: name the training set with --references"
        elif references.resolve() == folder.resolve():
            raise DataError(f"--references {references} is the very set that is measured")
        else:
            loaded = References.load(references, self._bundle.manifest.size)
            self._baseline = table3.landmark_baseline(loaded, held.whole, score, frames, shown)
        self._album.add("table3", show.reconstruction_strip(held.whole, shown))

    def objects(self, base: dict[str, Any]) -> dict[str, Any]:
        """``table1`` to ``table4``, those that were wanted.

        Args:
            base: the base figures of the first set.
        """
        result: dict[str, Any] = {}
        for number in sorted(self._wanted.tables & {1, 2, 4}):
            key = f"table{number}"
            result[key] = {"sets": {name: one[key] for name, one in self._sets.items()}}
        for key in {"table1", "table2"} & result.keys():
            result[key]["decoder_steps"] = self._extent.decoder_steps
        if "table1" in result:
            result["table1"]["notes"] = self._sync.notes
        if 3 in self._wanted.tables:
            steps = self._extent.reconstruction_steps
            result["table3"] = table3.table3(base, steps, self._baseline)
        if "table4" in result and self._figure6:
            gaps = {name: gap(curves) for name, curves in self._figure6.items()}
            result["table4"]["figure6"] = {"curves": self._figure6, "gaps": gaps}
        elif "table4" in result:
            result["table4"]["figure6_reason"] = table2.NOT_TRAINED
        return dict(sorted(result.items()))

    # --- one set ---------------------------------------------------------------------------------

    def _decoded(self, stretch: Stretch, *, shared: bool) -> Take | None:
        if self._teacher is None:
            return None
        steps, held = self._extent.decoder_steps, stretch.held
        way = "one x_T" if shared else "new noise"
        frames = decode(self._bundle, self._teacher, stretch.latents, steps, shared=shared)
        return self._record(frames, held, f"DDIM, T = {steps}, {way}", keep=range(held.count))

    def _record(
        self, frames: Iterable[Frame], held: Held, label: str, keep: Sequence[int] = ()
    ) -> Take:
        collector = self._sync.collector(self._meter)
        label = f"{held.name}, {label}"
        return record(frames, self._meter, held.count, held.still, label, sync=collector, keep=keep)

    def _figures(self, take: Take, held: Held) -> dict[str, Any]:
        return sync_figures(take, held) | table2.steadiness(take)

    def _table1(
        self, held: Held, truth: Take, student: Take, stretch: Stretch, shared: Take | None
    ) -> dict[str, Any]:
        part = held.cut(0, self.spoken(held))
        rows: dict[str, Any] = {table1.TRUTH: self._figures(truth, part)}
        if shared is not None:
            again = self._record(stretch.student(), stretch.held, "student on the stretch")
            rows[table1.DECODER] = self._figures(shared, stretch.held)
            rows[table1.STRETCH] = self._figures(again, stretch.held)
        rows[table1.STUDENT] = self._figures(student, part)
        for row, kind in table1.CONTROLS.items():
            wrong = self._synthesise(control_audio(part.audio, kind))
            rows[row] = self._figures(self._record(wrong, part, row.replace("_", " ")), part)
        at = stretch.frames
        return {
            "truth": held.truth,
            "stretch": {"first_frame": at.start, "frames": len(at)},
            "rows": rows,
            "controls_lose": table1.controls_lose(rows),
            "opening": {
                "truth": truth.opening[at.start : at.stop].tolist(),
                "student": student.opening[at.start : at.stop].tolist(),
            },
        }

    def _table2(
        self, held: Held, truth: Take, stretch: Stretch, shared: Take | None, fresh: Take | None
    ) -> dict[str, Any]:
        steps = self._extent.decoder_steps
        rows: list[dict[str, Any]] = []

        def row(key: str, label: str, take: Take | None, of: Held, reason: str, kind: str) -> None:
            figures = None if take is None else self._figures(take, of)
            said = {} if take is not None else {"reason": reason}
            rows.append({"key": key, "label": label, "kind": kind, "figures": figures, **said})

        short = stretch.held
        true = self._record(
            true_frames(short, range(short.count)), short, "true video on the stretch"
        )
        row("truth", "true video", true, short, "", "")
        row("reference", f"ours (DDIM, T = {steps})", shared, short, NO_TEACHER, "ours")
        row("without_shared_noise", "w/o shared x_T", fresh, short, NO_TEACHER, "")
        for key, label, name in (
            ("augmentation_reference", "ours, retrained briefly", "reference"),
            ("without_augmentation", "w/o pseudo-sentences, as briefly", "fixed_cuts"),
        ):
            part = held.cut(0, self.spoken(held))
            take, reason = self._ablated(name, part)
            row(key, label, take, part, reason, "")
        result: dict[str, Any] = {"truth": held.truth, "rows": rows}
        if self._teacher is not None and shared is not None and fresh is not None:
            sweep = table2.noise_sweep(
                self._bundle, self._teacher, stretch.latents[: self._extent.sweep_frames],
                held.still, self._extent.sweep_steps,
            )  # fmt: skip
            result |= {
                "noise": sweep,
                "jitter_ratio": ratio(fresh.jitter_levels, shared.jitter_levels),
                "jitter_bar": table2.JITTER_BAR,
                "explanation": table2.explain(sweep, shared, fresh, true, steps),
            }
        return result

    def _ablated(self, name: str, held: Held) -> tuple[Take | None, str]:
        folder = self._wanted.ablations
        if folder is None or self._other is None:
            return None, table2.NOT_TRAINED
        try:
            synthesise = self._other(folder / name / "bundle")
        except BundleError as error:
            return None, f"not measured: {error}"
        return self._record(synthesise(held.audio), held, f"ablation {name}"), ""
