"""Presets and timelines on the command line."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.streamer.cli import main
from tests.streamer.serving import buzz

PRESETS = """
[presets.owl]
label = "Owl"
yaw = -28
natural = 0
ease_s = 0.2

[presets.nod]
pitch = -8
ease_s = 0.2
hold_s = 0.1
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(PRESETS)
    return path


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(buzz(1.6).tobytes())
    return path


def pictures(film: Path) -> NDArray[np.uint8]:
    with av.open(str(film)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def test_a_timeline_with_own_presets_and_a_hold_renders_the_same_with_and_without_stream(
    bundle: Path, mine: Path, speech: Path, tmp_path: Path
) -> None:
    moves = tmp_path / "moves.txt"
    moves.write_text("0, front\n0.2, owl  # look away\n0.7, nod\n1.3, mute\n")
    films = []
    for name, extra in (
        ("still", []),
        ("a", ["--timeline", str(moves)]),
        ("b", ["--timeline", str(moves), "--stream"]),
    ):
        film = tmp_path / f"{name}.mp4"
        common = ["-o", str(film), "--avatar", str(bundle), "--presets", str(mine)]
        assert main(["render", str(speech), *common, "--threads", "1", *extra]) == 0
        films.append(pictures(film))
    still, one, other = films
    assert one.shape[0] == 40
    np.testing.assert_array_equal(one, other)
    assert np.abs(one[14].astype(int) - still[14]).max() > 3, "the timeline moves the head"


def test_a_preset_of_the_users_own_is_found_where_it_lies(
    bundle: Path, mine: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = tmp_path / "out.mp4"
    arguments = ["render", str(speech), "-o", str(film), "--avatar", str(bundle), "--preset", "owl"]
    assert main([*arguments, "--presets", str(mine)]) == 0
    named = pictures(film)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert main(arguments) == 2, "not there yet"
    (tmp_path / "config/daetalker").mkdir(parents=True)
    mine.rename(tmp_path / "config/daetalker/presets.toml")
    assert main(arguments) == 0
    np.testing.assert_array_equal(pictures(film), named)


def test_mistakes_are_one_sentence_and_code_2(
    bundle: Path, mine: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moves, broken = tmp_path / "moves.txt", tmp_path / "broken.toml"
    moves.write_text("0, front\n3, sideways\n")
    broken.write_text("[presets.owl]\nyaw = 'far'\n")
    film = tmp_path / "out.mp4"
    render = ["render", str(speech), "-o", str(film), "--avatar", str(bundle)]
    check = ["presets", "check", "--avatar", str(bundle)]
    mine.write_text(PRESETS + "[presets.wide]\nyaw = 50\n")
    for arguments, word in [
        ([*render, "--timeline", str(moves)], "moves.txt, line 2: unknown preset 'sideways'"),
        ([*render, "--timeline", str(tmp_path / "none.txt")], "none.txt"),
        ([*render, "--preset", "sideways", "--presets", str(mine)], "owl, nod"),
        ([*render, "--preset", "owl", "--presets", str(tmp_path / "none.toml")], "none.toml"),
        ([*render, "--preset", "owl", "--presets", str(broken)], "yaw must be a number"),
        ([*check, "--presets", str(broken)], "broken.toml: preset 'owl': yaw must be a number"),
        ([*check, "--presets", str(mine)], "preset 'wide': yaw 50 is outside the -30 to 30"),
    ]:
        assert main(arguments) == 2, arguments
        said = capsys.readouterr().err.strip()
        assert word in said and said.startswith("daetalker: ") and "\n" not in said
        assert not film.exists()
    with pytest.raises(SystemExit) as ended:
        main([*render, "--preset", "front", "--timeline", str(moves)])
    assert ended.value.code == 2


def test_presets_are_listed_and_checked(
    bundle: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--avatar", str(bundle), "--presets", str(mine)]
    assert main(["presets", "list", *common]) == 0
    shown = capsys.readouterr().out
    assert "owl" in shown and "yours" in shown and "hold 0.1 s" in shown and str(mine) in shown
    assert main(["presets", "list", *common, "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["owl"]["yaw"] == -28 and rows["owl"]["own"] and not rows["front"]["own"]
    assert main(["presets", "check", *common]) == 0
    assert "all right; 'tiny' has 7 presets, 2 of them" in capsys.readouterr().out
    assert main(["presets", "check", "--avatar", str(bundle)]) == 0
    assert "not there yet" in capsys.readouterr().out
