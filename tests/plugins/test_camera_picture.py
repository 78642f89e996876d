"""The picture's way to the camera: letterbox, beats of 25 and 30, devices that are not there."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from daetalker.plugins.camera.errors import CameraError
from daetalker.plugins.camera.letterbox import Letterbox, parse_colour
from daetalker.plugins.camera.shelf import Shelf
from daetalker.plugins.camera.virtual_camera import VirtualCamera, how_to_get_a_camera
from daetalker.streamer.plugin import MissingExtra
from tests.plugins.camera_bench import BACKEND, FakeCamera

GROUND = (32, 33, 34)


def test_a_picture_of_the_right_size_is_copied_to_the_middle_exactly() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    frame = Letterbox(160, 64, GROUND).frame(picture)
    assert frame.shape == (64, 160, 3)
    assert np.array_equal(frame[:, 48:112], picture)
    assert (frame[:, :48] == GROUND).all() and (frame[:, 112:] == GROUND).all()


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 480), (480, 640), (854, 480)])
def test_the_picture_fills_the_shorter_side_and_is_not_stretched(width: int, height: int) -> None:
    rows, columns = np.mgrid[:256, :256]
    disc = (rows - 127.5) ** 2 + (columns - 127.5) ** 2 < 100**2
    picture = np.where(disc[..., None], np.uint8(250), np.uint8(5)).repeat(3, axis=2)
    frame = Letterbox(width, height, (255, 0, 0)).frame(picture)
    side = min(width, height)
    inside = frame[..., 1] != 0
    assert inside.any(axis=1).sum() == side and inside.any(axis=0).sum() == side
    bright = frame[..., 1] > 128
    tall, wide = bright.any(axis=1).sum(), bright.any(axis=0).sum()
    assert abs(int(tall) - int(wide)) <= 1
    assert abs(tall - 200 * side / 256) <= 2
    # In the middle, to the pixel.
    assert abs(np.argwhere(bright).mean(axis=0) - [(height - 1) / 2, (width - 1) / 2]).max() < 0.6


def test_colours_are_scaled_each_for_itself() -> None:
    flat = np.empty((32, 32, 3), np.uint8)
    flat[:] = (10, 200, 91)
    assert (Letterbox(320, 240, GROUND).frame(flat)[:, 40:280] == (10, 200, 91)).all()
    # A sharp edge between complementary colours: nothing is subsampled, no colour bleeds.
    edge = np.zeros((32, 32, 3), np.uint8)
    edge[:, :16], edge[:, 16:] = (255, 0, 0), (0, 255, 255)
    frame = Letterbox(240, 240, GROUND).frame(edge).astype(int)
    assert (abs(frame[..., 0] + frame[..., 1] - 255) <= 1).all()
    assert (frame[..., 1] == frame[..., 2]).all()


def test_scaling_is_lanczos() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    place = (np.arange(96) + 0.5) / 3 - 0.5
    taps = np.floor(place).astype(int)[:, None] + np.arange(-2, 4)
    weights = np.sinc(place[:, None] - taps) * np.sinc((place[:, None] - taps) / 3)
    matrix = np.zeros((96, 32))
    np.add.at(matrix, (np.arange(96)[:, None], taps.clip(0, 31)), weights)
    matrix /= matrix.sum(axis=1, keepdims=True)
    wanted = np.einsum("ij,jkc,lk->ilc", matrix, picture.astype(float), matrix).clip(0, 255)
    frame = Letterbox(160, 96, GROUND).frame(picture)[:, 32:128]
    inner = abs(frame[12:-12, 12:-12] - wanted[12:-12, 12:-12])
    assert inner.mean() < 1.0


def test_the_same_picture_costs_nothing_and_no_picture_is_the_ground() -> None:
    letterbox = Letterbox(160, 120, GROUND)
    picture = np.zeros((32, 32, 3), np.uint8)
    assert letterbox.frame(picture) is letterbox.frame(picture)
    other = letterbox.frame(picture.copy() + 9)
    assert (other[:, 20:140] == 9).all()
    assert (letterbox.frame(None) == GROUND).all()


@pytest.mark.parametrize(
    ("text", "colour"),
    [("#202020", (32, 32, 32)), ("0f8", (0, 255, 136)), ("White", (255, 255, 255))],
)
def test_colours(text: str, colour: tuple[int, int, int]) -> None:
    assert parse_colour(text) == colour


@pytest.mark.parametrize("text", ["", "#12345", "#gggggg", "pinkish", "#12 456"])
def test_what_is_no_colour_is_told(text: str) -> None:
    with pytest.raises(CameraError, match="write #rrggbb"):
        parse_colour(text)


def shown(fps: int, seconds: float, first_s: float = 0.0) -> list[tuple[float, int]]:
    """What a camera shows of pictures every 40 ms: position, and the picture's number."""
    shelf, out, after_s = Shelf(fps), [], -1.0 / fps
    for index in range(round(seconds * 25)):
        shelf.put(first_s + index * 0.04, np.full((1, 1, 3), index, np.uint8))
        while (following := shelf.next(after_s)) is not None:
            assert following.rgb is not None
            after_s = following.position_s
            out.append((after_s, int(following.rgb[0, 0, 0])))
    return out


def test_at_25_every_picture_is_shown_once_at_its_own_time() -> None:
    assert shown(25, 2) == [(index * 0.04, index) for index in range(50)]
    # Also when the programme was padded by some odd time.
    assert [index for _, index in shown(25, 2, first_s=0.0137)] == list(range(50))


def test_at_30_every_beat_shows_the_nearest_picture() -> None:
    out = shown(30, 4)
    assert np.allclose(np.diff([position for position, _ in out]), 1 / 30)
    assert [index for _, index in out[:13]] == [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 8, 9, 10]
    for position, index in out:
        assert abs(position - index * 0.04) <= 0.02 + 1e-9
    numbers = [index for _, index in out]
    assert sorted(set(numbers)) == list(range(numbers[-1] + 1))  # none is left out


def test_pyvirtualcam_checks_what_we_send_and_the_device_gets_it() -> None:
    pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="the extra 'camera' is missing")
    FakeCamera.reset()
    pyvirtualcam.register_backend(BACKEND, FakeCamera)
    camera = VirtualCamera(320, 240, 25, backend=BACKEND, device="/dev/video9")
    assert camera.device == "/dev/video9"
    frame = Letterbox(320, 240, GROUND).frame(np.full((32, 32, 3), 77, np.uint8))
    camera.send(frame)
    assert np.array_equal(FakeCamera.frames[0][1], frame)
    with pytest.raises(ValueError, match="unexpected frame shape"):
        camera.send(frame[:, :-2])
    FakeCamera.gone = True
    with pytest.raises(CameraError, match="takes no more pictures"):
        camera.send(frame)
    camera.close()
    camera.close()
    assert FakeCamera.closed == 1


def test_no_device_says_what_to_do_in_one_message() -> None:
    pytest.importorskip("pyvirtualcam", reason="the extra 'camera' is missing")
    with pytest.raises(CameraError) as caught:
        VirtualCamera(320, 240, 25, device="/dev/video98765")
    message = str(caught.value)
    assert "\n" not in message
    assert "/dev/video98765" in message
    assert how_to_get_a_camera() in message


def test_each_system_has_its_own_advice_and_the_alternative() -> None:
    linux, other = how_to_get_a_camera("Linux"), how_to_get_a_camera("Darwin")
    assert "sudo apt-get install v4l2loopback-dkms" in linux
    assert "sudo modprobe v4l2loopback exclusive_caps=1 card_label=daetalker" in linux
    assert "OBS" in other and "modprobe" not in other
    assert all("http://127.0.0.1:8080/stage" in text for text in (linux, other))


def test_a_busy_device_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="the extra 'camera' is missing")

    class Busy(FakeCamera):
        def __init__(self, **_: Any) -> None:
            raise RuntimeError("Device or resource busy")

    monkeypatch.setitem(pyvirtualcam.camera.BACKENDS, BACKEND, Busy)
    with pytest.raises(CameraError, match=r"used by another program .*close that one first"):
        VirtualCamera(320, 240, 25, backend=BACKEND)
    with pytest.raises(CameraError, match="'nonsense' is unknown here; there is: "):
        VirtualCamera(320, 240, 25, backend="nonsense")


def test_without_the_extra_the_package_imports_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert import_module("daetalker.plugins.camera").CameraPlugin.name == "camera"
    with pytest.raises(MissingExtra, match=r'pyvirtualcam.*pip install "daetalker\[camera\]"'):
        VirtualCamera(320, 240, 25)
    with pytest.raises(MissingExtra, match=r'sounddevice.*pip install "daetalker\[camera\]"'):
        import_module("daetalker.plugins.camera.sound_devices").sound_devices()


def test_importing_us_loads_none_of_the_extras_packages() -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
import daetalker.plugins.camera.command, daetalker.plugins.camera.measure
print(*({{"pyvirtualcam", "sounddevice"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
