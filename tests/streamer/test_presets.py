"""The file of presets: what it may say, what is shown of it, and that nothing in it gets lost."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from daetalker.models.bundle import AvatarBundle, Manifest, Preset
from daetalker.streamer.presets import PresetBook, PresetError, default_presets_path, watch

WINK = Preset("wink", "Wink", 3.0, 1.0, -2.0, ease_s=0.3, natural=0.4, hold_s=1.5)
HAND_WRITTEN = """\
# My heads.  Do not lose this line.

[presets.far-left]   # for the window
label = "Far left"   # shown on the button
yaw = 25             # degrees
ease_s = 0.8

# this one is for meetings
[presets.nod]
pitch = -5.5
hold_s = 0.4

# replaces the avatar's own
[presets.left]
yaw = 10.0
# the end
"""


@pytest.fixture
def manifest(tiny_bundle: AvatarBundle) -> Manifest:
    """Its own presets: straight, left, tilt, or the like; range 30, 18 and 12 degrees."""
    return tiny_bundle.manifest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config/daetalker/presets.toml"


def book_of(path: Path, text: str) -> PresetBook:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return PresetBook(path)


def names(book: PresetBook, manifest: Manifest) -> list[str]:
    return [preset.name for preset in book.for_avatar(manifest)]


def test_the_path_is_in_the_users_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    assert default_presets_path() == Path("/somewhere/daetalker/presets.toml")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_presets_path() == Path("/home/ann/.config/daetalker/presets.toml")


def test_no_file_is_as_good_as_an_empty_one(path: Path, manifest: Manifest) -> None:
    book = PresetBook(path)
    assert book.for_avatar(manifest) == manifest.presets
    assert not book.is_own("left") and not book.reload()
    book.check(manifest)
    assert not path.exists()


def test_the_avatars_own_come_first_overridden_in_place(path: Path, manifest: Manifest) -> None:
    book = book_of(path, HAND_WRITTEN)
    own = [preset.name for preset in manifest.presets]
    assert names(book, manifest) == [*own, "far-left", "nod"]
    assert book.find(manifest, "left") == Preset("left", "Left", 10.0, 0.0, 0.0)
    assert book.find(manifest, "far-left") == Preset("far-left", "Far left", 25, 0, 0, ease_s=0.8)
    assert book.find(manifest, "nod") == Preset("nod", "Nod", 0.0, -5.5, 0.0, hold_s=0.4)
    assert book.is_own("left") and book.is_own("left", manifest) and not book.is_own("tilt")


def test_hidden_ones_and_those_of_other_avatars_are_left_out(
    path: Path, manifest: Manifest
) -> None:
    book = book_of(
        path,
        "[presets.left]\nhidden = true\n"
        '[presets.hers]\navatar = "ann"\nyaw = 80\n'
        f'[presets.ours]\navatar = "{manifest.name}"\nyaw = 5\n',
    )
    assert "left" not in names(book, manifest) and "hers" not in names(book, manifest)
    assert names(book, manifest)[-1] == "ours"
    ann = replace(manifest, name="ann", pose_range_deg={"yaw": (-90.0, 90.0)})
    ann.pose_range_deg.update({axis: (-20.0, 20.0) for axis in ("pitch", "roll")})
    assert names(book, ann)[-1] == "hers"
    book.check(manifest)


def test_what_an_avatar_cannot_show_is_left_out_and_named_by_check(
    path: Path, manifest: Manifest
) -> None:
    book = book_of(path, "[presets.owl]\nyaw = 80\n[presets.left]\nroll = -50\n")
    assert book.for_avatar(manifest) == manifest.presets, "and left is the avatar's own again"
    assert not book.is_own("left", manifest) and book.is_own("left")
    with pytest.raises(PresetError) as refused:
        book.check(manifest)
    said = str(refused.value)
    for word in (str(path), "'owl'", "yaw 80", "-30 to 30 degrees", manifest.name, "change it"):
        assert word in said
    with pytest.raises(PresetError, match=r"unknown preset 'owl'; avatar .* has: .*left"):
        book.find(manifest, "owl")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[presets.a\n", "not readable as TOML: .*line 1"),
        ("[presets.a]\nyaw = 1\n[presets.a]\n", "not readable as TOML"),
        ("presets = 3", "presets must be tables"),
        ("[preset.a]\nyaw = 1", "unknown key 'preset'; presets are tables written"),
        ("[presets]\na = 1", "preset 'a': must be a table"),
        ("[presets.'a b']\nyaw = 1", "preset 'a b': its name must be 1 to 64 letters"),
        ("[presets.'../up']\nyaw = 1", "its name must be"),
        (f"[presets.{'x' * 65}]\nyaw = 1", "its name must be"),
        ("[presets.mute]\nyaw = 1", "preset 'mute': this word has a meaning"),
        ("[presets.a]\nyam = 1", "preset 'a': unknown key 'yam'; known are label, yaw, pitch"),
        ("[presets.a]\nyaw = '1'", "yaw must be a number of -90 to 90 degrees, not '1'"),
        ("[presets.a]\nyaw = true", "yaw must be a number"),
        ("[presets.a]\npitch = nan", "pitch must be a number"),
        ("[presets.a]\nroll = -inf", "roll must be a number"),
        ("[presets.a]\nease_s = 0.01", "ease_s must be a number of 0.05 to 60 seconds, not 0.01"),
        ("[presets.a]\nnatural = 1.5", "natural must be a number of 0 to 1, not 1.5"),
        ("[presets.a]\nhold_s = -1", "hold_s must be a number of 0 to 3600 seconds, not -1"),
        ("[presets.a]\nhidden = 1", "hidden must be true or false"),
        ("[presets.a]\nlabel = 3", "label must be a text of 1 to 80"),
        ('[presets.a]\nlabel = "a\\u001bb"', "label must be a text of 1 to 80"),
        (f"[presets.a]\nlabel = '{'x' * 81}'", "label must be a text of 1 to 80"),
        ("[presets.a]\navatar = '../x'", "avatar must be the name"),
        ("".join(f"[presets.p{n}]\n" for n in range(101)), "101 presets are too many; keep 100"),
        ("#" * 2**21, "larger than a file of presets may be"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_place(path: Path, text: str, words: str) -> None:
    with pytest.raises(PresetError, match=words) as refused:
        book_of(path, text)
    said = str(refused.value)
    assert said.startswith(str(path)) and "\n" not in said and said.isprintable()


def test_files_that_cannot_be_read_are_named(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(PresetError, match=r"presets\.toml cannot be read"):
        PresetBook(path)
    path.rmdir()
    path.write_bytes(b"[presets.\xff]\n")
    with pytest.raises(PresetError, match="not UTF-8 text"):
        PresetBook(path)
    path.write_bytes(b"\xef\xbb\xbf[presets.a]\r\nyaw = 2\r\n")  # as some editors write it
    assert PresetBook(path).is_own("a")


def test_a_saved_preset_is_there_the_next_time(path: Path, manifest: Manifest) -> None:
    book = PresetBook(path)
    book.save(manifest, WINK)
    assert book.find(manifest, "wink") == PresetBook(path).find(manifest, "wink") == WINK
    changed = replace(WINK, yaw=-4.25, hold_s=None, natural=0.15, label="Blink")
    book.save(manifest, changed)
    assert PresetBook(path).find(manifest, "wink") == changed
    assert "hold_s" not in path.read_text() and not book.reload(), "we know what we wrote"
    assert [p.name for p in path.parent.iterdir()] == ["presets.toml"], "nothing is left behind"


def test_comments_and_the_rest_survive_every_change(path: Path, manifest: Manifest) -> None:
    book = book_of(path, HAND_WRITTEN)
    left = book.find(manifest, "far-left")
    book.save(manifest, replace(left, yaw=20.5, hold_s=2.0))
    book.save(manifest, WINK)
    text = path.read_text()
    expected = HAND_WRITTEN.replace("yaw = 25  ", "yaw = 20.5").replace(
        "ease_s = 0.8\n", "ease_s = 0.8\nhold_s = 2.0\n"
    )
    added = text.removeprefix(text[: text.index("\n[presets.wink]")])
    assert [line.split() for line in text.removesuffix(added).splitlines()] == [
        line.split() for line in expected.splitlines()
    ]
    book.delete(manifest, "far-left")
    book.delete(manifest, "nod")
    text = path.read_text()
    for comment in ("Do not lose", "this one is for meetings", "replaces the avatar", "the end"):
        assert comment in text, "what stands before another preset is not the deleted one's"
    assert "nod" not in text and "far-left" not in text
    assert text.count("[presets.") == 2


def test_line_ends_stay_as_they_are(path: Path, manifest: Manifest) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(HAND_WRITTEN.replace("\n", "\r\n").encode())
    book = PresetBook(path)
    book.save(manifest, WINK)
    book.save(manifest, replace(WINK, name="left"))
    book.delete(manifest, "nod")
    data = path.read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n") > 10


@pytest.mark.parametrize(
    "text",
    [
        "presets.a.yaw = 1\npresets.b.yaw = 2\n",
        "[presets]\na = {yaw = 1}\nb = {yaw = 2}\n",
        "[presets]\na.yaw = 1\nb.yaw = 2\n",
        "presets = {a = {yaw = 1}, b = {yaw = 2}}\n",
        "[ presets . 'a' ]\nyaw = 1\n[presets.\"b\"]\nyaw = 2",
    ],
)
def test_other_ways_to_write_it_are_changed_right_or_not_at_all(
    path: Path, manifest: Manifest, text: str
) -> None:
    wanted = {"a": 7.0, "b": 2.0, "c": 3.0}
    for name, change in (("a", 7.0), ("c", 3.0), ("b", None)):
        book = book_of(path, text)
        try:
            if change is None:
                book.delete(manifest, name)
            else:
                book.save(manifest, Preset(name, name.upper(), change, 0.0, 0.0))
        except PresetError as error:
            assert "only you can change" in str(error)
            assert path.read_text() == text
            continue
        found = {p.name: p.yaw for p in PresetBook(path).for_avatar(manifest)}
        for other in {"a", "b"} - {name}:
            assert found[other] == {"a": 1.0, "b": 2.0}[other]
        assert found.get(name) == (None if change is None else wanted[name])


def test_deleting_brings_back_or_hides_what_the_avatar_came_with(
    path: Path, manifest: Manifest
) -> None:
    book = book_of(path, HAND_WRITTEN)
    mine, theirs = book.find(manifest, "left"), manifest.presets
    original = next(preset for preset in theirs if preset.name == "left")
    book.delete(manifest, "left")
    assert book.find(manifest, "left") == original != mine
    book.delete(manifest, "left")
    assert "left" not in names(book, manifest) and "hidden = true" in path.read_text()
    with pytest.raises(PresetError, match=r"unknown preset 'left'; avatar .* has: .*far-left, nod"):
        book.delete(manifest, "left")
    with pytest.raises(PresetError, match="unknown preset 'left'"):
        book.find(manifest, "left")
    book.save(manifest, mine)
    assert book.find(manifest, "left") == mine, "saving one under that name shows it again"
    assert names(PresetBook(path), manifest) == names(book, manifest)


def test_wrong_values_are_refused_and_nothing_is_written(path: Path, manifest: Manifest) -> None:
    book = book_of(path, HAND_WRITTEN + '[presets.hers]\navatar = "ann"\nyaw = 80\n')
    before = path.read_bytes()
    for preset, words in [
        (replace(WINK, yaw=31.0), "preset 'wink': yaw 31 is outside the -30 to 30 degrees"),
        (replace(WINK, name="not a name"), "its name must be"),
        (replace(WINK, name="natural"), "has a meaning in timelines"),
        (replace(WINK, label=""), "label must be"),
        (replace(WINK, ease_s=0.0), "ease_s must be"),
        (replace(WINK, name="hers"), "has a preset 'hers' for avatar 'ann'; rename"),
    ]:
        with pytest.raises(PresetError, match=words):
            book.save(manifest, preset)
    with pytest.raises(PresetError, match="unknown preset 'hers'"):
        book.delete(manifest, "hers")
    assert path.read_bytes() == before
    full = book_of(path, "".join(f"[presets.p{n}]\n" for n in range(100)))
    with pytest.raises(PresetError, match="100 presets already"):
        full.save(manifest, WINK)


def test_what_is_written_by_hand_between_is_kept(path: Path, manifest: Manifest) -> None:
    book = book_of(path, HAND_WRITTEN)
    path.write_text(HAND_WRITTEN + "[presets.byhand]\nyaw = 1\n")
    book.save(manifest, WINK)
    assert {"byhand", "wink"} <= set(names(book, manifest))
    path.write_text("[presets.broken\n")
    with pytest.raises(PresetError, match=r"presets\.toml: not readable as TOML"):
        book.save(manifest, WINK)
    assert path.read_text() == "[presets.broken\n"
    assert "byhand" in names(book, manifest), "what it said before stays in force"


class Contested(PresetBook):
    """Its file is written by hand just after it was read for a change."""

    by_hand: ClassVar = ["[presets.byhand]\nyaw = 1\n", "[presets.byhand]\nyaw = 2\n"]

    def _read(self) -> bytes:
        data = super()._read()
        if data and self.by_hand:
            self.path.write_text(HAND_WRITTEN + self.by_hand.pop(0))
        return data


def test_what_is_written_by_hand_while_we_write_is_kept(path: Path, manifest: Manifest) -> None:
    book = Contested(path)
    path.parent.mkdir(parents=True)
    path.write_text(HAND_WRITTEN)
    book.save(manifest, WINK)
    again = PresetBook(path)
    assert again.find(manifest, "byhand").yaw == 2.0 and again.find(manifest, "wink") == WINK


def test_threads_do_not_lose_each_others_presets(path: Path, manifest: Manifest) -> None:
    book = PresetBook(path)

    def save(first: int) -> None:
        for n in range(first, 20, 4):
            book.save(manifest, replace(WINK, name=f"p{n}"))

    threads = [threading.Thread(target=save, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"p{n}" for n in range(20)} <= set(names(PresetBook(path), manifest))


def test_links_and_rights_stay(path: Path, tmp_path: Path, manifest: Manifest) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text(HAND_WRITTEN)
    real.chmod(0o640)
    path.parent.mkdir(parents=True)
    path.symlink_to(real)
    PresetBook(path).save(manifest, WINK)
    assert path.is_symlink() and "wink" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_named(path: Path, manifest: Manifest) -> None:
    path.parent.parent.mkdir()
    path.parent.parent.chmod(0o500)
    with pytest.raises(PresetError, match="cannot be written: Permission denied"):
        PresetBook(path).save(manifest, WINK)


def test_a_file_in_place_of_the_folder_is_named(path: Path, manifest: Manifest) -> None:
    path.parent.parent.mkdir()
    path.parent.write_text("")
    with pytest.raises(PresetError, match=r"presets\.toml cannot be (read|written)"):
        PresetBook(path).save(manifest, WINK)


def test_reload_says_what_changed_and_complains_once(path: Path, manifest: Manifest) -> None:
    book = book_of(path, HAND_WRITTEN)
    assert not book.reload()
    path.write_text(HAND_WRITTEN + "# only a comment\n")
    assert not book.reload()
    path.write_text("[presets.new]\nyaw = 1\n")
    assert book.reload() and not book.reload()
    path.write_text("[presets.new]\nyaw = 'far'\n")
    with pytest.raises(PresetError, match="yaw must be a number"):
        book.reload()
    assert not book.reload() and names(book, manifest)[-1] == "new"
    path.write_text("[presets.new]\nyaw = 'near'\n")
    with pytest.raises(PresetError, match="'near'"):
        book.reload()
    path.unlink()
    assert book.reload() and book.for_avatar(manifest) == manifest.presets


async def test_a_changed_file_is_noticed_and_a_broken_one_told_once(
    path: Path, manifest: Manifest
) -> None:
    book = book_of(path, HAND_WRITTEN)
    said: asyncio.Queue[str] = asyncio.Queue()
    watching = asyncio.create_task(
        watch(book, lambda: said.put_nowait("changed"), lambda e: said.put_nowait(str(e)), 0.01)
    )
    try:
        async with asyncio.timeout(60):
            path.write_text("[presets.new]\nyaw = 1\n")
            assert await said.get() == "changed" and names(book, manifest)[-1] == "new"
            path.write_text("[presets.new]\nyaw = 1.5.2\n")
            assert "not readable as TOML" in await said.get()
            os.utime(path)
            await asyncio.sleep(0.2)
            assert said.empty(), "the same mistake is not told twice"
            path.unlink()
            assert await said.get() == "changed"
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert watching.cancelled()
