"""`daetalker train`: the stages of an avatar, each alone or all in order, each resumable.

``RUN`` holds everything: ``cache/`` (decoded frames, features), one checkpoint and one log of JSON
lines a stage, and ``bundle/`` at the end.  A stage that has used up its minutes is not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from daetalker.models.acoustic import FrontEnd, LogMel, Whisper, WhisperEncoder, round_to_int8
from daetalker.models.autoencoder import AutoencoderConfig, DiffusionAutoencoder
from daetalker.models.speech2latent import Speech2Latent, Speech2LatentConfig
from daetalker.models.student import Student
from daetalker.models.training.build import BundleText, Trained, export_bundle
from daetalker.models.training.data import (
    DataError,
    Person,
    folder_key,
    lip_opening,
    load_person,
)
from daetalker.models.training.distill import Distillation, distill
from daetalker.models.training.features import (
    WindowSet,
    augmented_windows,
    clean_windows,
    quiet_windows,
)
from daetalker.models.training.metrics import Lpips
from daetalker.models.training.train_autoencoder import (
    AutoencoderTraining,
    Stage1,
    spread_frames,
    train_autoencoder,
)
from daetalker.models.training.train_speech2latent import (
    HeldOut,
    Speech2LatentTraining,
    encode_all,
    train_speech2latent,
)

HELD_OUT_FRAMES = 2250
CALIBRATION_FRAMES = 120
# The student learns last what the eye looks at first.
STUDENT_IMAGE = AutoencoderTraining(mouth=24.0, eyes=8.0, lpips=0.4, crop=96, near=0.85)
STAGES = ("autoencoder", "speech2latent", "student", "export")


def parser() -> argparse.ArgumentParser:
    """The options of `daetalker train`."""
    p = argparse.ArgumentParser(prog="daetalker train", description=__doc__.split("\n")[0])
    p.add_argument("data", type=Path, help="folder with video.mp4, audio.wav and truth.npz")
    p.add_argument("-o", "--run", type=Path, required=True, help="folder of checkpoints and logs")
    p.add_argument("--stage", choices=(*STAGES, "all"), default="all", help="what to run")
    p.add_argument("--held-out", type=Path, nargs="*", default=[],
                   help="folders of the same format to measure on while training")  # fmt: skip
    p.add_argument("--whisper", type=Path, required=True,
                   help="folder with model.safetensors of Whisper tiny.en's encoder")  # fmt: skip
    p.add_argument("--lpips", type=Path, required=True, help="LPIPS AlexNet v0.1 safetensors")
    p.add_argument("--autoencoder-minutes", type=float, default=75, help="minutes of stage 1")
    p.add_argument("--speech-minutes", type=float, default=25, help="minutes of stage 2")
    p.add_argument("--student-minutes", type=float, default=20, help="minutes of stage 3")
    p.add_argument("--front-end", choices=("whisper", "logmel"), default="whisper",
                   help="acoustic features; only whisper can be exported")  # fmt: skip
    p.add_argument("--text", type=Path, help="JSON with name, label, licence, consent, synthetic, "
                   "attributions; needed to export")  # fmt: skip
    p.add_argument("--threads", type=int, help="CPU threads")
    return p


class Recipe:
    """The stages over one run folder."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.run: Path = args.run
        self.cache = self.run / "cache"
        self.cfg = AutoencoderConfig()

    def person(self) -> Person:
        return load_person(self.args.data, self.cfg.unet.size, self.cache)

    def first_held_out(self) -> Path | None:
        return self.args.held_out[0] if self.args.held_out else None

    @cached_property
    def front_end(self) -> FrontEnd:
        if self.args.front_end == "logmel":
            return LogMel()
        encoder = WhisperEncoder.load(self.args.whisper)
        round_to_int8(encoder)
        return Whisper(encoder, bf16=True)

    def windows(self, person: Person) -> list[WindowSet]:
        """Clean, augmented and quiet windows of the training speech."""
        name, front_end = f"{folder_key(self.args.data)}-{self.args.front_end}", self.front_end
        closed = np.flatnonzero(lip_opening(person.landmarks) < 0.02)
        if not len(closed):
            raise DataError(f"{self.args.data}: the mouth is never shut; record some silence")
        return [
            clean_windows(name, person.audio, front_end, self.cache),
            augmented_windows(f"{name}-augmented", person.audio, front_end, self.cache),
            quiet_windows(f"{name}-quiet", closed, front_end, self.cache),
        ]

    def autoencoder(self) -> None:
        a = self.args
        train_autoencoder(
            a.data, self.first_held_out(), self.run, a.autoencoder_minutes, self.cfg,
            AutoencoderTraining(), a.lpips,
        )  # fmt: skip

    def trained_autoencoder(self, frozen_only: bool = False) -> DiffusionAutoencoder:
        """Averaged weights of stage 1; with ``frozen_only`` as soon as the encoder rests."""
        path = self.run / ("encoder.pt" if frozen_only else "autoencoder.pt")
        state = _load(path, "autoencoder")
        stage = Stage1(self.cfg)
        stage.load_state_dict(state["modules"] if frozen_only else state["ema"]["shadow"])
        return stage.auto.eval().requires_grad_(False)

    def speech_config(self) -> Speech2LatentConfig:
        return Speech2LatentConfig(features=self.front_end.width)

    def speech2latent(self) -> None:
        a, person = self.args, self.person()
        held_out = []
        for folder in a.held_out:
            whole = load_person(folder, self.cfg.unet.size, self.cache)
            other = whole.first(HELD_OUT_FRAMES)
            name = f"{folder_key(folder)}-{a.front_end}-held-out"
            windows = clean_windows(name, other.audio, self.front_end, self.cache, first=7, step=4)
            held_out.append(HeldOut(folder.resolve().name, other, windows))
        folder = self.run if a.front_end == "whisper" else self.run / a.front_end
        train_speech2latent(
            person, self.trained_autoencoder(frozen_only=True).encoder, self.windows(person),
            held_out, folder, a.speech_minutes, self.speech_config(), Speech2LatentTraining(),
        )  # fmt: skip

    def trained_speech(self) -> Speech2Latent:
        model = Speech2Latent(self.speech_config())
        model.load_state_dict(
            _load(self.run / "speech2latent.pt", "speech2latent")["ema"]["shadow"]
        )
        return model.eval().requires_grad_(False)

    def student(self) -> None:
        a, person = self.args, self.person()
        first = self.first_held_out()
        held_out = load_person(first, self.cfg.unet.size, self.cache) if first else None
        distill(
            person, self.trained_autoencoder(), self.trained_speech(), self.windows(person)[:2],
            held_out, self.run, a.student_minutes, Distillation(), STUDENT_IMAGE, Lpips(a.lpips),
        )  # fmt: skip

    def export(self) -> None:
        a = self.args
        if a.text is None:
            raise DataError("exporting needs --text FILE.json: name, label, licence, consent, ...")
        student = Student(self.cfg.unet)
        student.load_state_dict(_load(self.run / "student.pt", "student")["ema"]["shadow"])
        auto, person = self.trained_autoencoder(), self.person()
        typical = spread_frames(person.frames, CALIBRATION_FRAMES)
        trained = Trained(
            auto, student.eval(), self.trained_speech(), WhisperEncoder.load(a.whisper),
            person.pose_deg, encode_all(auto.encoder, typical).numpy(),
        )  # fmt: skip
        folder = export_bundle(trained, self.run / "bundle", *_read_text(a.text))
        print(f"wrote {folder}")


def _read_text(path: Path) -> tuple[BundleText, dict[str, Any]]:
    """What a person says about the avatar, and the figures to quote."""
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
        licences = tuple(path.parent / name for name in text.pop("licence_files", ()))
        figures: dict[str, Any] = text.pop("figures", {})
        text["attributions"] = tuple(text["attributions"])
        return BundleText(**text, licence_files=licences), figures
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} cannot describe an avatar: {error}; see docs/training.md"
        ) from None


def _load(path: Path, stage: str) -> Any:
    if not path.is_file():
        raise DataError(f"{path} is missing: run the stage '{stage}' first")
    return torch.load(path, map_location="cpu", weights_only=True)


def main(argv: list[str]) -> int:
    """Run the stages that ``argv`` asks for; 0 on success, 2 on a user's mistake."""
    args = parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    recipe = Recipe(args)
    try:
        for stage in STAGES if args.stage == "all" else (args.stage,):
            getattr(recipe, stage)()
    except (DataError, FileNotFoundError) as error:
        print(f"daetalker train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("daetalker train: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
