"""The stages of an avatar over one run folder, each resumable.

``RUN`` holds everything: ``plan.json``, ``cache/`` (what can be computed again), one checkpoint and
one log of JSON lines a stage, ``tensorboard/``, and ``bundle/`` at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from daetalker.models.acoustic import FrontEnd, Whisper, WhisperEncoder
from daetalker.models.autoencoder import DiffusionAutoencoder
from daetalker.models.paper_autoencoder import PaperAutoencoder
from daetalker.models.speech2latent import Speech2Latent, Speech2LatentConfig
from daetalker.models.student import Student
from daetalker.models.training.build import Trained, export_bundle
from daetalker.models.training.configs import (
    PaperAutoencoderRecipe,
    PaperSpeech2LatentRecipe,
    Recipe,
)
from daetalker.models.training.data import DataError, Person, folder_key, lip_opening, load_person
from daetalker.models.training.description import read_description
from daetalker.models.training.distill import distill
from daetalker.models.training.features import (
    WindowSet,
    augmented_windows,
    clean_windows,
    quiet_windows,
)
from daetalker.models.training.figures import training_figures
from daetalker.models.training.front_ends import make_front_end
from daetalker.models.training.loop import Run
from daetalker.models.training.metrics import Lpips
from daetalker.models.training.store import digest, load_state
from daetalker.models.training.train_autoencoder import (
    MEAN_FRAMES,
    Stage1,
    spread_frames,
    to_images,
    train_autoencoder,
)
from daetalker.models.training.train_paper import (
    build_paper_autoencoder,
    train_paper_autoencoder,
    trained_paper_autoencoder,
)
from daetalker.models.training.train_sentences import train_sentences
from daetalker.models.training.train_speech2latent import (
    HeldOut,
    Material,
    encode_images,
    train_speech2latent,
)
from daetalker.models.training.weights import weight
from daetalker.models.wav2vec import SamplesToFeatures, Wav2Vec

Autoencoder = DiffusionAutoencoder | PaperAutoencoder

STAGES = ("autoencoder", "latents", "speech2latent", "student", "export")
HELD_OUT_FRAMES = 2250
CALIBRATION_FRAMES = 120
SHUT = 0.02


@dataclass
class Stages:
    """One avatar's stages.

    Attributes:
        data: the training set.
        held_out: sets to measure on while training; the image stages use the first.
        weights: folder of other people's networks, see `weights.py`.
        text: the description of the avatar that exporting needs.
        steps: planned steps of every stage that learns.
    """

    recipe: Recipe
    run: Run
    data: Path
    held_out: Sequence[Path] = ()
    weights: Path | None = None
    text: Path | None = None
    steps: Mapping[str, int] = field(default_factory=dict)

    def _load(self, folder: Path) -> Person:
        return load_person(folder, self.recipe.size, self.run.cache)

    @cached_property
    def person(self) -> Person:
        return self._load(self.data)

    @cached_property
    def others(self) -> list[Person]:
        """The held-out sets, each cut after a minute and a half."""
        return [self._load(folder).first(HELD_OUT_FRAMES) for folder in self.held_out]

    @cached_property
    def front_end(self) -> FrontEnd:
        kind = self.recipe.front_end
        whisper = weight("whisper", self.weights) if kind.kind == "whisper" else None
        return make_front_end(kind, whisper, self.recipe.window.frames)

    @cached_property
    def whole_front_end(self) -> FrontEnd:
        """The same for speech of any length up to 30 s."""
        kind = self.recipe.front_end
        if kind.kind != "whisper":
            return self.front_end
        return make_front_end(kind, weight("whisper", self.weights), whole=True)

    @cached_property
    def lpips(self) -> Lpips:
        return Lpips(weight("lpips", self.weights))

    # Stage 1

    def new_autoencoder(self) -> Autoencoder:
        """Stage 1's network with random weights."""
        stage = self.recipe.autoencoder
        if isinstance(stage, PaperAutoencoderRecipe):
            return build_paper_autoencoder(stage)
        return DiffusionAutoencoder(stage.network)

    def learn_autoencoder(self, run: Run, person: Person, other: Person | None, steps: int) -> None:
        stage = self.recipe.autoencoder
        if isinstance(stage, PaperAutoencoderRecipe):
            train_paper_autoencoder(person, other, run, steps, stage, self.lpips)
        else:
            train_autoencoder(person, other, run, steps, stage.network, stage.training, self.lpips)

    def autoencoder(self) -> None:
        other = self.others[0] if self.others else None
        self.learn_autoencoder(self.run, self.person, other, self.steps["autoencoder"])

    def trained_autoencoder(self, encoder_only: bool = False) -> Autoencoder:
        """Averaged weights of stage 1; with ``encoder_only`` as soon as the encoder rests."""
        recipe, folder = self.recipe.autoencoder, self.run.folder
        if isinstance(recipe, PaperAutoencoderRecipe):
            return trained_paper_autoencoder(folder, recipe)
        state = load_state(folder / ("encoder.pt" if encoder_only else "autoencoder.pt"),
                           "autoencoder")  # fmt: skip
        stage = Stage1(recipe.network)
        stage.load_state_dict(state["modules"] if encoder_only else state["ema"]["shadow"])
        return stage.auto.eval().requires_grad_(False)

    # What stage 2 and 3 learn from

    def latents(self) -> None:
        """Compute what is cached: latents of every frame, features of every window."""
        _ = self.material

    @cached_property
    def material(self) -> Material:
        if self.run.team.main:
            self._material()
        self.run.team.wait()
        return self._material()

    def _material(self) -> Material:
        encoder = self.trained_autoencoder(encoder_only=True).encoder.to(self.run.team.device)
        cfg, kind, view = self.recipe.window, self.recipe.front_end.kind, self.run.view
        of = digest(encoder.state_dict())

        def latents(folder: Path, person: Person) -> torch.Tensor:
            name = f"latents-{folder_key(folder)}-{len(person.frames)}-{of}"
            return encode_images(encoder, person.frames, self.run.cache / f"{name}.npy", view)

        held_out = []
        for folder, other in zip(self.held_out, self.others, strict=True):
            windows = clean_windows(
                f"{folder_key(folder)}-{kind}-held-out", other.audio, self.front_end,
                self.run.cache, cfg.frames, first=cfg.hop + cfg.lookahead, step=cfg.hop, view=view,
            )  # fmt: skip
            name = folder.resolve().name
            held_out.append(HeldOut(name, other, windows, latents(folder, other)))
        own = latents(self.data, self.person)
        return Material(self.person, own, self.windows(), held_out)

    def windows(self) -> list[WindowSet]:
        """Clean, augmented and quiet windows of the training speech."""
        cfg, cache, view, front_end = (
            self.recipe.window, self.run.cache, self.run.view, self.front_end
        )  # fmt: skip
        name = f"{folder_key(self.data)}-{self.recipe.front_end.kind}"
        audio, closed = self.person.audio, np.flatnonzero(self.shut)
        return [
            clean_windows(name, audio, front_end, cache, cfg.frames, cfg.hop, cfg.step, view),
            augmented_windows(f"{name}-augmented", audio, front_end, cache, cfg.augmented,
                              cfg.frames, view=view),
            quiet_windows(f"{name}-quiet", closed, front_end, cache, cfg.quiet, cfg.frames,
                          view=view),
        ]  # fmt: skip

    @property
    def shut(self) -> np.ndarray:
        """``[T]``: frames with the mouth shut, the targets for silence."""
        shut: np.ndarray = lip_opening(self.person.landmarks) < SHUT
        return shut

    # Stage 2

    def speech_config(self) -> Speech2LatentConfig:
        return replace(self.recipe.speech2latent.network, features=self.front_end.width)

    def learn_speech2latent(self, run: Run, material: Material, steps: int) -> None:
        stage, cfg = self.recipe.speech2latent, self.recipe.window
        if isinstance(stage, PaperSpeech2LatentRecipe):
            train_sentences(material, self.whole_front_end, run, steps, stage)
            return
        train_speech2latent(
            material, run, steps, self.speech_config(), stage.training, cfg.frames, cfg.hop,
            cfg.lookahead,
        )  # fmt: skip

    def speech2latent(self) -> None:
        self.learn_speech2latent(self.run, self.material, self.steps["speech2latent"])

    def trained_speech(self, folder: Path | None = None) -> Speech2Latent:
        """Averaged weights of stage 2, of ``folder`` if it is not the run's own."""
        model = Speech2Latent(self.speech_config())
        path = (folder or self.run.folder) / "speech2latent.pt"
        model.load_state_dict(load_state(path, "speech2latent")["ema"]["shadow"])
        return model.eval().requires_grad_(False)

    # Stage 3

    def learn_student(
        self,
        run: Run,
        material: Material,
        auto: Autoencoder,
        speech: Speech2Latent,
        other: Person | None,
        steps: int,
    ) -> None:
        """Silent windows are left out: they all show the same few frames."""
        stage, cfg = self.recipe.student, self.recipe.window
        spoken, start = replace(material, windows=material.windows[:2]), None
        training = stage.training
        if stage.network is not None:
            run.rng("student")
            start = Student(stage.network)
            typical = to_images(spread_frames(self.person.frames, MEAN_FRAMES))
            start.up.mean_image.data = typical.mean(0, keepdim=True)
            # The noise is meant for latents of unit variance, which nothing imposes on others.
            noise = training.latent_noise * float(material.latents.std(0).mean())
            training = replace(training, latent_noise=noise)
        distill(
            spoken, auto, speech, other, run, steps, training, stage.image, self.lpips,
            cfg.frames, cfg.hop, cfg.lookahead, start,
        )  # fmt: skip

    def student(self) -> None:
        self.learn_student(
            self.run, self.material, self.trained_autoencoder(), self.trained_speech(),
            self.others[0] if self.others else None, self.steps["student"],
        )  # fmt: skip

    # Export

    def export(self, speech: Speech2Latent | None = None, folder: Path | None = None) -> None:
        """Write the bundle, of another speech2latent and elsewhere if told so."""
        if self.text is None:
            raise DataError(
                "exporting needs --text FILE, which says what the avatar is called and who agreed "
                "to what; docs/your-avatar.md has one to copy"
            )
        if not self.run.team.main:
            return
        student = Student(self.recipe.student_network)
        path = self.run.folder / "student.pt"
        student.load_state_dict(load_state(path, "student")["ema"]["shadow"])
        auto, cfg = self.trained_autoencoder(), self.recipe.window
        typical = spread_frames(self.person.frames, CALIBRATION_FRAMES)
        trained = Trained(
            auto, student.eval(), speech or self.trained_speech(),
            self._acoustic(), self.person.pose_deg, encode_images(auto.encoder, typical).numpy(),
            self.person.segment_starts,
        )  # fmt: skip
        text, figures = read_description(self.text)
        figures = {"training": training_figures(self.run.folder), **figures}
        made = export_bundle(
            trained, folder or self.run.folder / "bundle", text, figures,
            frames=cfg.frames, hop=cfg.hop, lookahead=cfg.lookahead,
        )  # fmt: skip
        self.run.view.say(f"wrote {made}")

    def _acoustic(self) -> WhisperEncoder | SamplesToFeatures:
        """The acoustic network that goes into the bundle."""
        if isinstance(self.front_end, Wav2Vec):
            return self.front_end.network.cpu()
        if not isinstance(self.front_end, Whisper):
            raise DataError("an avatar on log-mel features cannot be exported")
        return WhisperEncoder.load(weight("whisper", self.weights), 2 * self.recipe.window.frames)
