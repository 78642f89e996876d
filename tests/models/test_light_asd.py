"""Light-ASD rebuilt: names, numbers and what it says of real speech; weights are not shipped."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from daetalker.models.training import light_asd
from daetalker.models.training.data import read_audio
from daetalker.models.training.face_crops import FaceCrops, mouth_grey
from daetalker.models.training.landmarks import FaceMeter, MeasureError
from daetalker.models.training.light_asd import (
    LightAsd,
    light_asd_figures,
    load_light_asd,
    speech_frames,
)

SHARED = Path(__file__).parents[3] / "shared"
WEIGHTS = SHARED / "weights/light-asd/finetuning_TalkSet.model"
MODEL = SHARED / "weights/mediapipe/face_landmarker.task"
GRID = SHARED / "data/grid_s1/test"


@pytest.fixture(scope="module")
def published() -> LightAsd:
    if not WEIGHTS.is_file():
        pytest.skip(f"no Light-ASD weights at {WEIGHTS}")
    return load_light_asd(WEIGHTS)


@pytest.fixture(scope="module")
def untrained() -> LightAsd:
    torch.manual_seed(0)
    return LightAsd().eval().requires_grad_(False)


def _grey(frames: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (frames, 112, 112), dtype=np.uint8)


def _noise(frames: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 0.1, frames * 640).astype(np.float32)


def test_it_has_the_published_size(untrained: LightAsd) -> None:
    trunk = sum(p.numel() for p in untrained.model.parameters())
    assert trunk == 1_021_120
    names = set(untrained.state_dict())
    assert "model.visualEncoder.block1.bn_s_5.running_var" in names
    assert "model.audioEncoder.block3.t_3.weight" in names
    assert "lossAV.FC.bias" in names


def test_pictures_in_chunks_give_what_one_pass_gives(
    untrained: LightAsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = _grey(20)
    whole = untrained.see(grey)
    monkeypatch.setattr(light_asd, "CHUNK", 7)
    assert whole.shape == (20, 128)
    assert torch.allclose(untrained.see(grey), whole, atol=1e-5)


def test_every_frame_gets_a_score_whatever_the_length(untrained: LightAsd) -> None:
    seen = torch.randn(61, 128)
    heard = untrained.hear(_noise(61))
    assert heard.shape == (61, 128)
    scores = untrained.compare(seen, heard)
    assert scores.shape == (61,)
    # A window of three seconds holds it all: the same as no cutting.
    alone = untrained.lossAV(untrained.model.GRU((seen + heard)[None]))[0, :, 1]
    assert untrained.compare(seen, heard, windows_s=(3,)) == pytest.approx(alone.numpy(), abs=1e-5)


def test_published_weights_give_the_numbers_of_the_published_code(published: LightAsd) -> None:
    """The original code gives the same on these pictures and this sound."""
    seen, heard = published.see(_grey(12)), published.hear(_noise(12))
    score = published.compare(seen, heard, windows_s=(1,))
    assert score[[0, 5, 11]] == pytest.approx([-0.5409, -0.4799, 0.0568], abs=1e-3)
    assert published.watch(seen) == pytest.approx(published.lossV(seen)[:, 1].numpy())


def test_speech_frames_are_the_loud_ones() -> None:
    sound = np.concatenate([_noise(10), 0.001 * _noise(10), _noise(5)])
    assert speech_frames(sound).tolist() == [True] * 10 + [False] * 10 + [True] * 5


def test_the_contrast_asks_whether_the_mouth_moves_with_the_speech(
    untrained: LightAsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = np.concatenate([_noise(10), np.zeros(6400, np.float32)])
    watched = np.array([3.0] * 10 + [-1.0] * 10, np.float32)
    monkeypatch.setattr(untrained, "compare", lambda seen, heard: watched + 1.0)
    monkeypatch.setattr(untrained, "watch", lambda seen: watched)
    figures = light_asd_figures(untrained, torch.zeros(20, 128), sound)
    assert figures == {"light_asd": 2.0, "light_asd_contrast": 4.0}
    figures = light_asd_figures(untrained, torch.zeros(20, 128), _noise(20))
    assert np.isnan(figures["light_asd_contrast"])


def test_missing_and_wrong_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=r"no file .*none\.model; pass the path of Light-ASD"):
        load_light_asd(tmp_path / "none.model")
    for name, content in (("text", b"not a model"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MeasureError, match="does not hold Light-ASD"):
            load_light_asd(tmp_path / name)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other")
    with pytest.raises(MeasureError, match="does not hold Light-ASD"):
        load_light_asd(tmp_path / "other")


@pytest.mark.slow
def test_real_speech_scores_high_a_still_face_low_and_late_sound_between(
    published: LightAsd,
) -> None:
    pytest.importorskip("mediapipe")
    clips = sorted(GRID.glob("*.mkv"))[:4]
    if not clips or not MODEL.is_file():
        pytest.skip(f"no GRID clips at {GRID}, or no face landmark model at {MODEL}")
    grey, sound = [], []
    with FaceMeter(MODEL) as meter:
        for clip in clips:
            crops, cut = FaceCrops(), []
            with av.open(str(clip)) as container:
                for frame in container.decode(video=0):
                    rgb = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
                    cut += crops.add(rgb, meter.measure(rgb))
            grey += [mouth_grey(crop) for crop in [*cut, *crops.finish()]]
            audio = read_audio(clip)[: len(grey) * 640]
            sound.append(np.pad(audio, (0, 75 * 640 - len(audio))))
    audio = np.concatenate(sound)
    seen = published.see(np.stack(grey))
    true = light_asd_figures(published, seen, audio)
    still = light_asd_figures(published, seen[:1].expand(len(seen), -1), audio)
    moved = [light_asd_figures(published, seen.roll(by, 0), audio) for by in (0, 9, 20)]
    assert true["light_asd"] > 3.0
    assert still["light_asd"] < 0.0
    contrasts = [figures["light_asd_contrast"] for figures in moved]
    assert all(sooner > later + 0.1 for sooner, later in pairwise(contrasts))
