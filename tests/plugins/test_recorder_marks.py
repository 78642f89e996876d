"""A recording says that it is synthetic: tags from its first second on, signed at its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from daetalker.plugins.recorder import Limits, record
from daetalker.plugins.recorder.mp4 import FragmentedMp4
from daetalker.plugins.recorder.plugin import RecorderPlugin, RecorderSettings
from daetalker.streamer.credentials import Credentials, CredentialsError, find_credentials
from daetalker.streamer.live import open_avatar
from daetalker.streamer.provenance import SOURCE_TYPE, Provenance
from tests.plugins.movies import noise, read_movie, shift

SIZE = 32
FRAMES = 60
VOICE = noise(FRAMES / 25)
ABOUT = Provenance("Tiny")


@pytest.fixture(autouse=True)
def own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def said_in(path: Path) -> dict[str, str]:
    with av.open(str(path), options={"export_xmp": "1"}) as movie:
        return dict(movie.metadata)


def write(path: Path) -> list[int]:
    """The file's size after each frame."""
    sizes = []
    with FragmentedMp4(path, SIZE, crf=18, about=ABOUT) as movie:
        for index in range(FRAMES):
            rgb = np.full((SIZE, SIZE, 3), 20 + index, np.uint8)
            movie.add(rgb, VOICE[1920 * index : 1920 * (index + 1)])
            sizes.append(path.stat().st_size)
    return sizes


def test_what_a_crash_leaves_says_it_too(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sizes = write(path)
    assert SOURCE_TYPE in said_in(path)["xmp"]
    path.write_bytes(path.read_bytes()[: sizes[30]])
    assert said_in(path)["comment"] == ABOUT.text


def test_the_table_of_fragments_stays_last_and_right(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(path)
    data = path.read_bytes()
    table = data[-int.from_bytes(data[-4:], "big") :]
    assert table[4:8] == b"mfra"
    moofs = [at for at in range(len(data)) if data.startswith(b"moof", at)]
    assert all((at - 4).to_bytes(8, "big") in table for at in moofs)
    assert data.index(b"moof") < data.index(bytes.fromhex("be7acfcb97a942e89c71999491e3afac"))


def signed_manifest(path: Path) -> tuple[str, dict[str, Any]]:
    c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    with path.open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
        document = json.loads(reader.json())
        return reader.get_validation_state(), document["manifests"][document["active_manifest"]]


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "fragmented"])
async def test_a_finished_recording_is_signed(bundle: Path, tmp_path: Path, plain: bool) -> None:
    pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    path = tmp_path / "out.mp4"
    async with (
        open_avatar(str(bundle), threads=1) as avatar,
        avatar.session() as session,
        record(session, path, Limits(plain=plain), find_credentials()) as recording,
    ):
        await session.speak(VOICE[:48_000], 48_000)
        spoken = await session.end_utterance()
        assert spoken is not None
        await asyncio.wait_for(spoken.done(), 60)
        summary = await recording.stop()
    assert summary.signed and not summary.failed and summary.bytes == path.stat().st_size
    state, manifest = signed_manifest(path)
    assert state == "Valid"
    (actions,) = (a for a in manifest["assertions"] if a["label"].startswith("c2pa.actions"))
    assert actions["data"]["actions"][0]["digitalSourceType"] == SOURCE_TYPE
    assert "avatar " + session.avatar.label in said_in(path)["comment"]
    movie = read_movie(path)
    assert len(movie.times_s) == summary.frames and movie.times_s[0] == 0.0
    start = shift(movie.sound, np.concatenate([np.zeros(0, np.int16), VOICE[:48_000]]), 9_000)
    assert start % 1920 == 0, "the voice begins exactly with a picture"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


async def test_a_recording_that_cannot_be_signed_is_kept(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = find_credentials()
    if credentials is None:
        pytest.skip("the extra c2pa is not installed")

    def fail(*_: object) -> None:
        raise CredentialsError("the certificate has expired")

    monkeypatch.setattr(Credentials, "sign", fail)
    async with open_avatar(str(bundle), threads=1) as avatar, avatar.session() as session:
        async with record(session, tmp_path / "out.mp4", credentials=credentials) as recording:
            await asyncio.sleep(1.0)
        assert not recording.summary().failed and not recording.signed
        assert recording.unsigned_because == "the certificate has expired"
    assert len(read_movie(tmp_path / "out.mp4").times_s) >= 5


def test_a_certificate_that_does_not_work_is_known_before_anybody_records(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("hm")
    settings = RecorderSettings(
        folder=tmp_path, c2pa_cert=tmp_path / "c.pem", c2pa_key=tmp_path / "c.pem"
    )
    (finding,) = (f for f in RecorderPlugin.examine(settings) if "credentials" in f.name)
    assert finding.status == "error" and "DAETALKER_RECORDER_C2PA" in finding.fix
    off = RecorderSettings(folder=tmp_path, c2pa="off")
    (finding,) = (f for f in RecorderPlugin.examine(off) if "credentials" in f.name)
    assert (finding.status, finding.message) == ("ok", "off")
