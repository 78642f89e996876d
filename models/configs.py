"""The hyper-parameters of the paper as data, and where the shipped configuration departs.

`PAPER` is section 4.1.2 of DAE-Talker; what the paper leaves open is marked in a comment.
`EMBEDDED` is what `mira` was trained with.  The networks take their shapes from the dataclasses
beside them (`PaperUNetConfig`, `UNetConfig`, ...); tests hold the two in step.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from daetalker.models.paper_unet import PaperUNetConfig
from daetalker.models.speech2latent import Speech2LatentConfig
from daetalker.models.unet import UNetConfig


@dataclass(frozen=True)
class AutoencoderRecipe:
    """Stage 1.

    Attributes:
        network: shape of the decoder (and, in the paper, of the encoder).
        prediction: what the decoder predicts, ``epsilon`` or ``x0``.
        loss: distance between prediction and target.
        diffusion_steps: N of the linear noise schedule.
        batch: images a step.
        rate: learning rate of Adam.
        sampling_steps: DDIM evaluations a frame when generating.
    """

    network: PaperUNetConfig | UNetConfig
    prediction: str
    loss: str
    diffusion_steps: int
    batch: int
    rate: float
    sampling_steps: int


@dataclass(frozen=True)
class Speech2LatentRecipe:
    """Stage 2.

    Attributes:
        front_end: acoustic features, frozen.
        network: shape of the Conformer model, pose predictor included.
        alpha: weight of the pose loss in eq. 5.
        batch: pseudo-sentences (in `embedded`: windows) a step.
        rate: learning rate of Adam.
        sentence_s: shortest and longest speech in a sample, in seconds (section 3.2.4).
        window_s: what the network sees at once, with silence before the speech, in seconds; 0 for
            the whole pseudo-sentence.
    """

    front_end: str
    network: Speech2LatentConfig
    alpha: float
    batch: int
    rate: float
    sentence_s: tuple[float, float]
    window_s: float


@dataclass(frozen=True)
class Recipe:
    """Both stages under one name."""

    name: str
    fps: int
    latent: int
    autoencoder: AutoencoderRecipe
    speech2latent: Speech2LatentRecipe


PAPER = Recipe(
    name="paper",
    fps=25,
    latent=512,
    autoencoder=AutoencoderRecipe(
        network=PaperUNetConfig(),
        prediction="epsilon",
        loss="L1",
        diffusion_steps=1000,
        batch=32,
        rate=1e-4,
        sampling_steps=100,
    ),
    speech2latent=Speech2LatentRecipe(
        front_end="wav2vec 2.0 XLSR",
        network=Speech2LatentConfig.paper(),  # dropout and expansion are not given in the paper
        alpha=1.0,  # not given in the paper
        batch=16,
        rate=1e-4,
        sentence_s=(5.0, 20.0),
        window_s=0.0,
    ),
)

EMBEDDED = Recipe(
    name="embedded",
    fps=25,
    latent=512,
    autoencoder=AutoencoderRecipe(
        network=UNetConfig(),
        prediction="x0",
        loss="region-weighted L1 and LPIPS",
        diffusion_steps=1000,
        batch=24,
        rate=5e-4,
        sampling_steps=1,
    ),
    speech2latent=Speech2LatentRecipe(
        front_end="Whisper tiny.en encoder",
        network=Speech2LatentConfig(),
        alpha=0.3,
        batch=48,
        rate=8e-4,
        sentence_s=(0.16, 2.0),
        window_s=2.0,
    ),
)


def departures(recipe: Recipe, reference: Recipe = PAPER) -> dict[str, tuple[object, object]]:
    """Fields in which ``recipe`` differs, as ``{"stage.field": (reference's, recipe's)}``."""
    found: dict[str, tuple[object, object]] = {}
    for stage in ("autoencoder", "speech2latent"):
        ours, theirs = getattr(recipe, stage), getattr(reference, stage)
        for item in fields(theirs):
            pair = (getattr(theirs, item.name), getattr(ours, item.name))
            if pair[0] != pair[1]:
                found[f"{stage}.{item.name}"] = pair
    return found
