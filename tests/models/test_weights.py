"""Weights: found where they lie, fetched whole or not at all, brought into our loaders' form."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
safetensors = pytest.importorskip("safetensors.torch")

from daetalker.models.acoustic import WhisperEncoder  # noqa: E402
from daetalker.models.training import weights  # noqa: E402
from daetalker.models.training.data import DataError  # noqa: E402
from daetalker.models.training.metrics import Lpips  # noqa: E402
from daetalker.models.training.weights import (  # noqa: E402
    WEIGHTS,
    Origin,
    Weight,
    WeightsError,
    weight,
    weights_folder,
)

SHARED = Path(__file__).resolve().parents[3] / "shared/weights"
BODY = b"a network" * 1000


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    file = tmp_path / "public" / "net.bin"
    file.parent.mkdir()
    file.write_bytes(BODY)
    return file


def use(monkeypatch: pytest.MonkeyPatch, *origins: Origin, **changes: object) -> None:
    made = Weight("nets/net.bin", "nets/net.bin", "a test network", "CC0", origins)
    monkeypatch.setitem(WEIGHTS, "net", replace(made, **changes))  # type: ignore[arg-type]


def nothing_left(folder: Path) -> bool:
    return not [p for p in folder.rglob("*") if p.is_file()]


def test_a_missing_file_is_fetched_once_with_a_line_on_its_licence(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    origin: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use(monkeypatch, Origin(origin.as_uri(), hashlib.sha256(BODY).hexdigest()))
    path = weight("net", tmp_path / "w")
    assert path == tmp_path / "w/nets/net.bin" and path.read_bytes() == BODY
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and origin.as_uri() in said and "CC0" in said
    assert [p.name for p in path.parent.iterdir()] == ["net.bin"]
    origin.unlink()
    assert weight("net", tmp_path / "w") == path
    assert not capsys.readouterr().err


def test_a_file_with_another_checksum_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Path
) -> None:
    use(monkeypatch, Origin(origin.as_uri(), "00ff"))
    with pytest.raises(WeightsError, match="not the file expected"):
        weight("net", tmp_path / "w")
    assert nothing_left(tmp_path / "w")


class Truncating(BaseHTTPRequestHandler):
    """Announces more than it sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:100])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def truncating() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Truncating) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/net.bin"
        server.shutdown()
        thread.join()


def test_an_interrupted_download_is_never_taken_for_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, truncating: str
) -> None:
    use(monkeypatch, Origin(truncating))
    with pytest.raises(WeightsError, match=r"100 of 9000 bytes"):
        weight("net", tmp_path / "w")
    assert nothing_left(tmp_path / "w")


def test_offline_one_sentence_names_file_address_and_option(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, Origin("http://127.0.0.1:1/net.bin"))
    with pytest.raises(DataError) as caught:
        weight("net", tmp_path / "w")
    text = str(caught.value)
    assert "http://127.0.0.1:1/net.bin" in text and "--weights" in text and "\n" not in text
    assert str(tmp_path / "w/nets/net.bin") in text


def test_a_folder_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Path
) -> None:
    use(monkeypatch, Origin(origin.as_uri()))
    (tmp_path / "w").write_text("a file where a folder should be")
    with pytest.raises(WeightsError, match=r"cannot keep net\.bin.*--weights"):
        weight("net", tmp_path / "w")


def test_the_folder_comes_from_the_option_the_environment_or_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path / "env"))
    assert weights_folder(tmp_path) == tmp_path
    assert weights_folder() == tmp_path / "env"
    monkeypatch.delenv(weights.ENVIRONMENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights_folder() == tmp_path / ".cache/daetalker/weights"


def test_whisper_is_cut_down_to_its_encoder_in_half_precision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = WhisperEncoder(1500)
    whole = {"model.decoder.layer_norm.weight": torch.ones(384)}
    for key, value in model.state_dict().items():
        parts = key.replace("positions", "embed_positions.weight").split(".")
        if parts[-2] in ("q_proj", "k_proj", "v_proj", "out_proj"):
            parts.insert(-2, "self_attn")
        whole["model.encoder." + ".".join(parts)] = value + 0.01
    public = tmp_path / "model.safetensors"
    safetensors.save_file(whole, public)
    made = replace(WEIGHTS["whisper"], origins=(Origin(public.as_uri()),))
    monkeypatch.setitem(WEIGHTS, "whisper", made)
    folder = weight("whisper", tmp_path / "w")
    state = safetensors.load_file(folder / "model.safetensors")
    assert {v.dtype for v in state.values()} == {torch.float16}
    assert not any("decoder" in key for key in state)
    if SHARED.is_dir():
        known = safetensors.load_file(SHARED / "whisper-tiny.en-encoder/model.safetensors")
        assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in known.items()}
    loaded = WhisperEncoder.load(folder)
    torch.testing.assert_close(loaded.conv1.weight, model.conv1.weight + 0.01, atol=1e-3, rtol=1e-3)


def alexnet_and_heads(folder: Path) -> list[Path]:
    """The two public files of LPIPS, with random values."""
    shapes = {
        0: (64, 3, 11),
        3: (192, 64, 5),
        6: (384, 192, 3),
        8: (256, 384, 3),
        10: (256, 256, 3),
    }
    alexnet = {"classifier.1.weight": torch.zeros(4)}
    for number, (out, into, side) in shapes.items():
        alexnet[f"features.{number}.weight"] = torch.randn(out, into, side, side) / 50
        alexnet[f"features.{number}.bias"] = torch.zeros(out)
    heads = {
        f"lin{i}.model.1.weight": torch.rand(1, shape[0], 1, 1)
        for i, shape in enumerate(shapes.values())
    }
    torch.save(alexnet, folder / "alexnet.pth")
    torch.save(heads, folder / "alex.pth")
    return [folder / "alexnet.pth", folder / "alex.pth"]


def test_lpips_joins_two_public_files_into_the_one_we_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    origins = tuple(Origin(p.as_uri()) for p in alexnet_and_heads(tmp_path))
    monkeypatch.setitem(WEIGHTS, "lpips", replace(WEIGHTS["lpips"], origins=origins))
    path = weight("lpips", tmp_path / "w")
    image = torch.rand(1, 3, 64, 64)
    assert Lpips(path)(image, image).item() == 0.0
    assert Lpips(path)(image, -image).item() > 0.0
    if SHARED.is_dir():
        known = safetensors.load_file(SHARED / "lpips/lpips_alex_v0.1.safetensors")
        made = safetensors.load_file(path)
        assert {k: v.shape for k, v in made.items()} == {k: v.shape for k, v in known.items()}


def test_originals_saved_by_hand_are_used_without_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "w/origin").mkdir(parents=True)
    files = alexnet_and_heads(tmp_path / "w/origin")
    origins = tuple(Origin(f"http://127.0.0.1:1/{p.name}") for p in files)
    monkeypatch.setitem(WEIGHTS, "lpips", replace(WEIGHTS["lpips"], origins=origins))
    assert weight("lpips", tmp_path / "w").is_file()
    assert all(p.is_file() for p in files)


def test_foreign_content_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Path
) -> None:
    for name, count in (("whisper", 1), ("lpips", 2)):
        made = replace(WEIGHTS[name], origins=(Origin(origin.as_uri()),) * count)
        monkeypatch.setitem(WEIGHTS, name, made)
        with pytest.raises(WeightsError, match="did not hold"):
            weight(name, tmp_path / "w")
        assert nothing_left(tmp_path / "w")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/weights")
def test_pinned_checksums_are_those_of_the_files_measured_with() -> None:
    for name in ("face_landmarker", "light_asd"):
        known = WEIGHTS[name]
        digest = hashlib.sha256((SHARED / known.file).read_bytes()).hexdigest()
        assert known.origins[0].sha256 == digest
    assert all((SHARED / known.file).is_file() for known in WEIGHTS.values())
