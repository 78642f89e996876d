"""The agents' examples run as they are."""

from __future__ import annotations

import asyncio
import os
import sys
import wave
from pathlib import Path

import pytest

from daetalker.plugins.agent import AgentPlugin
from tests.plugins.serving import PATIENCE_S, served
from tests.tiny import tiny_speech, to_pcm

pytestmark = pytest.mark.asyncio

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(to_pcm(tiny_speech(2.0)).tobytes())
    return path


async def _run(example: str, *arguments: str, enter_after: str = "") -> tuple[int, str]:
    """Run it; once ``enter_after`` is printed, press Enter."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-u",
        str(EXAMPLES / example),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin is not None and process.stdout is not None
    said = ""
    async with asyncio.timeout(2 * PATIENCE_S):
        while line := (await process.stdout.readline()).decode():
            said += line
            if enter_after and enter_after in line:
                process.stdin.write(b"\n")
        return await process.wait(), said


async def test_a_file_speaks_through_the_socket(bundle: Path, speech: Path) -> None:
    async with served(bundle, [AgentPlugin]) as server:
        code, said = await _run("agent_socket.py", str(speech), "--url", server.url)
        assert code == 0, said
        assert f"watch {server.url}/stage?session=" in said
        assert "type started, utterance 1" in said
        assert "type finished, utterance 1, position_s 2.0, interrupted False" in said

        code, said = await _run(
            "agent_socket.py", str(speech), "--url", server.url, enter_after="started"
        )
        assert code == 0, said
        assert "interrupting" in said and "interrupted True" in said


async def test_mistakes_are_one_sentence(speech: Path, tmp_path: Path) -> None:
    code, said = await _run("agent_socket.py", str(speech), "--url", "http://127.0.0.1:9")
    assert code == 1 and "is the plugin 'agent' on" in said and "Traceback" not in said
    (tmp_path / "empty.wav").touch()
    code, said = await _run("agent_socket.py", str(tmp_path / "empty.wav"))
    assert code == 1 and said == "the file is no WAV file\n"


async def test_the_livekit_agent_runs_dry(bundle: Path, speech: Path, tmp_path: Path) -> None:
    pytest.importorskip("livekit.agents", reason="needs the extra livekit")
    film = tmp_path / "film.mp4"
    code, said = await _run(
        "livekit_agent.py",
        "--dry-run",
        str(speech),
        "--film",
        str(film),
        "--avatar",
        str(bundle),
    )
    assert code == 0, said
    assert "no voice: idle" in said
    assert "AudioSegmentEnd: playback_finished after 2.0" in said
    assert "interrupted" in said and film.stat().st_size > 10_000
