"""Agents with a face, through the real LiveKit packages and a tiny LiveKit server.

Everything is real but the server: `AgentSession` and its speech path, data streams, RPC,
`AvatarRunner`, WebRTC, OpenH264.  What arrives there is what people in the room would get.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("livekit.agents", reason="needs the extra livekit")

import httpx
from livekit import rtc
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, Agent, AgentSession, APIConnectOptions, tts
from livekit.agents.testing import fake_job_context
from livekit.agents.voice.avatar import DataStreamAudioReceiver
from livekit.agents.voice.io import PlaybackFinishedEvent
from livekit.protocol import models

from daetalker.plugins.livekit import AvatarSession, LiveKitPlugin
from daetalker.plugins.livekit.errors import LiveKitError
from daetalker.streamer.feed import VoiceConverter
from daetalker.streamer.protocol import ProtocolError
from tests.plugins.serving import PATIENCE_S, Running, served
from tests.plugins.tiny_livekit import (
    KEY,
    SECRET,
    Participant,
    Published,
    TinyLiveKit,
    tiny_livekit,
    token_of,
)
from tests.tiny import tiny_speech, to_pcm

pytestmark = pytest.mark.asyncio

RATE = 16_000
FACE = "daetalker-avatar"
LOUD = 300


class Voice(tts.TTS[str]):
    """A speech synthesis that says everything with the same buzz."""

    def __init__(self, pcm: NDArray[np.int16]) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1
        )
        self.pcm = pcm

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _Speech(tts=self, input_text=text, conn_options=conn_options)


class _Speech(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        assert isinstance(self._tts, Voice)
        output_emitter.initialize(
            request_id="1", sample_rate=RATE, num_channels=1, mime_type="audio/pcm"
        )
        output_emitter.push(self._tts.pcm.tobytes())
        output_emitter.flush()


class Conversation:
    """An agent in a room, with a face."""

    def __init__(
        self,
        livekit: TinyLiveKit,
        room: rtc.Room,
        session: AgentSession[None],
        avatar: Any,
        synthesis: Voice,
    ) -> None:
        self.livekit, self.room, self.session, self.avatar = livekit, room, session, avatar
        self.synthesis = synthesis
        self.started_s: list[float] = []
        self.finished: list[PlaybackFinishedEvent] = []

    async def begin(self) -> None:
        await self.avatar.start(self.session, self.room)
        await self.session.start(Agent(instructions="talk"), room=self.room, record=False)
        await self.avatar.wait_for_join(timeout=PATIENCE_S)
        voice = self.session.output.audio
        assert voice is not None
        voice.on("playback_started", lambda event: self.started_s.append(event.created_at))
        voice.on("playback_finished", self.finished.append)

    @property
    def face(self) -> Participant:
        return self.livekit.seen[self.avatar.avatar_identity]

    @property
    def published(self) -> Published:
        return self.face.published

    async def pictures(self, more: int) -> None:
        """Wait for so many further pictures."""
        target = len(self.published.pictures) + more
        while len(self.published.pictures) < target:
            await asyncio.sleep(0.02)

    async def loud(self) -> None:
        """Wait until the voice is heard in the room."""
        seen = len(self.published.voice)
        while not any(np.abs(pcm).max() > LOUD for _, pcm in self.published.voice[seen:]):
            await asyncio.sleep(0.01)

    def voice(self, since: int = 0) -> NDArray[np.int16]:
        return np.concatenate([pcm for _, pcm in self.published.voice[since:]])


@contextlib.asynccontextmanager
async def _in_room(
    livekit: TinyLiveKit, avatar: AvatarSession, seconds: float = 1.0, name: str = "lobby"
) -> AsyncIterator[Conversation]:
    room = rtc.Room()
    await room.connect(livekit.url, token_of(name, f"agent of {name}"))
    voice = Voice(to_pcm(tiny_speech(seconds, rate=RATE)))
    session: AgentSession[None] = AgentSession(tts=voice)
    talk = Conversation(livekit, room, session, avatar, voice)
    try:
        with fake_job_context(room=room) as job:
            job._tempdir.cleanup()  # a real job does so when it ends
            await talk.begin()
            yield talk
            await session.aclose()
    finally:
        await avatar.aclose()
        await room.disconnect()


def _remote(server: Running, livekit: TinyLiveKit, **more: Any) -> AvatarSession:
    return AvatarSession(
        url=server.url,
        livekit_url=livekit.url,
        livekit_api_key=KEY,
        livekit_api_secret=SECRET,
        **more,
    )


@contextlib.asynccontextmanager
async def _talking(
    bundle: Path, mode: str, seconds: float = 1.0
) -> AsyncIterator[tuple[Conversation, Running | None]]:
    async with asyncio.timeout(3 * PATIENCE_S), tiny_livekit() as livekit:
        if mode == "in process":
            local = AvatarSession(str(bundle), threads=1)
            async with _in_room(livekit, local, seconds) as talk:
                yield talk, None
        else:
            async with served(bundle, [LiveKitPlugin]) as server:
                async with _in_room(livekit, _remote(server, livekit), seconds) as talk:
                    yield talk, server
                await server.empty()


def _likeness(heard: NDArray[np.float64], pcm: NDArray[np.int16]) -> float:
    """How well 60 ms pieces of what was said are found in what was heard: median correlation.

    Pieces, because a busy machine may stutter between them.
    """
    converter = VoiceConverter(RATE, 1)
    said = np.concatenate([converter.push(pcm), converter.flush()]).astype(float)
    size = 2880
    energy = np.sqrt(np.convolve(heard**2, np.ones(size), "valid")) + 1.0
    found = []
    for start in range(0, said.size - size, size):
        piece = said[start : start + size]
        spectrum = np.fft.rfft(heard, heard.size + size) * np.conj(
            np.fft.rfft(piece, heard.size + size)
        )
        line = np.fft.irfft(spectrum, heard.size + size)[: energy.size]
        found.append(float((line / energy).max() / np.linalg.norm(piece)))
    return float(np.median(found))


both = pytest.mark.parametrize("mode", ["in process", "from a server"])


@both
async def test_the_face_is_there_at_once_and_published_well(bundle: Path, mode: str) -> None:
    async with _talking(bundle, mode) as (talk, _):
        await talk.pictures(20)
        assert talk.started_s == [] and talk.finished == [], "nobody has spoken"
        assert np.abs(talk.voice()).max() < 5, "no voice in idle"
        voice, face = talk.published.requests
        assert voice.source == models.TrackSource.MICROPHONE
        assert face.source == models.TrackSource.CAMERA
        (layer,) = face.layers
        assert (layer.width, layer.height, layer.bitrate) == (32, 32, 2_000_000)
        codecs = [t._codecs[0].mimeType for t in talk.face.connection.getTransceivers()]
        assert "video/H264" in codecs and codecs[-1] != "video/VP8"
        times_s = [when_s for when_s, _ in talk.published.pictures]
        assert len(times_s) / (times_s[-1] - times_s[0]) == pytest.approx(25, rel=0.5)
        assert talk.published.pictures[-1][1].shape == (32, 32, 3)


@both
async def test_what_the_agent_says_is_heard_and_reported_exactly(bundle: Path, mode: str) -> None:
    async with _talking(bundle, mode, seconds=1.0) as (talk, _):
        await talk.pictures(3)
        for count in (1, 2):
            before = len(talk.published.voice)
            await talk.session.say("This is a sentence.").wait_for_playout()
            assert len(talk.started_s) == len(talk.finished) == count
            finished = talk.finished[-1]
            assert not finished.interrupted
            assert finished.playback_position == pytest.approx(1.0, abs=0.041)
            await talk.pictures(10)
            heard = talk.voice(before).astype(float)
            loud = np.flatnonzero(np.abs(heard) > LOUD)
            assert 0.9 < (loud[-1] - loud[0]) / 48_000 < 2.0, "a busy machine may stutter"
            likeness = _likeness(heard, to_pcm(tiny_speech(1.0, rate=RATE)))
            assert likeness > 0.9, f"correlation {likeness:.2f} through Opus"


@both
async def test_an_interruption_is_reported_at_once_and_heard_at_once(
    bundle: Path, mode: str
) -> None:
    async with _talking(bundle, mode, seconds=8.0) as (talk, _):
        await talk.pictures(3)
        speech = talk.session.say("This is a long sentence.")
        await talk.loud()
        await asyncio.sleep(0.3)
        began_s = time.monotonic()
        speech.interrupt()
        await speech.wait_for_playout()
        (finished,) = talk.finished
        # Had our report not come within two seconds, LiveKit would have made up one of its own,
        # in which everything that was sent had been heard.
        assert finished.interrupted and 0.1 < finished.playback_position < 4.0
        await talk.pictures(20)
        loud_s = [when_s for when_s, pcm in talk.published.voice if np.abs(pcm).max() > LOUD]
        assert loud_s[-1] - began_s < 5.0, "eight seconds were said; this machine may be busy"

        talk.synthesis.pcm = talk.synthesis.pcm[:RATE]
        await talk.session.say("And on.").wait_for_playout()
        assert len(talk.started_s) == len(talk.finished) == 2, "one of each for each speech"
        assert not talk.finished[-1].interrupted
        assert talk.finished[-1].playback_position == pytest.approx(1.0, abs=0.041)


async def test_an_interruption_before_anything_was_heard(bundle: Path) -> None:
    async with _talking(bundle, "from a server", seconds=1.0) as (talk, _):
        await talk.pictures(3)
        speech = talk.session.say("Never heard.")
        await asyncio.sleep(0.1)
        speech.interrupt()
        await speech.wait_for_playout()
        await talk.session.say("Heard.").wait_for_playout()
        assert [event.interrupted for event in talk.finished][-1] is False
        assert talk.finished[-1].playback_position == pytest.approx(1.0, abs=0.041)


async def test_a_greeting_waits_for_somebody_to_hear_it(bundle: Path) -> None:
    async with asyncio.timeout(3 * PATIENCE_S), tiny_livekit() as livekit:
        livekit.nobody_listens = True
        async with _in_room(livekit, AvatarSession(str(bundle), threads=1)) as talk:
            greeting = talk.session.say("Hello.")
            await talk.pictures(30)
            assert talk.started_s == [], "there is a picture, and patience"
            await talk.face.listen("audio")
            await greeting.wait_for_playout()
            assert talk.finished[-1].playback_position == pytest.approx(1.0, abs=0.041)


@both
async def test_the_head_is_steered_from_the_agent(bundle: Path, mode: str) -> None:
    async with _talking(bundle, mode) as (talk, server):
        await talk.avatar.command({"type": "preset", "name": "left"})
        while True:
            if server is not None:
                (live,) = server.hub.live_sessions()
            else:
                live = talk.avatar.live
            if live.state().preset == "left" and live.state().pose.yaw > 15.0:
                break
            await asyncio.sleep(0.05)
        with pytest.raises((ProtocolError, LiveKitError), match="nowhere"):
            await talk.avatar.command({"type": "preset", "name": "nowhere"})


async def test_two_rooms_at_once_and_leaving_them(bundle: Path) -> None:
    async with (
        asyncio.timeout(3 * PATIENCE_S),
        tiny_livekit() as livekit,
        served(bundle, [LiveKitPlugin], max_clients=4) as server,
        httpx.AsyncClient(base_url=server.url + "/plugins/livekit/") as http,
    ):
        async with (
            _in_room(livekit, _remote(server, livekit, identity="one"), name="first") as one,
            _in_room(livekit, _remote(server, livekit, identity="two"), name="second") as two,
        ):
            rooms = (await http.get("rooms")).json()
            assert {room["room"] for room in rooms} == {"first", "second"}
            await asyncio.gather(
                one.session.say("One.").wait_for_playout(),
                two.session.say("Two.").wait_for_playout(),
            )
            assert len(one.finished) == len(two.finished) == 1
            assert (await http.delete("rooms/first")).status_code == 204
            while any(person.info.identity == "one" for person in livekit.here):
                await asyncio.sleep(0.02)
            assert (await http.delete("rooms/third")).json()["code"] == "unknown_room"
        await server.empty()
        assert (await http.get("rooms")).json() == []
        handlers = DataStreamAudioReceiver._clear_buffer_handlers
        assert not {name for name in handlers if name.startswith("agent of")}, "no leftovers"


async def test_joins_that_cannot_be(bundle: Path) -> None:
    async with (
        asyncio.timeout(2 * PATIENCE_S),
        tiny_livekit() as livekit,
        served(bundle, [LiveKitPlugin], {"livekit": {"rooms": 1}}) as server,
        httpx.AsyncClient(base_url=server.url + "/plugins/livekit/", timeout=PATIENCE_S) as http,
    ):
        good = {"livekit_url": livekit.url, "livekit_token": token_of("lobby", "face")}
        cases: list[tuple[dict[str, Any], int, str]] = [
            ({"livekit_url": livekit.url}, 400, "livekit_token: field required."),
            (good | {"livekit_url": "file:///etc"}, 400, "livekit_url: "),
            (good | {"avatar": "nobody"}, 404, "no such avatar"),
            (good | {"preset": "nowhere"}, 404, "Unknown preset 'nowhere'"),
            (good | {"livekit_token": "x.y.z"}, 502, "cannot be joined"),
            (good | {"livekit_url": "ws://127.0.0.1:9"}, 502, "check livekit_url"),
        ]
        for body, status, text in cases:
            answer = await http.post("join", json=body)
            assert (answer.status_code, text in answer.json()["message"]) == (status, True), (
                answer.text
            )
        assert (await http.post("join", content=b"{")).status_code == 400
        await server.empty()

        joined = await http.post("join", json=good)
        assert joined.status_code == 201
        assert joined.json()["room"] == "lobby" and joined.json()["identity"] == "face"
        assert (await http.post("join", json=good)).json()["code"] == "server_full"
        assert (await http.delete("rooms/lobby")).status_code == 204
        await server.empty()


async def test_only_operators_may_send_a_face_somewhere(bundle: Path) -> None:
    async with (
        served(bundle, [LiveKitPlugin], control_token="sesame") as server,
        httpx.AsyncClient(base_url=server.url + "/plugins/livekit/") as http,
    ):
        for method, path in (("POST", "join"), ("GET", "rooms"), ("DELETE", "rooms/x")):
            answer = await http.request(method, path)
            assert answer.status_code == 403 and answer.json()["code"] == "not_allowed"


async def test_an_agents_mistakes_are_sentences(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    async with tiny_livekit() as livekit:
        room = rtc.Room()
        await room.connect(livekit.url, token_of("lobby", "agent"))
        session: AgentSession[None] = AgentSession()
        unset = AvatarSession(url="http://127.0.0.1:9")
        with pytest.raises(LiveKitError, match="set LIVEKIT_URL, LIVEKIT_API_KEY"):
            await unset.start(session, room)
        keys: dict[str, Any] = {
            "livekit_url": livekit.url,
            "livekit_api_key": KEY,
            "livekit_api_secret": SECRET,
        }
        nobody = AvatarSession(url="http://127.0.0.1:9", **keys)
        with pytest.raises(LiveKitError, match="no daetalker server with the plugin 'livekit'"):
            await nobody.start(session, room)
        with pytest.raises(LiveKitError, match=r"call start\(\) first"):
            await nobody.command({"type": "natural"})
        async with served(bundle, [LiveKitPlugin]) as server:
            with pytest.raises(LiveKitError, match="There is no such avatar"):
                await AvatarSession("nobody", url=server.url, **keys).start(session, room)
        await session.aclose()
        await room.disconnect()
