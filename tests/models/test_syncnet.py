"""SyncNet v2's shapes and names, and its distances; the public weights are not at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from daetalker.models.training import syncnet
from daetalker.models.training.landmarks import MeasureError
from daetalker.models.training.syncnet import LipWindows, SyncNet, lip_sync, load_syncnet

# Every convolution and linear layer of the public file: layer number and shape of the weight.
PUBLIC = {
    "netcnnaud": {
        0: (64, 1, 3, 3),
        4: (192, 64, 3, 3),
        8: (384, 192, 3, 3),
        11: (256, 384, 3, 3),
        14: (256, 256, 3, 3),
        18: (512, 256, 5, 4),
    },
    "netcnnlip": {
        0: (96, 3, 5, 7, 7),
        4: (256, 96, 1, 5, 5),
        8: (256, 256, 1, 3, 3),
        11: (256, 256, 1, 3, 3),
        14: (256, 256, 1, 3, 3),
        18: (512, 256, 1, 6, 6),
    },
    "netfcaud": {0: (512, 512), 3: (1024, 512)},
    "netfclip": {0: (512, 512), 3: (1024, 512)},
}


@pytest.fixture(scope="module")
def untrained() -> SyncNet:
    torch.manual_seed(0)
    return SyncNet().eval().requires_grad_(False)


def test_names_and_shapes_are_those_of_the_public_file(untrained: SyncNet) -> None:
    state = untrained.state_dict()
    found: dict[str, dict[int, tuple[int, ...]]] = {}
    for name, tensor in state.items():
        part, number, kind = name.split(".")
        if kind == "weight" and tensor.ndim > 1:
            found.setdefault(part, {})[int(number)] = tuple(tensor.shape)
    assert found == PUBLIC
    norms = {name.rsplit(".", 1)[0] for name in state if name.endswith("running_mean")}
    many, one = (1, 5, 9, 12, 15, 19), (1,)
    numbers: list[tuple[str, tuple[int, ...]]] = [
        ("netcnnaud", many),
        ("netcnnlip", many),
        ("netfcaud", one),
        ("netfclip", one),
    ]
    assert norms == {f"{part}.{n}" for part, places in numbers for n in places}


def test_sound_becomes_one_embedding_a_window(untrained: SyncNet) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 640 * 9).astype(np.float32)
    heard = untrained.hear(sound)
    assert heard.shape == (4, 1024)  # nine frames less five
    later = untrained.hear(sound[640:])
    assert torch.allclose(heard[2:], later[1:], atol=1e-4)  # window i hears frames i to i + 4


def test_pictures_are_embedded_window_by_window_as_they_come(
    untrained: SyncNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One embedding a window, in order, BGR, no matter how the windows fall into batches."""
    monkeypatch.setattr(syncnet, "BATCH", 2)
    crops = np.random.default_rng(1).integers(0, 256, (7, 224, 224, 3), dtype=np.uint8)
    windows = LipWindows(untrained)
    for crop in crops:
        windows.add(crop)
    embedded = windows.finish()
    assert embedded.shape == (3, 1024)
    bgr = torch.from_numpy(crops[..., ::-1].copy()).permute(3, 0, 1, 2).float()
    for first in (0, 2):
        alone = untrained.lips(bgr[None, :, first : first + 5])[0]
        assert torch.allclose(embedded[first], alone, atol=1e-4)
    assert LipWindows(untrained).finish().shape == (0, 1024)


@pytest.mark.parametrize("late", [-7, 0, 6])
def test_a_moved_copy_is_found_where_it_is(late: int) -> None:
    sound = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    found = lip_sync(sound.roll(late, 0), sound)
    assert found.offset_frames == late
    assert found.distance < 0.5 < found.confidence


def test_distance_and_confidence_are_those_of_the_public_evaluation() -> None:
    generator = torch.Generator().manual_seed(1)
    lips, sound = (torch.randn(20, 8, generator=generator) for _ in range(2))
    # Frame by frame, as the public code loops: 31 shifts of sound that is zero beyond its ends.
    padded = F.pad(sound, (0, 0, 15, 15))
    rows = [
        F.pairwise_distance(lips[i : i + 1].repeat(31, 1), padded[i : i + 31]) for i in range(20)
    ]
    means = torch.stack(rows, 1).mean(1)
    found = lip_sync(lips, sound)
    assert found.distance == pytest.approx(float(means.min()), abs=1e-5)
    assert found.confidence == pytest.approx(float(means.median() - means.min()), abs=1e-5)
    assert found.offset_frames == 15 - int(means.argmin())
    with pytest.raises(ValueError, match="at least one window"):
        lip_sync(lips[:0], sound)


def test_without_a_path_there_is_no_network() -> None:
    assert load_syncnet(None) is None


def test_a_file_of_the_public_form_is_read(untrained: SyncNet, tmp_path: Path) -> None:
    """The public file is older than the counters of batch normalisation, and in the old format."""
    state = {
        name: tensor
        for name, tensor in untrained.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    path = tmp_path / "syncnet_v2.model"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    loaded = load_syncnet(path)
    assert loaded is not None
    assert not loaded.training
    cepstra = torch.randn(2, 1, 13, 20, generator=torch.Generator().manual_seed(2))
    assert torch.equal(loaded.sound(cepstra), untrained.sound(cepstra))


def test_missing_and_wrong_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=r"no file .*; pass the path of SyncNet v2"):
        load_syncnet(tmp_path / "none.model")
    with pytest.raises(MeasureError, match="no file"):
        load_syncnet(tmp_path)
    (tmp_path / "page.html").write_bytes(b"<html>404</html>")
    torch.save({"netfclip.0.weight": torch.zeros(512, 512)}, tmp_path / "part")
    torch.save([1, 2], tmp_path / "list")
    for name in ("page.html", "part", "list"):
        with pytest.raises(MeasureError, match="does not hold SyncNet v2"):
            load_syncnet(tmp_path / name)
