from __future__ import annotations

from pathlib import Path

import pytest

from daetalker.models.bundle import AvatarBundle, Manifest
from daetalker.streamer.control import Control, Timeline
from daetalker.streamer.presets import PresetBook
from daetalker.streamer.timeline_file import TimelineError, parse_timeline, read_timeline

GOOD = """
# what she does
0, front
2.5 , left        # towards the window
1:02.04,natural

1:03, mute
1:04.2, briefly
1:05, unmute
"""


@pytest.fixture
def manifest(tiny_bundle: AvatarBundle) -> Manifest:
    return tiny_bundle.manifest


@pytest.fixture
def book(tmp_path: Path) -> PresetBook:
    path = tmp_path / "presets.toml"
    path.write_text("[presets.briefly]\nyaw = 4\nhold_s = 0.5\n")
    return PresetBook(path)


def test_each_line_is_a_change_at_its_frame(book: PresetBook, manifest: Manifest) -> None:
    timeline = parse_timeline(GOOD, book, manifest)
    front, left, briefly = (
        Control.of(book.find(manifest, name)) for name in ("front", "left", "briefly")
    )
    assert timeline == Timeline(
        (
            (0, front),
            (62, left),
            (1551, Control()),
            (1575, Control(muted=True)),
            (1605, Control.of(book.find(manifest, "briefly"), muted=True)),
            (1625, briefly),
        )
    )
    assert timeline.at(1605).hold_s == 0.5
    assert timeline.at(1605).command == timeline.at(1625).command, "unmuting asks for no pose"


def test_two_changes_in_one_frame_are_both_made(book: PresetBook, manifest: Manifest) -> None:
    timeline = parse_timeline("1.00, left\n1.01, mute\n", book, manifest)
    assert timeline.entries == ((25, Control.of(book.find(manifest, "left"), muted=True)),)


def test_an_empty_one_leaves_the_head_to_the_speech(book: PresetBook, manifest: Manifest) -> None:
    assert parse_timeline("# nothing\n\n", book, manifest).at(7) == Control()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0, front\n\n1, sideways", r"line 3: unknown preset 'sideways'; avatar 'tiny' has: "
         r"front, left, .*briefly, and natural, mute, unmute"),
        ("0 straight", r"line 1: must be a time and a preset, such as .* not '0 straight'"),
        ("now, left", "line 1: must be a time and a preset"),
        ("-1, left", "line 1: must be a time"),
        ("1e3, left", "line 1: must be a time"),
        ("nan, left", "line 1: must be a time"),
        ("1:75, left", "line 1: must be a time"),
        ("1:2:3, left", "line 1: must be a time"),
        ("1.5,", "line 1: must be a time and a preset"),
        ("1, left, fast", "line 1: unknown preset 'left, fast'"),
        ("# x\n5, left\n3, natural", "line 3: times must rise, and 3 does not come after"),
        ("5, left\n0:05, natural", "line 2: times must rise, and 0:05 does not"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_line(
    book: PresetBook, manifest: Manifest, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "moves.txt"
    path.write_text(text)
    with pytest.raises(TimelineError, match=words) as refused:
        read_timeline(path, book, manifest)
    assert str(refused.value).startswith(str(path)) and "\n" not in str(refused.value)


def test_files_that_cannot_be_used_are_named(
    book: PresetBook, manifest: Manifest, tmp_path: Path
) -> None:
    path = tmp_path / "moves.txt"
    with pytest.raises(TimelineError, match=r"there is no timeline file .*moves\.txt"):
        read_timeline(path, book, manifest)
    with pytest.raises(TimelineError, match="cannot be read"):
        read_timeline(tmp_path, book, manifest)
    path.write_bytes(b"0, \xff\n")
    with pytest.raises(TimelineError, match="not UTF-8 text"):
        read_timeline(path, book, manifest)
    path.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(TimelineError, match="larger than"):
        read_timeline(path, book, manifest)
    path.write_bytes(b"\xef\xbb\xbf0, left\r\n1, natural\r\n")
    assert len(read_timeline(path, book, manifest).entries) == 2
