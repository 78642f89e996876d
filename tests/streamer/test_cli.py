"""The command, in this process where that is enough and in a real one where it is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from daetalker.models.bundle import rewrite_manifest
from daetalker.streamer.cli import main
from tests.streamer.serving import PATIENCE_S, buzz
from tests.tiny import make_tiny_bundle

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("avatar") / "tiny", size=32)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(buzz(1.0).tobytes())
    return path


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err.strip()
    assert text.startswith("daetalker: ")
    assert "\n" not in text and "Traceback" not in text
    return text


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT / ".dev"), *sys.path])
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "daetalker.streamer.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )


@pytest.mark.parametrize(
    "command",
    [
        "",
        "serve",
        "render",
        "train",
        "evaluate",
        "avatars",
        "avatars import",
        "presets check",
        "bench live",
        "doctor",
    ],
)
def test_help_is_there_for_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    if command == "train":
        pytest.importorskip("torch")
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert "usage: daetalker" in capsys.readouterr().out


def test_help_of_serve_explains_every_setting_with_its_unit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    from daetalker.streamer.settings import Settings

    for name in Settings.model_fields:
        assert "--" + name.replace("_", "-") in text
    for words in ("kbit/s", "milliseconds", "(8080)", "in s"):
        assert words in text


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom daetalker.streamer.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([n for n in ('onnxruntime', 'aiortc', 'av', 'pydantic', 'torch') "
        "if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=_environment(),
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("extra", [[], ["--pose=5,0,-2"], ["--stream"], ["--steps", "2"]])
def test_render_makes_a_film(
    avatar: Path,
    speech: Path,
    tmp_path: Path,
    extra: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    film = tmp_path / "out.mp4"
    arguments = ["render", str(speech), "-o", str(film), "--avatar", str(avatar), "--threads", "1"]
    assert main([*arguments, *extra]) == 0
    assert "25 frames" in capsys.readouterr().out
    with av.open(str(film)) as file:
        assert {stream.type for stream in file.streams} == {"video", "audio"}
        assert sum(1 for _ in file.decode(video=0)) == 25


def test_stream_and_render_make_the_same_pictures(
    avatar: Path, speech: Path, tmp_path: Path
) -> None:
    films = []
    for name, extra in (("a", []), ("b", ["--stream"])):
        film = tmp_path / f"{name}.mp4"
        assert main(["render", str(speech), "-o", str(film), "--avatar", str(avatar), *extra]) == 0
        with av.open(str(film)) as file:
            films.append([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    assert np.array_equal(np.stack(films[0]), np.stack(films[1]))


def test_mistakes_in_render_are_one_sentence_and_code_2(
    avatar: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, text, film = tmp_path / "empty.wav", tmp_path / "text.wav", tmp_path / "out.mp4"
    empty.touch()
    text.write_text("this is not sound")
    common = ["-o", str(film), "--avatar", str(avatar)]
    for arguments, word in [
        (["render", str(tmp_path / "none.wav"), *common], "none.wav"),
        (["render", str(empty), *common], "empty"),
        (["render", str(text), *common], "text.wav"),
        (["render", str(speech), *common, "--preset", "sideways"], "sideways"),
        (["render", str(speech), *common, "--pose=90,0,0"], "yaw 90"),
        (["render", str(speech), *common, "--stream", "--steps", "3"], "--steps"),
        (["render", str(speech), *common, "--steps", "100000"], "steps"),
        (["render", str(speech), "-o", str(tmp_path / "no" / "x.mp4"), *common[2:]], "x.mp4"),
        (["render", str(speech), "-o", str(film), "--avatar", "nobody"], "nobody"),
    ]:
        assert main(arguments) == 2, arguments
        assert word in _said(capsys)
        assert not film.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        [],
        ["render"],
        ["render", "a.wav", "--pose", "1,2"],
        ["render", "a.wav", "--steps", "0"],
        ["render", "a.wav", "--preset", "x", "--pose", "1,2,3"],
        ["bench", "live", "--seconds", "0"],
        ["avatars"],
        ["evaluate", "mira"],
        ["evaluate", "mira", "--data"],
        ["evaluate", "mira", "--data", "x", "--table", "5"],
        ["evaluate", "mira", "--data", "x", "--seconds", "1"],
    ],
)
def test_wrong_options_end_with_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_bad_settings_are_one_sentence(capsys: pytest.CaptureFixture[str], avatar: Path) -> None:
    assert main(["serve", "--port", "many"]) == 2
    assert "--port" in _said(capsys)
    assert main(["serve", "--avatar", "nobody", "--port", "0"]) == 2
    assert "nobody" in _said(capsys)
    assert main(["serve", "--config", "missing.toml"]) == 2
    assert "missing.toml" in _said(capsys)


def test_avatars_are_listed_shown_and_verified(
    avatar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["avatars", "list"]) == 0
    assert "mira" in capsys.readouterr().out
    assert main(["avatars", "show", str(avatar)]) == 0
    shown = capsys.readouterr().out
    for word in ("32x32", "licence: Apache-2.0", "preset tilt", "random numbers need none"):
        assert word in shown
    assert main(["avatars", "verify", str(avatar)]) == 0
    assert "all checksums right; 6 networks" in capsys.readouterr().out
    broken = make_tiny_bundle(tmp_path / "broken", size=32)
    (broken / "latent.onnx").write_bytes(b"junk")
    assert main(["avatars", "verify", str(broken)]) == 2
    assert "latent.onnx" in _said(capsys)


def test_what_an_avatar_says_of_itself_cannot_steer_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_tiny_bundle(tmp_path / "loud", size=32)
    nested: dict[str, object] = {}
    for _ in range(500):
        nested = {"deeper": nested}
    rewrite_manifest(folder, label="\x1b[31mred\nfigure psnr_db: 99", figures=nested)
    assert main(["avatars", "show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\nfigure psnr_db: 99" not in shown


def test_an_avatar_goes_from_one_machine_to_another(
    avatar: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DAETALKER_AVATARS", str(tmp_path / "avatars"))
    assert main(["avatars", "export", str(avatar), "-o", str(tmp_path)]) == 0
    assert main(["avatars", "export", str(avatar), "-o", str(tmp_path / "tiny.zip")]) == 2
    assert "--replace" in _said(capsys)
    assert main(["avatars", "import", str(tmp_path / "tiny.zip")]) == 0
    said = capsys.readouterr().out
    assert "random numbers need none" in said and "serve --avatar tiny" in said
    assert main(["avatars", "list", "--json"]) == 0
    mira, tiny = json.loads(capsys.readouterr().out)
    assert (mira["name"], mira["where"], mira["synthetic"]) == ("mira", "embedded", True)
    assert (tiny["name"], tiny["where"], tiny["size"], tiny["fps"]) == ("tiny", "imported", 32, 25)
    assert tiny["consent"]["statement"] == "random numbers need none" and tiny["mb"] > 0
    assert main(["avatars", "show", "tiny", "--json"]) == 0
    assert "left" in json.loads(capsys.readouterr().out)["presets"]
    assert main(["avatars", "import", str(tmp_path / "tiny.zip")]) == 2
    assert "--replace" in _said(capsys)
    assert main(["avatars", "import", str(tmp_path / "tiny.zip"), "--replace"]) == 0
    (tmp_path / "avatars/tiny/latent.onnx").write_bytes(b"junk")
    assert main(["avatars", "list"]) == 1
    assert "tiny         damaged: " in capsys.readouterr().out


def test_doctor_prints_json(avatar: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "--avatar", str(avatar), "--port", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    assert main(["doctor", "--avatar", "nobody", "--port", "0"]) == 1
    assert "-> " in capsys.readouterr().out


def test_evaluate_names_what_is_missing(
    avatar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(avatar), "--data", str(tmp_path), "--weights", str(tmp_path)]
    assert main(arguments) == 2
    text = _said(capsys)
    assert "holds no test set" in text or "daetalker[train]" in text


def test_training_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("daetalker.models.training")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["train", "--help"]) == 2
    assert 'pip install "daetalker[train]"' in _said(capsys)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_where_and_stops_cleanly(avatar: Path, number: signal.Signals) -> None:
    with _start("serve", "--avatar", str(avatar), "--port", "0", "--threads", "1") as process:
        assert process.stdout is not None
        try:
            lines: list[str] = []
            while not lines or not lines[-1].startswith("Ready: "):
                line = process.stdout.readline()
                assert line, process.communicate()[1]
                lines.append(line)
            url = lines[-1].removeprefix("Ready: ").strip()
            with urllib.request.urlopen(url + "/healthz", timeout=PATIENCE_S) as answer:
                assert json.load(answer)["status"] == "ok"
            process.send_signal(number)
            _, errors = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
