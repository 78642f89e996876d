"""The networks of others that preparing, training and measuring need: where they lie, or come from.

A folder of weights has one place for each; what is missing is fetched once from its public origin,
checked, brought into the form our loaders read, and only then moved into place.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from daetalker.models.training.data import DataError

TIMEOUT_S = 30
CHUNK_BYTES = 1 << 20
ENVIRONMENT = "DAETALKER_WEIGHTS"


class WeightsError(DataError):
    """A network is not at hand and cannot be fetched; the message says what to do."""


@dataclass(frozen=True)
class Origin:
    """One public file.

    Attributes:
        sha256: of the file, hexadecimal, or only its first digits where no more is published; empty
            where the file cannot be compared beforehand and loading it is the check.
    """

    url: str
    sha256: str = ""

    @property
    def file(self) -> str:
        """The file's own name."""
        return self.url.rsplit("/", 1)[1]


Convert = Callable[[list[Path], Path], None]


@dataclass(frozen=True)
class Weight:
    """One network.

    Attributes:
        path: what `weight` returns, below the folder of weights: a file, or a folder for loaders
            that take one.
        file: the file whose presence means that the network is there.
        convert: makes that file from the origins and loads it as a check; None if the only origin
            is the file itself.
    """

    path: str
    file: str
    about: str
    licence: str
    origins: tuple[Origin, ...]
    convert: Convert | None = None


def weights_folder(folder: Path | None = None) -> Path:
    """The folder asked for, else ``$DAETALKER_WEIGHTS``, else the user's cache."""
    if folder is not None:
        return folder
    named = os.environ.get(ENVIRONMENT)
    return Path(named) if named else Path.home() / ".cache" / "daetalker" / "weights"


def weight(name: str, folder: Path | None = None) -> Path:
    """Where the network ``name`` of `WEIGHTS` lies, fetched first if it is missing.

    Args:
        folder: see `weights_folder`.

    Raises:
        WeightsError: if it is neither there nor to be had.
    """
    root, wanted = weights_folder(folder), WEIGHTS[name]
    target = root / wanted.file
    if not target.is_file():
        _fetch(wanted, root, target)
    return root / wanted.path


def _fetch(wanted: Weight, root: Path, target: Path) -> None:
    """Make ``target``; it appears whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as name:
            work = Path(name)
            files = [_origin(wanted, origin, root, work) for origin in wanted.origins]
            made = files[0]
            if wanted.convert is not None:
                # A folder of its own: some loaders take the folder and know the file's name.
                made = work / "made" / target.name
                made.parent.mkdir()
                _converted(wanted, files, made)
            made.replace(target)
    except OSError as error:
        raise WeightsError(
            f"cannot keep {target.name} in {target.parent}: {error.strerror or error}; "
            f"choose another folder with --weights or ${ENVIRONMENT}"
        ) from error


def _converted(wanted: Weight, files: list[Path], made: Path) -> None:
    assert wanted.convert is not None
    try:
        wanted.convert(files, made)
    except OSError:
        raise
    except Exception as error:  # whatever a loader raises on foreign content
        urls = " and ".join(origin.url for origin in wanted.origins)
        raise WeightsError(
            f"{urls} did not hold {wanted.about} as expected ({error}); put a {made.name} from "
            "elsewhere into the folder named by --weights"
        ) from error


def _origin(wanted: Weight, origin: Origin, root: Path, work: Path) -> Path:
    """The origin's file: one that the user has put there by hand, or downloaded into ``work``."""
    by_hand = root / wanted.file if wanted.convert is None else root / "origin" / origin.file
    if by_hand.is_file():
        return by_hand
    print(
        f"fetching {wanted.about} from {origin.url} (licence: {wanted.licence})",
        file=sys.stderr,
        flush=True,
    )
    path = work / origin.file
    digest = _download(origin.url, path, by_hand)
    if not digest.startswith(origin.sha256):
        raise WeightsError(
            f"{origin.url} is not the file expected (its SHA-256 is {digest}, not "
            f"{origin.sha256}...); save the right one as {by_hand} or pass --weights DIR"
        )
    return path


def _download(url: str, path: Path, by_hand: Path) -> str:
    """Write ``url`` to ``path``; its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for chunk in _chunks(url, by_hand):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _chunks(url: str, by_hand: Path) -> Iterator[bytes]:
    """The content of ``url``, all of it or a `WeightsError`."""

    def fail(reason: object) -> WeightsError:
        return WeightsError(
            f"{by_hand.name} is missing and {url} cannot be fetched ({reason}); save that file as "
            f"{by_hand}, or name the folder that has the weights with --weights DIR"
        )

    request = urllib.request.Request(url, headers={"User-Agent": "daetalker"})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except (OSError, HTTPException, ValueError) as error:
        raise fail(getattr(error, "reason", None) or error) from error
    with answer:
        announced, count = answer.headers.get("Content-Length"), 0
        while True:
            try:
                chunk = answer.read(CHUNK_BYTES)
            except (OSError, HTTPException) as error:
                raise fail(error) from error
            if not chunk:
                break
            count += len(chunk)
            yield chunk
        if announced is not None and count != int(announced):
            raise fail(f"the connection ended after {count} of {announced} bytes")


def convert_whisper(origins: list[Path], target: Path) -> None:
    """The encoder of the whole model, in half precision."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    from daetalker.models.acoustic import WhisperEncoder

    prefix = "model.encoder."
    with safe_open(origins[0], "pt") as file:
        state = {
            key.removeprefix(prefix): file.get_tensor(key).half().contiguous()
            for key in file.keys()  # noqa: SIM118 - not a dictionary
            if key.startswith(prefix)
        }
    save_file(state, target, {"format": "pt", "source": "openai/whisper-tiny.en"})
    WhisperEncoder.load(target.parent)


def convert_lpips(origins: list[Path], target: Path) -> None:
    """AlexNet's features and LPIPS' five heads in one file."""
    import torch
    from safetensors.torch import save_file

    from daetalker.models.training.metrics import Lpips

    alexnet, heads = (torch.load(p, map_location="cpu", weights_only=True) for p in origins)
    state = {k: v.float() for k, v in alexnet.items() if k.startswith("features.")}
    state |= {k: v.float() for k, v in heads.items() if k.startswith("lin")}
    if sum(k.startswith("lin") for k in state) != 5:
        raise ValueError("LPIPS has five heads")
    save_file({k: v.contiguous() for k, v in state.items()}, target, {"format": "pt"})
    Lpips(target)


# Whole checksums are those of the copies this project was measured with.
WEIGHTS: dict[str, Weight] = {
    "face_landmarker": Weight(
        "mediapipe/face_landmarker.task",
        "mediapipe/face_landmarker.task",
        "MediaPipe's face landmarker",
        "Apache-2.0",
        (
            Origin(
                "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/"
                "float16/1/face_landmarker.task",
                "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
            ),
        ),
    ),
    "whisper": Weight(
        "whisper-tiny.en-encoder",
        "whisper-tiny.en-encoder/model.safetensors",
        "Whisper tiny.en by OpenAI",
        "MIT",
        (Origin("https://huggingface.co/openai/whisper-tiny.en/resolve/main/model.safetensors"),),
        convert_whisper,
    ),
    "lpips": Weight(
        "lpips/lpips_alex_v0.1.safetensors",
        "lpips/lpips_alex_v0.1.safetensors",
        "LPIPS v0.1 on torchvision's AlexNet",
        "BSD",
        (
            # torchvision puts the first digits of the SHA-256 into the name.
            Origin("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79"),
            Origin(
                "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/"
                "lpips/weights/v0.1/alex.pth"
            ),
        ),
        convert_lpips,
    ),
    "light_asd": Weight(
        "light-asd/finetuning_TalkSet.model",
        "light-asd/finetuning_TalkSet.model",
        "Light-ASD (Liao et al. 2023)",
        "MIT",
        (
            Origin(
                "https://raw.githubusercontent.com/Junhua-Liao/Light-ASD/main/weight/"
                "finetuning_TalkSet.model",
                "efc375833887eefa9d209dc92810e18519b04c3c73ea35a549f2a7f40b7d94d5",
            ),
        ),
    ),
}
