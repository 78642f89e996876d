"""Nobody's voice is kept: not in a log at any level, not in a file, unless a recording is on.

A real server process gets folders of its own for everything it may write to.  It is talked to by
a real WebRTC client and by an agent, whose packets and samples are known to the byte; then all
that it said and left behind is searched for them, in the spellings that logs and dumps have.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import opus
from aiortc.jitterbuffer import JitterFrame
from numpy.typing import NDArray

from daetalker.plugins.agent.client import AgentClient
from tests.plugins.movies import find, read_movie
from tests.streamer.serving import PATIENCE_S, talker
from tests.tiny import tiny_speech, to_pcm

ROOT = Path(__file__).resolve().parents[2]
RATE = 48_000
TALK_S = 2.0
VOICE = to_pcm(tiny_speech(TALK_S + 1.0, seed=5, rate=RATE))
AGENT_VOICE = to_pcm(tiny_speech(1.0, seed=9, rate=RATE))
PIECE = 16
"""Bytes that count as found: no sixteen bytes of speech occur by chance."""

if not Path("/proc/self/fdinfo").is_dir():
    pytest.skip("open files are looked up in /proc", allow_module_level=True)


def spellings(piece: bytes) -> Iterator[bytes]:
    """The same bytes as logs, dumps and documents would spell them."""
    yield piece
    yield piece.hex().encode()
    yield piece.hex(" ").encode()
    yield repr(piece)[2:-1].encode()
    for shift in range(3):  # where base64's groups of three begin is not known
        inner = piece[shift:]
        yield base64.b64encode(inner[: len(inner) // 3 * 3])
    yield ", ".join(str(value) for value in np.frombuffer(piece, np.int16)).encode()
    yield " ".join(str(value) for value in np.frombuffer(piece, np.int16)).encode()


def pieces_of(sounds: list[bytes]) -> list[bytes]:
    """A piece of the middle of each, if it is more than silence."""
    middles = [sound[len(sound) // 4 * 2 :][:PIECE] for sound in sounds]
    return [piece for piece in middles if len(piece) == PIECE and len(set(piece)) > PIECE // 2]


def found_in(hay: bytes, pieces: list[bytes]) -> int:
    return sum(any(needle in hay for needle in spellings(piece)) for piece in pieces)


class Microphone(MediaStreamTrack):
    """Speaks the voice in real time, then goes on with silence."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0
        self._start_s = time.monotonic()

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(max(0.0, self._start_s + self._sent / RATE - time.monotonic()))
        pcm = np.zeros((1, 960), np.int16)
        said = VOICE[self._sent : self._sent + 960]
        pcm[0, : said.size] = said
        sound = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = RATE, self._sent, Fraction(1, RATE)
        self._sent += 960
        return sound


@pytest.fixture
def packets(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The Opus packets of the clients in this process, as they are encrypted and sent."""
    kept: list[bytes] = []
    encode = opus.OpusEncoder.encode

    def keep(self: Any, *given: Any, **named: Any) -> tuple[list[bytes], int]:
        payloads, timestamp = encode(self, *given, **named)
        kept.extend(payloads)
        return payloads, timestamp

    monkeypatch.setattr(opus.OpusEncoder, "encode", keep)
    return kept


def decoded(packets: list[bytes]) -> list[bytes]:
    """What a server hears in them: 48 kHz, one channel."""
    decoder, heard = opus.OpusDecoder(), []
    for number, packet in enumerate(packets):
        for sound in decoder.decode(JitterFrame(data=packet, timestamp=960 * number)):
            assert isinstance(sound, av.AudioFrame)
            stereo = sound.to_ndarray().reshape(-1, 2).astype(np.int64)
            heard.append((stereo.sum(axis=1) // 2).astype(np.int16).tobytes())
    return heard


class Place:
    """A server's own world: every folder that a well-behaved program writes to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root.with_name(root.name + ".log")
        for name in ("home", "tmp", "work", "config", "state", "cache", "data", "runtime"):
            (root / name).mkdir(parents=True)
        self.environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / '.dev'}:{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(root / "home"),
            "TMPDIR": str(root / "tmp"),
            "XDG_CONFIG_HOME": str(root / "config"),
            "XDG_STATE_HOME": str(root / "state"),
            "XDG_CACHE_HOME": str(root / "cache"),
            "XDG_DATA_HOME": str(root / "data"),
            "XDG_RUNTIME_DIR": str(root / "runtime"),
        }

    def files(self) -> list[Path]:
        return [path for path in sorted(self.root.rglob("*")) if path.is_file()]

    def written(self) -> bytes:
        """Everything: the log and every file."""
        return b"\n".join(path.read_bytes() for path in [self.log, *self.files()])


class Watched:
    """A running server, and the files that it was seen to have open for writing."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid
        self.open_for_writing: set[str] = set()

    def look(self) -> None:
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(entry)
                info = Path(f"/proc/{self.pid}/fdinfo/{entry.name}").read_text()
                flags = int(info.split("flags:")[1].split()[0], 8)
                # Sockets and pipes have names such as socket:[1]; memory files begin /memfd:.
                if target.startswith("/") and not target.startswith("/dev/"):
                    self.open_for_writing |= {target} if flags & os.O_ACCMODE else set()
        for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines():
            fields = line.split(maxsplit=5)
            if fields[1] == "rw-s" and len(fields) == 6 and not fields[5].startswith("/dev/"):
                self.open_for_writing.add(fields[5])

    def bytes_written(self) -> int:
        """By ``write`` and its like to anything; what goes to the network does not count."""
        return int(Path(f"/proc/{self.pid}/io").read_text().split("wchar:")[1].split()[0])


@contextlib.asynccontextmanager
async def server(
    place: Place, bundle: Path, *more: str, **environment: str
) -> AsyncIterator[Watched]:
    """`daetalker serve` at the most talkative log level."""
    with place.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "daetalker.streamer.cli", "serve", "--port", "0"),
            *("--avatar", str(bundle), "--threads", "1", "--log-level", "debug", *more),
            env=place.environment | environment,
            cwd=place.root / "work",
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while line := (await process.stdout.readline()).decode():
                    if line.startswith("Ready: "):
                        break
            assert line, place.log.read_text()
            yield Watched(line.removeprefix("Ready: ").strip(), process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), PATIENCE_S)


@contextlib.asynccontextmanager
async def talking(watched: Watched) -> AsyncIterator[str]:
    """A client whose microphone is on; yields its session's id once pictures come back."""
    async with talker(watched.url) as client:
        welcome = await client.hello()
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            connection.addTrack(Microphone())
            connection.addTransceiver("video", direction="recvonly")
            await connection.setLocalDescription()
            await client.say({"type": "offer", "sdp": connection.localDescription.sdp})
            answer = (await client.hear("answer"))["sdp"]
            await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            (video,) = (t.receiver.track for t in connection.getTransceivers() if t.kind == "video")
            await asyncio.wait_for(video.recv(), PATIENCE_S)
            yield welcome["session"]
            await client.say({"type": "bye"})
        finally:
            await connection.close()


async def talk(watched: Watched, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        watched.look()
        await asyncio.sleep(0.1)


async def test_voice_is_nowhere_but_in_memory(
    bundle: Path, tmp_path: Path, packets: list[bytes]
) -> None:
    place = Place(tmp_path / "server")
    async with server(place, bundle, "--plugins", "agent") as watched:
        limits = Path(f"/proc/{watched.pid}/limits").read_text()
        assert limits.split("Max core file size")[1].split()[0] == "0", "a crash leaves no dump"
        before = place.files()
        async with talking(watched):
            wrote, logged = watched.bytes_written(), place.log.stat().st_size
            await talk(watched, TALK_S)
            wrote = watched.bytes_written() - wrote
            logged = place.log.stat().st_size - logged
        async with AgentClient(watched.url, rate=RATE) as agent:
            await agent.say(AGENT_VOICE)
            number = await agent.end()
            assert number is not None
            await asyncio.wait_for(agent.finished(number), PATIENCE_S)
            watched.look()
    spoken = pieces_of(packets)
    heard = pieces_of(decoded(packets))
    said = pieces_of([AGENT_VOICE[at : at + 960].tobytes() for at in range(0, RATE, 960)])
    assert min(len(spoken), len(heard)) > 50 and len(said) > 30, "there is something to look for"
    everything = place.written()
    assert b" DEBUG " in everything, "the log is as talkative as it can be"
    for pieces in (spoken, heard, said):
        assert found_in(everything, pieces) == 0
    assert place.files() == before and all(path.stat().st_size < 4096 for path in before)
    assert watched.open_for_writing <= {str(place.log)}
    # Opus takes 4 kB a second and more, samples 96 kB.
    assert wrote - logged < 1000 * TALK_S, "nor was it written where we do not look"


async def test_the_search_finds_a_voice_that_is_kept(
    bundle: Path, tmp_path: Path, packets: list[bytes]
) -> None:
    """The bench's log holds the voice, which is what the setting is for: it must be found."""
    place = Place(tmp_path / "server")
    folder = place.root / "bench"
    async with server(place, bundle, "--bench-log", str(folder)) as watched, talking(watched):
        wrote = watched.bytes_written()
        await talk(watched, 1.5)
        wrote = watched.bytes_written() - wrote
    heard = pieces_of(decoded(packets))
    assert found_in(place.written(), heard) > len(heard) // 3
    assert any(path.startswith(str(folder)) for path in watched.open_for_writing)
    assert wrote > 40_000
    packed = b"".join(heard)
    for form in (f"{packed!r}", packed.hex(), packed.hex(" "), base64.b64encode(packed).decode()):
        assert found_in(form.encode(), heard) > 0.9 * len(heard), "quotes are escaped by some"


async def test_a_recording_is_the_one_place(
    bundle: Path, tmp_path: Path, packets: list[bytes]
) -> None:
    place = Place(tmp_path / "server")
    folder = place.root / "recordings"
    setting = {"DAETALKER_RECORDER_FOLDER": str(folder)}
    async with (
        server(place, bundle, "--plugins", "recorder", **setting) as watched,
        httpx.AsyncClient(base_url=f"{watched.url}/plugins/recorder/", timeout=PATIENCE_S) as http,
    ):
        before = place.files()
        async with talking(watched) as session:
            await talk(watched, 0.5)
            assert watched.open_for_writing <= {str(place.log)}, "loaded is not yet recording"
            begun = (await http.post("recordings", json={"session": session})).json()
            await talk(watched, 1.5)
            path = folder / begun["file"]
            assert watched.open_for_writing - {str(place.log)} == {str(path)}
            stop = f"recordings/{begun['id']}/stop?session={session}"
            assert (await http.post(stop)).json()["state"] == "done"
            watched.open_for_writing.clear()
            await talk(watched, 0.5)
            assert watched.open_for_writing <= {str(place.log)}, "stopped is stopped"
    assert [kept for kept in place.files() if kept not in before] == [path]
    sound: NDArray[Any] = read_movie(path).sound
    best = max(find(VOICE[at : at + RATE // 2], sound)[1] for at in range(0, 2 * RATE, RATE // 4))
    assert best > 0.5, "it is the voice that is in the file"
    rest = place.log.read_bytes() + b"".join(file.read_bytes() for file in before)
    assert found_in(rest, pieces_of(packets) + pieces_of(decoded(packets))) == 0
