"""What training does, as data: `EMBEDDED` is what ships, `PAPER` is section 4.1.2 of DAE-Talker.

A :class:`Recipe` is the one source of every network's shape and every hyper-parameter: the stages
read nothing else.  `recipes.py` reads one from a TOML file.  `docs/paper.md` lists what the paper
says, what it leaves open (marked "not in the paper" below) and where `embedded` departs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from daetalker.models.autoencoder import AutoencoderConfig
from daetalker.models.paper_unet import PaperUNetConfig
from daetalker.models.speech2latent import Speech2LatentConfig
from daetalker.models.training.distill import Distillation
from daetalker.models.training.train_autoencoder import AutoencoderTraining
from daetalker.models.training.train_speech2latent import Speech2LatentTraining
from daetalker.models.unet import UNetConfig


@dataclass(frozen=True)
class FrontEndConfig:
    """Acoustic features, frozen.

    Attributes:
        kind: ``whisper`` (tiny.en encoder), ``logmel`` (cannot be exported) or ``wav2vec``.
        checkpoint: for wav2vec, a hub id or a folder; empty for XLSR-53.
    """

    kind: Literal["whisper", "logmel", "wav2vec"] = "whisper"
    checkpoint: str = ""


@dataclass(frozen=True)
class WindowConfig:
    """What the live networks hear at once, in video frames, and how many windows train them.

    Attributes:
        frames: length of a window.
        hop: frames emitted from each window.
        lookahead: frames heard beyond the last one emitted.
        step: one clean training window every so many frames.
        augmented: training windows with other gain, noise and start (`embedded` only).
        quiet: training windows of silence (`embedded` only).
    """

    frames: int = 50
    hop: int = 4
    lookahead: int = 3
    step: int = 2
    augmented: int = 5000
    quiet: int = 400


@dataclass(frozen=True)
class AutoencoderRecipe:
    """Stage 1 of `embedded`: x_0 prediction with the image loss.

    Attributes:
        steps: optimiser steps; 0 for as many as ``minutes`` hold on the machine at hand.
    """

    network: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    training: AutoencoderTraining = field(default_factory=AutoencoderTraining)
    steps: int = 0
    minutes: float = 75.0


@dataclass(frozen=True)
class Speech2LatentRecipe:
    """Stage 2 of `embedded`, on windows; ``network.features`` follows the front-end."""

    network: Speech2LatentConfig = field(default_factory=Speech2LatentConfig)
    training: Speech2LatentTraining = field(default_factory=Speech2LatentTraining)
    steps: int = 0
    minutes: float = 25.0


@dataclass(frozen=True)
class StudentRecipe:
    """Stage 3: one evaluation, learnt from real frames and the teacher's end points.

    Attributes:
        network: shape of a student trained from scratch; None for the teacher's own, folded.
        image: the image loss; its ``batch``, ``diffusion``, ``rate`` and ``ssim`` are not used.
    """

    training: Distillation = field(default_factory=Distillation)
    # The student learns last what the eye looks at first.
    image: AutoencoderTraining = field(
        default_factory=lambda: AutoencoderTraining(
            mouth=24.0, eyes=8.0, lpips=0.4, crop=96, near=0.85
        )
    )
    network: UNetConfig | None = None
    steps: int = 0
    minutes: float = 20.0


@dataclass(frozen=True)
class PaperAutoencoderTraining:
    """Section 4.1.2.

    Attributes:
        batch: images a step.
        rate: learning rate of Adam, constant.
        ema: decay of the averaged weights, not in the paper; DiffAE's.
        part: images that pass through the networks at once; the gradients of a batch add up.
            0 for the whole batch.
    """

    batch: int = 32
    rate: float = 1e-4
    ema: float = 0.9999
    part: int = 0


@dataclass(frozen=True)
class PaperAutoencoderRecipe:
    """Stage 1 of the paper: DiffAE, noise prediction, L1.

    Attributes:
        diffusion_steps: N of the linear schedule.
        noise_seed: seed of the shared x_T (section 3.3).
        sampling_steps: DDIM evaluations of a frame when generating.
        steps: 80,000 in the paper, about three days on eight V100.
    """

    network: PaperUNetConfig = field(default_factory=PaperUNetConfig)
    training: PaperAutoencoderTraining = field(default_factory=PaperAutoencoderTraining)
    diffusion_steps: int = 1000
    noise_seed: int = 2304
    sampling_steps: int = 100
    steps: int = 80_000
    minutes: float = 75.0


@dataclass(frozen=True)
class PaperSpeech2LatentTraining:
    """Sections 3.2 and 4.1.2.

    Attributes:
        batch: pseudo-sentences a step.
        alpha: weight of the pose loss in eq. 5, not in the paper.
        shortest_s, longest_s: length of a pseudo-sentence (section 3.2.4).
        ema: decay of the averaged weights, not in the paper.
    """

    batch: int = 16
    rate: float = 1e-4
    alpha: float = 1.0
    shortest_s: float = 5.0
    longest_s: float = 20.0
    ema: float = 0.999


@dataclass(frozen=True)
class PaperSpeech2LatentRecipe:
    """Stage 2 of the paper, on pseudo-sentences; its number of steps is not in the paper."""

    network: Speech2LatentConfig = field(default_factory=Speech2LatentConfig.paper)
    training: PaperSpeech2LatentTraining = field(default_factory=PaperSpeech2LatentTraining)
    steps: int = 20_000
    minutes: float = 25.0


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run computes, apart from its data.

    Attributes:
        name: ``embedded``, ``paper``, or what a file calls itself.
        seed: of every random number.
    """

    name: str = "embedded"
    seed: int = 0
    front_end: FrontEndConfig = field(default_factory=FrontEndConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    autoencoder: AutoencoderRecipe | PaperAutoencoderRecipe = field(
        default_factory=AutoencoderRecipe
    )
    speech2latent: Speech2LatentRecipe | PaperSpeech2LatentRecipe = field(
        default_factory=Speech2LatentRecipe
    )
    student: StudentRecipe = field(default_factory=StudentRecipe)

    @property
    def is_paper(self) -> bool:
        """Whether stage 1 is the paper's (noise prediction, L1)."""
        return isinstance(self.autoencoder, PaperAutoencoderRecipe)

    @property
    def size(self) -> int:
        """Side of the square frame in pixels."""
        network = self.autoencoder.network
        return network.size if isinstance(network, PaperUNetConfig) else network.unet.size

    @property
    def latent(self) -> int:
        """Width of c."""
        network = self.autoencoder.network
        return network.latent if isinstance(network, PaperUNetConfig) else network.unet.latent

    @property
    def student_network(self) -> UNetConfig:
        """Shape of the one-evaluation decoder."""
        network = self.autoencoder.network
        own = None if isinstance(network, PaperUNetConfig) else network.unet
        shape = self.student.network or own
        return UNetConfig(size=self.size, latent=self.latent) if shape is None else shape


EMBEDDED = Recipe()

PAPER = Recipe(
    name="paper",
    front_end=FrontEndConfig(kind="wav2vec"),
    window=WindowConfig(augmented=0, quiet=0),
    autoencoder=PaperAutoencoderRecipe(),
    speech2latent=PaperSpeech2LatentRecipe(),
    student=StudentRecipe(
        training=Distillation(steps=100),  # T, as the paper samples
        network=UNetConfig(),
        steps=20_000,
    ),
)


def sized(recipe: Recipe, size: int) -> Recipe:
    """The recipe for frames of ``size`` pixels.

    `embedded` keeps its finest grid of 64 cells down to 128 pixels (patches of 2 instead of 4), so
    that a small frame costs the same to decode as a large one and is sharper.
    """
    stage, student = recipe.autoencoder, recipe.student
    patch = max(1, size // 64)
    if student.network is not None:
        own = replace(student.network, size=size, patch=patch)
        student = replace(student, network=own)
    if isinstance(stage, PaperAutoencoderRecipe):
        first = replace(stage, network=replace(stage.network, size=size))
        return replace(recipe, autoencoder=first, student=student)
    unet = replace(stage.network.unet, size=size, patch=patch)
    second = replace(stage, network=replace(stage.network, unet=unet))
    return replace(recipe, autoencoder=second, student=student)


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Every field of a nested dataclass by its dotted key."""
    found: dict[str, Any] = {}
    for item in fields(value):
        inner = getattr(value, item.name)
        key = prefix + item.name
        found.update(flat(inner, f"{key}.") if hasattr(inner, "__dataclass_fields__") else
                     {key: inner})  # fmt: skip
    return found


def departures(recipe: Recipe, reference: Recipe = PAPER) -> dict[str, tuple[Any, Any]]:
    """Keys in which ``recipe`` differs, as ``{key: (reference's, recipe's)}``; None for no key."""
    theirs, ours = flat(reference), flat(recipe)
    return {
        key: (theirs.get(key), ours.get(key))
        for key in [*theirs, *(k for k in ours if k not in theirs)]
        if theirs.get(key) != ours.get(key)
    }
