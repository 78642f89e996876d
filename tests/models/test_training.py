"""Training: windows, losses' weights, the resumable loop, and all stages on a tiny person."""

import json
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("safetensors")

from torch import Tensor  # noqa: E402

from daetalker.models.autoencoder import AutoencoderConfig  # noqa: E402
from daetalker.models.bundle import load_bundle  # noqa: E402
from daetalker.models.training import cli  # noqa: E402
from daetalker.models.training.data import (  # noqa: E402
    DataError,
    eye_closure,
    lip_opening,
    load_person,
    read_audio,
)
from daetalker.models.training.distill import Distillation  # noqa: E402
from daetalker.models.training.features import (  # noqa: E402
    WindowSet,
    augmented_windows,
    clean_windows,
    cut_window,
    pink_noise,
    quiet_windows,
)
from daetalker.models.training.loop import Ema, Loop  # noqa: E402
from daetalker.models.training.train_autoencoder import crop_starts, region_weights  # noqa: E402
from daetalker.models.training.train_speech2latent import gather  # noqa: E402
from daetalker.models.unet import UNetConfig  # noqa: E402

WEIGHTS = Path(__file__).resolve().parents[3] / "shared/weights"


def face(opening_px: float = 6.0, lids_px: float = 5.0, size: int = 256) -> NDArray[np.float32]:
    """68 landmarks of a plausible frontal face."""
    points: NDArray[np.float32] = np.zeros((68, 2), np.float32)
    points[27], points[33] = (128, 95), (128, 135)
    for first, x in ((36, 105), (42, 150)):
        points[first : first + 6, 0] = x + np.array([-9, -3, 3, 9, 3, -3])
        points[first : first + 6, 1] = 100 + np.array([0, -1, -1, 0, 1, 1]) * lids_px / 2
    points[48:68] = (128, 160)
    points[48:60, 0] += 18 * np.cos(np.linspace(np.pi, 3 * np.pi, 12, endpoint=False))
    points[48:60, 1] += 8 * np.sin(np.linspace(np.pi, 3 * np.pi, 12, endpoint=False))
    for top, bottom, x in ((61, 67, 122), (62, 66, 128), (63, 65, 134)):
        points[top], points[bottom] = (x, 160 - opening_px / 2), (x, 160 + opening_px / 2)
    return points * (size / 256)


def write_person(folder: Path, seconds: int = 3, size: int = 128) -> Path:
    """A training folder: a grey square whose 'mouth' opens with the loudness of a tone."""
    folder.mkdir(parents=True)
    frames = seconds * 25
    rng = np.random.default_rng(0)
    opening = 4 + 4 * np.sin(np.arange(frames) / 3)
    opening[:10] = 0.0
    with av.open(str(folder / "video.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for i in range(frames):
            image = np.full((size, size, 3), 90, np.uint8)
            half = int(opening[i] * size / 256)
            middle = int(160 * size / 256)
            image[middle - half : middle + half + 1, size // 2 - 9 : size // 2 + 9] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    loud = np.repeat(opening / 8, 640)
    sound = (loud * 8000 * np.sin(np.arange(frames * 640) / 9)).astype(np.int16)
    with av.open(str(folder / "audio.wav"), "w") as container:
        voice = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(voice.encode(frame))
        container.mux(voice.encode(None))
    np.savez(
        folder / "truth.npz",
        pose_deg=rng.normal(0, 5, (frames, 3)).astype(np.float32),
        landmarks=np.stack([face(2 * o, size=size) for o in opening]).astype(np.float32),
    )
    return folder


def test_eye_closure_and_lip_opening() -> None:
    points = np.stack([face(lids_px=5)] * 9 + [face(lids_px=0.0), face(lids_px=2.5)])
    np.testing.assert_allclose(eye_closure(points)[[0, 9, 10]], [0, 1, 0.5], atol=1e-5)
    openings = lip_opening(np.stack([face(0), face(4), face(8)]))
    np.testing.assert_allclose(openings, [0, 0.1, 0.2], atol=1e-6)
    doubled = lip_opening(np.stack([face(4)]) * 2)
    np.testing.assert_allclose(doubled, [0.1], atol=1e-6)


def test_regions_weigh_more_and_crops_stay_inside() -> None:
    points = np.stack([face()])
    weights = region_weights(points, 256, mouth=8.0, eyes=5.0)
    assert weights.shape == (1, 1, 64, 64)
    assert weights[0, 0, 40, 32] > 8 and weights[0, 0, 25, 26] > 5
    assert weights[0, 0, 2, 2] == pytest.approx(1.0, abs=1e-3)
    starts = crop_starts(np.repeat(points, 200, 0), 256, 128, 0.5, np.random.default_rng(0))
    assert starts.min() >= 0 and starts.max() <= 128


def test_windows_are_cut_as_the_stream_cuts_them() -> None:
    audio = np.arange(640 * 30, dtype=np.float32)
    window = cut_window(audio, end=10, frames=25)
    assert window.shape == (25 * 640,)
    assert not window[: 15 * 640].any()
    np.testing.assert_array_equal(window[15 * 640 :], audio[: 10 * 640])


class CountingFrontEnd:
    """Features that are the mean level of each 20 ms."""

    width = 1

    def __call__(self, windows: NDArray[np.float32]) -> Tensor:
        means = np.abs(windows).reshape(len(windows), -1, 320).mean(-1, keepdims=True)
        features: Tensor = torch.from_numpy(means.astype(np.float32))
        return features


def test_augmented_windows_start_in_silence_where_their_history_ends(tmp_path: Path) -> None:
    audio = np.random.default_rng(0).standard_normal(640 * 400).astype(np.float32) * 0.1
    made = augmented_windows("x", audio, CountingFrontEnd(), tmp_path, count=40)
    short = np.flatnonzero(made.history < 50)
    assert len(short)
    for i in short:
        spoken = 2 * made.history[i]
        silent = made.features[i, : 100 - spoken, 0].astype(float)
        assert silent.mean() < 0.4 * made.features[i, 100 - spoken :, 0].astype(float).mean()


def test_gather_masks_what_lies_before_the_recording(tmp_path: Path) -> None:
    audio = np.ones(640 * 80, np.float32)
    clean = clean_windows("c", audio, CountingFrontEnd(), tmp_path, step=1)
    held = WindowSet(clean.features[:1], clean.ends[:1], clean.history[:1], hold=np.array([33]))
    features, index, valid = gather([clean, held], np.array([0, len(clean.ends)]), 50)
    assert features.shape == (2, 100, 1)
    assert valid[0].sum() == clean.ends[0] and index[0, -1] == clean.ends[0] - 1
    assert valid[1].all() and (index[1] == 33).all()


def test_pink_noise_falls_with_frequency() -> None:
    power = np.abs(np.fft.rfft(pink_noise(16_000, np.random.default_rng(0)))) ** 2
    assert 5 < power[100:200].mean() / power[1000:2000].mean() < 20


def test_ema_follows_and_warms_up() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(0.0)
    ema = Ema(layer, decay=0.9)
    layer.weight.data.fill_(1.0)
    ema.update(layer)
    assert 0.5 < ema.shadow["weight"].item() < 1.0
    for _ in range(100):
        ema.update(layer)
    assert ema.shadow["weight"].item() == pytest.approx(1.0, abs=1e-3)


def train(run: Path, minutes: float, stop_after: int | None = None) -> Loop:
    """A loop over a one-parameter model; returns it."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(layer.parameters())
    loop = Loop("line", run, layer, optimizer, minutes, rate=0.01)
    for _ in loop:
        loss = (layer(torch.ones(1, 1)) - 3.0).pow(2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if stop_after is not None and loop.step + 1 >= stop_after:
            loop.save()
            break
    return loop


def test_a_loop_resumes_where_it_was_saved(tmp_path: Path) -> None:
    first = train(tmp_path, minutes=1, stop_after=30)
    weight = first.modules.get_parameter("weight").item()
    layer = torch.nn.Linear(1, 1)
    again = Loop("line", tmp_path, layer, torch.optim.Adam(layer.parameters()), 1, rate=0.01)
    assert again.step == first.step == 29
    assert layer.weight.item() == weight
    assert again.ema.updates == first.ema.updates
    assert again.ema.shadow["weight"].item() == first.ema.shadow["weight"].item()
    assert not list(tmp_path.glob("*.part"))


def test_a_finished_loop_does_nothing_more(tmp_path: Path) -> None:
    train(tmp_path, minutes=0.003)
    steps = train(tmp_path, minutes=0.003)
    assert steps.spent_s >= 0.003 * 60
    before = steps.step
    assert train(tmp_path, minutes=0.003).step == before


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"video\.mp4 is missing"):
        load_person(tmp_path, 128, tmp_path / "cache")
    (tmp_path / "noise.wav").write_bytes(b"this is not audio at all")
    with pytest.raises(DataError, match="cannot read audio"):
        read_audio(tmp_path / "noise.wav")


def test_a_users_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [str(tmp_path), "-o", str(tmp_path / "run"), "--whisper", "x", "--lpips", "y"]
    assert cli.main(argv) == 2
    message = capsys.readouterr().err
    assert message.startswith("daetalker train: ") and message.count("\n") == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}', '{"attributions": [], "colour": 1}'])
def test_a_bad_description_is_refused_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "text.json"
    path.write_text(text)
    with pytest.raises(DataError, match="cannot describe an avatar"):
        cli._read_text(path)


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="needs ../shared/weights (Whisper, LPIPS)")
def test_all_stages_make_a_bundle_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = AutoencoderConfig(
        UNetConfig(size=128, patch=8, widths=(8, 16), up_blocks=(1, 1), embedding=16),
        encoder_widths=(8, 8, 8, 8),
    )
    monkeypatch.setattr(cli, "AutoencoderConfig", lambda: small)
    data = write_person(tmp_path / "person")
    text = tmp_path / "text.json"
    text.write_text(
        json.dumps(
            {
                "name": "box", "label": "Box", "licence": "none", "consent": "a drawing",
                "synthetic": True, "attributions": ["nobody"],
            }
        )
    )  # fmt: skip
    argv = [
        str(data), "-o", str(tmp_path / "run"), "--held-out", str(data),
        "--whisper", str(WEIGHTS / "whisper-tiny.en-encoder"),
        "--lpips", str(WEIGHTS / "lpips/lpips_alex_v0.1.safetensors"),
        "--autoencoder-minutes", "0.05", "--speech-minutes", "0.05", "--student-minutes", "0.03",
        "--text", str(text),
    ]  # fmt: skip
    monkeypatch.setattr(cli, "augmented_windows", partial(augmented_windows, count=8))
    monkeypatch.setattr(cli, "quiet_windows", partial(quiet_windows, count=8))
    monkeypatch.setattr(cli, "Distillation", partial(Distillation, ends=12, steps=2))
    assert cli.main(argv) == 0
    bundle = load_bundle(tmp_path / "run/bundle")
    assert bundle.manifest.name == "box" and bundle.manifest.size == 128
    log = (tmp_path / "run/speech2latent.jsonl").read_text().splitlines()
    assert any("person_lip_corr" in json.loads(line) for line in log)
