"""The visible mark: what can be written, where it stands, that it survives, and who gets it."""

from __future__ import annotations

import asyncio
import io
import string
from fractions import Fraction
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from aiortc import RTCSessionDescription
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle, load_bundle
from daetalker.streamer.cli import main
from daetalker.streamer.clock import SimulatedClock
from daetalker.streamer.engine import Engine
from daetalker.streamer.glyphs import drawn
from daetalker.streamer.live import open_avatar
from daetalker.streamer.mark import UNMARKED, Corner, Mark
from daetalker.streamer.media import VideoFrame, frame_count, to_model_rate
from daetalker.streamer.offline import stream_synthesise, synthesise
from daetalker.streamer.screen import Screen
from daetalker.streamer.settings import SettingsError, load_settings
from tests.streamer.serving import PATIENCE_S, offering, running, settings_for, talker
from tests.tiny import make_tiny_bundle, tiny_speech, to_pcm

GREY = np.full((256, 256, 3), 120, np.uint8)
CORNERS: list[Corner] = ["top-left", "top-right", "bottom-left", "bottom-right"]
PRINTABLE = "".join(map(chr, range(32, 127)))


def frame(index: int, rgb: NDArray[np.uint8]) -> VideoFrame:
    return VideoFrame(index, rgb, (0.0, 0.0, 0.0), False, np.zeros(1, np.float32))


def place(mark: Mark, size: int = 256) -> tuple[slice, slice]:
    """The rectangle that the mark changes."""
    touched = np.argwhere((mark.on(np.full((size, size, 3), 120, np.uint8)) != 120).any(axis=2))
    (top, left), (bottom, right) = touched.min(axis=0), touched.max(axis=0) + 1
    return slice(top, bottom), slice(left, right)


def test_all_printable_ascii_has_a_glyph_of_its_own() -> None:
    glyphs = {drawn(character).tobytes() + bytes(drawn(character).shape) for character in PRINTABLE}
    assert len(glyphs) == len(PRINTABLE)
    assert all(drawn(character).any() for character in PRINTABLE[1:])
    assert drawn("AI").shape == (7, 9) and drawn("").shape == (7, 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("künstlich", "'ü' cannot be drawn"), ("a\nb", r"'\\n' cannot"), ("x" * 33, "32 characters")],
)
def test_what_cannot_be_drawn_is_told_in_a_sentence(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Mark(text)
    with pytest.raises(SettingsError, match=rf"mark \(--mark.*{problem}"):
        load_settings({"mark": text})


def test_render_tells_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "none.wav", "-o", str(tmp_path / "out.mp4"), "--mark", "é"]) == 2
    assert "--mark: 'é' cannot be drawn" in capsys.readouterr().err


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("text", ["AI", "AI-generated", "x" * 32])
def test_it_stands_in_its_corner_and_off_the_face(text: str, corner: Corner) -> None:
    rows, columns = place(Mark(text, corner))
    assert rows.stop - rows.start <= 22, "a twelfth of the picture"
    assert rows.stop <= 32 if corner.startswith("top") else rows.start >= 224
    assert columns.start == 8 if corner.endswith("left") else columns.stop == 248


@pytest.mark.parametrize("size", [4, 13, 16, 32, 64, 128, 512, 1024])
def test_pictures_of_any_size_take_it(size: int) -> None:
    rgb = np.full((size, size, 3), 120, np.uint8)
    for text in ("AI", "x" * 32):
        marked = Mark(text).on(rgb)
        assert (marked != 120).any() == (size >= 13)
        assert marked.shape == rgb.shape and marked.dtype == np.uint8
    assert (rgb == 120).all(), "what was given is not drawn on"


def test_a_text_too_long_for_a_picture_makes_way_for_the_shortest() -> None:
    small = np.full((64, 64, 3), 120, np.uint8)
    assert np.array_equal(Mark("x" * 32).on(small), Mark("AI").on(small))


@pytest.mark.parametrize("ground", [0, 120, 255])
def test_it_stands_out_from_every_ground(ground: int) -> None:
    rgb = np.full((256, 256, 3), ground, np.uint8)
    inside = Mark().on(rgb)[place(Mark())]
    assert int(inside.max()) - int(inside.min()) >= 100


def test_no_mark_hands_back_the_very_picture() -> None:
    assert UNMARKED.on(GREY) is GREY and Mark("  ").on(GREY) is GREY


def test_the_screen_marks_what_it_shows_and_a_held_picture_once() -> None:
    mark = Mark()
    screen = Screen(SimulatedClock(), mark)
    first, second = GREY.copy(), GREY + 50
    with screen.outlet(9) as a, screen.outlet(9) as b:
        for index, rgb in enumerate([first, first, first, second]):
            screen.show(frame(index, rgb), 0.0)
        seen = a.waiting_video()
        assert [f.rgb for f in seen] == [f.rgb for f in b.waiting_video()], "one picture for all"
    assert len({id(f.rgb) for f in seen[:3]}) == 1 and seen[3].rgb is not seen[2].rgb
    assert np.array_equal(seen[0].rgb, mark.on(GREY)) and np.array_equal(first, GREY)
    assert [f.index for f in seen] == [0, 1, 2, 3]


def test_a_render_is_marked_as_the_stream_is(
    tiny_bundle: AvatarBundle, tiny_engine: Engine
) -> None:
    voice = to_pcm(tiny_speech(0.3, rate=48_000))
    heard, count = to_model_rate(voice), frame_count(voice)
    mark = Mark("AI", "top-left")
    plain = list(synthesise(tiny_bundle, tiny_engine, heard, frames=count))
    marked = list(synthesise(tiny_bundle, tiny_engine, heard, frames=count, mark=mark))
    streamed = list(stream_synthesise(tiny_bundle, tiny_engine, voice, mark=mark))
    for a, b, c in zip(plain, marked, streamed, strict=True):
        assert np.array_equal(mark.on(a.rgb), b.rgb) and not np.array_equal(a.rgb, b.rgb)
        assert np.array_equal(b.rgb, c.rgb), "stream_max_abs_diff is 0 with the mark too"


def through_vp8(mark: Mark, bit_s: int) -> NDArray[np.uint8]:
    """The last of thirty marked pictures of something that moves, as a viewer of VP8 gets it."""
    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width = encoder.height = 256
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
    encoder.framerate, encoder.bit_rate = Fraction(25), bit_s
    rate = {"maxrate": str(bit_s), "minrate": str(bit_s), "bufsize": str(bit_s)}
    encoder.options = {"deadline": "realtime", "cpu-used": "-6", **rate}
    decoder, rng = av.CodecContext.create("vp8", "r"), np.random.default_rng(0)
    assert isinstance(decoder, av.VideoCodecContext)
    ground = np.kron(rng.integers(60, 200, (16, 16, 3)), np.ones((16, 16, 1), np.int64))
    packets = []
    for index in range(30):
        moved = np.roll(ground, 2 * index, axis=1) + rng.integers(-5, 6, ground.shape)
        picture = av.VideoFrame.from_ndarray(mark.on(moved.astype(np.uint8)), format="rgb24")
        picture.pts, picture.time_base = index, Fraction(1, 25)
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    assert sum(packet.size for packet in packets) * 8 / 1.2 < 1.25 * bit_s
    pictures = [picture for packet in packets for picture in decoder.decode(packet)]
    return pictures[-1].to_ndarray(format="rgb24").astype(np.uint8)


def test_it_can_be_read_after_vp8_at_300_kbit_a_second() -> None:
    """Of all texts of two capitals, the one drawn is the one that fits best."""
    mark = Mark("AI")
    seen = through_vp8(mark, 300_000)[place(mark)].mean(axis=2)

    def likeness(text: str) -> float:
        ink = np.kron(np.pad(drawn(text), 2), np.ones((2, 2)))
        width = min(ink.shape[1], seen.shape[1])
        return float(np.corrcoef(ink[:, :width].ravel(), seen[:, :width].ravel())[0, 1])

    letters = string.ascii_uppercase
    alike = {a + b: likeness(a + b) for a in letters for b in letters}
    assert max(alike, key=lambda text: alike[text]) == "AI"
    assert alike["AI"] > 0.8


@pytest.fixture(scope="module")
def wide_bundle(tmp_path_factory: pytest.TempPathFactory) -> AvatarBundle:
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("wide") / "tiny", size=128))


def is_marked(rgb: NDArray[np.uint8], text: str) -> bool:
    mark = Mark(text)
    ink = np.pad(drawn(text), 2).astype(np.float64)
    seen = rgb[place(mark, len(rgb))].mean(axis=2)
    return bool(seen.shape == ink.shape and np.corrcoef(ink.ravel(), seen.ravel())[0, 1] > 0.7)


async def test_whoever_watches_sees_it(wide_bundle: AvatarBundle) -> None:
    """A WebRTC client, and the still picture that pages show before."""
    async with running(settings_for(wide_bundle.path, mark="FAKE")) as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            still = await client.get("/avatar/tiny/preview.png")
        with av.open(io.BytesIO(still.content), "r") as png:
            first = next(png.decode(video=0)).to_ndarray(format="rgb24")
        assert is_marked(first.astype(np.uint8), "FAKE")
        async with talker(server.url) as client, offering() as (peer, sdp):
            welcome = await client.hello()
            assert (welcome["synthetic"], welcome["mark"]) == (True, "FAKE")
            await client.say({"type": "offer", "sdp": sdp})
            answer = await client.hear("answer")
            assert "synthetic" in answer["sdp"]
            await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
            track = next(
                t.receiver.track for t in peer.getTransceivers() if t.receiver.track.kind == "video"
            )
            async with asyncio.timeout(PATIENCE_S):
                for _ in range(30):
                    picture = await track.recv()
            assert isinstance(picture, av.VideoFrame)
            assert is_marked(picture.to_ndarray(format="rgb24").astype(np.uint8), "FAKE")


async def test_programs_see_it_too_unless_the_settings_say_no(
    wide_bundle: AvatarBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("AI", ""):
        monkeypatch.setenv("DAETALKER_MARK", text)
        async with (
            asyncio.timeout(PATIENCE_S),
            open_avatar(str(wide_bundle.path), threads=1) as avatar,
            avatar.session() as session,
        ):
            async for moment in session.moments():
                assert is_marked(moment.rgb, "AI") == bool(text)
                break
