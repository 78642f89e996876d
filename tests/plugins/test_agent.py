"""Agents on their sockets, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from daetalker.plugins.agent import AgentPlugin
from daetalker.plugins.agent.client import AgentClient, AgentError, Finished, Picture, Sound
from daetalker.streamer.feed import VoiceConverter
from tests.plugins.serving import PATIENCE_S, Running, served
from tests.streamer.serving import refused
from tests.tiny import tiny_speech, to_pcm

pytestmark = pytest.mark.asyncio


@contextlib.asynccontextmanager
async def _served(bundle: Path, **own: Any) -> AsyncIterator[Running]:
    async with asyncio.timeout(2 * PATIENCE_S):
        async with served(bundle, [AgentPlugin], {"agent": own}, max_clients=8) as server:
            yield server


class _Heard:
    """Collects what a client's media brings."""

    def __init__(self, agent: AgentClient) -> None:
        self.sounds: list[Sound] = []
        self.pictures: list[Picture] = []
        self._task = asyncio.create_task(self._collect(agent))

    async def _collect(self, agent: AgentClient) -> None:
        async for item in agent.media():
            if isinstance(item, Sound):
                self.sounds.append(item)
            else:
                self.pictures.append(item)

    def spoken(self) -> NDArray[np.int16]:
        return np.concatenate([s.pcm for s in self.sounds if s.spoken] or [np.zeros(0, np.int16)])

    async def ends(self, count: int) -> None:
        """Wait until so many utterances have come to their ends."""
        while sum(sound.last for sound in self.sounds) < count:
            await asyncio.sleep(0.01)

    async def more(self, sounds: int) -> None:
        target = len(self.sounds) + sounds
        while len(self.sounds) < target:
            await asyncio.sleep(0.01)


def _voice(seconds: float, rate: int, seed: int = 0) -> NDArray[np.int16]:
    return to_pcm(tiny_speech(seconds, seed, rate))


def _frames(seconds: float) -> int:
    return int(np.ceil(round(seconds / 0.04, 6)))


@contextlib.asynccontextmanager
async def _raw(server: Running, path: str, **more: Any) -> AsyncIterator[ClientConnection]:
    address = server.url.replace("http", "ws", 1) + "/plugins/agent/" + path
    async with connect(address, max_size=None, open_timeout=PATIENCE_S, **more) as socket:
        yield socket


async def _next(socket: ClientConnection, *kinds: str) -> dict[str, Any]:
    """The next JSON message of one of these kinds."""
    while True:
        received = await socket.recv()
        if isinstance(received, str):
            message: dict[str, Any] = json.loads(received)
            if message["type"] in kinds:
                return message


async def test_any_rate_is_spoken_whole_exact_and_recognisable(bundle: Path) -> None:
    async def one(url: str, rate: int, channels: int) -> None:
        seconds = 0.73
        pcm = _voice(seconds, rate)
        async with AgentClient(url, rate=rate, channels=channels, media=True) as agent:
            heard = _Heard(agent)
            await agent.say(np.repeat(pcm, channels))
            number = await agent.end()
            assert number == 1
            playback = await agent.finished(number)
            assert not playback.interrupted
            assert playback.position_s == pytest.approx(pcm.size / rate, abs=0.002)
            await heard.ends(1)
            spoken = heard.spoken()
            assert spoken.size == 1920 * _frames(pcm.size / rate), f"{rate} Hz"
            converter = VoiceConverter(rate, 1)
            wanted = np.concatenate([converter.push(pcm), converter.flush()]).astype(float)
            likeness = np.corrcoef(spoken[: wanted.size].astype(float), wanted)[0, 1]
            assert likeness > 0.99, f"{rate} Hz: correlation {likeness:.3f}"

    async with _served(bundle, sessions=8) as server:
        cases = [(8_000, 1), (16_000, 1), (22_050, 2), (24_000, 1), (44_100, 1), (192_000, 2)]
        await asyncio.gather(*(one(server.url, *case) for case in cases))


async def test_48_khz_comes_back_bit_by_bit_from_messages_of_odd_sizes(bundle: Path) -> None:
    pcm = _voice(0.8, 48_000)
    data = pcm.astype("<i2").tobytes()
    async with _served(bundle) as server, AgentClient(server.url, rate=48_000, media=True) as agent:
        heard = _Heard(agent)
        for start in range(0, len(data), 1777):
            await agent.say(data[start : start + 1777])
        await agent.finished(await agent.end())
        await heard.ends(1)
        np.testing.assert_array_equal(heard.spoken(), pcm)
        starts = [sound.start for sound in heard.sounds]
        assert starts == list(range(starts[0], starts[0] + 960 * len(starts), 960))
        first = next(sound for sound in heard.sounds if sound.spoken)
        assert first.start % 1920 == 0, "utterances begin with a frame"


@pytest.mark.parametrize("pace", [1.0, 0.6])
async def test_a_slow_sender_is_heard_whole_too(bundle: Path, pace: float) -> None:
    """Voice that comes in real time or slower: rests may come in between, nothing is lost."""
    pcm = _voice(0.6, 16_000)
    async with _served(bundle) as server, AgentClient(server.url, rate=16_000, media=True) as agent:
        heard = _Heard(agent)
        for start in range(0, pcm.size, 320):
            await agent.say(pcm[start : start + 320])
            await asyncio.sleep(0.02 / pace)
        playback = await agent.finished(await agent.end())
        assert not playback.interrupted
        assert playback.position_s == pytest.approx(0.6, abs=0.002)
        await heard.ends(1)
        spoken = heard.spoken()
        assert 0 <= spoken.size - 1920 * _frames(0.6) <= 1920, "an end may need a frame of its own"
        converter = VoiceConverter(16_000, 1)
        wanted = np.concatenate([converter.push(pcm), converter.flush()]).astype(float)
        assert np.corrcoef(spoken[: wanted.size].astype(float), wanted)[0, 1] > 0.99


async def test_an_interrupt_does_not_wait_behind_the_voice(bundle: Path) -> None:
    async with _served(bundle) as server, AgentClient(server.url, rate=48_000, media=True) as agent:
        heard = _Heard(agent)
        long = np.tile(_voice(1.0, 48_000), 9)
        await agent.say(long)
        first = await agent.end()
        await agent.say(long[:48_000])
        second = await agent.end()
        while not heard.spoken().any():
            await asyncio.sleep(0.01)
        await agent.interrupt()
        playback = await agent.finished(first)
        assert playback.interrupted and 0.0 < playback.position_s < 8.0
        assert await agent.finished(second) == Finished(0.0, True)
        await heard.more(15)
        spoken = heard.spoken()
        assert spoken.size / 48_000 == pytest.approx(playback.position_s, abs=0.0401)
        assert not any(sound.last for sound in heard.sounds), "an interrupted one has no end"
        assert not any(sound.pcm.any() for sound in heard.sounds[-10:]), "silence"

        await agent.say(long[:48_000])
        assert await agent.finished(await agent.end()) == Finished(1.0, False)
        await heard.ends(1)
        assert heard.spoken().size - spoken.size == 48_000


async def test_an_utterance_interrupted_before_its_end_was_sent_is_reported(bundle: Path) -> None:
    async with _served(bundle) as server, AgentClient(server.url, rate=48_000, media=True) as agent:
        heard = _Heard(agent)
        await agent.say(_voice(1.5, 48_000))
        while not heard.spoken().any():
            await asyncio.sleep(0.01)
        await agent.interrupt()
        playback = await agent.finished(1)
        assert playback.interrupted and 0.0 < playback.position_s < 1.5
        with pytest.raises(AgentError, match="nothing to end"):
            await agent.end()
        await agent.say(_voice(0.2, 48_000))
        number = await agent.end()
        assert number == 2
        assert not (await agent.finished(number)).interrupted


async def test_a_sender_without_measure_is_held_back_then_refused(bundle: Path) -> None:
    limits = {"buffer_s": 12.0, "pause_s": 6.0, "resume_s": 1.0}
    async with _served(bundle, **limits) as server, _raw(server, "speak?rate=8000") as socket:
        await _next(socket, "ready")
        second = bytes(16_000)
        for _ in range(9):
            await socket.send(second)
        held = await _next(socket, "buffer")
        assert held["hold"] and held["seconds"] > 6.0
        for _ in range(9):
            await socket.send(second)
        error = await _next(socket, "error")
        assert error["code"] == "buffer_full" and not error["fatal"]
        assert "12 s of voice wait already" in error["message"]
        began_s = time.monotonic()
        await socket.send('{"type":"interrupt"}')
        assert not (await _next(socket, "buffer"))["hold"], "there is room at once"
        assert (await _next(socket, "finished"))["interrupted"]
        assert time.monotonic() - began_s < 5.0, "twelve seconds would have had to be spoken"


async def test_the_client_waits_for_the_server(bundle: Path) -> None:
    """`say` never runs into `buffer_full`, however much it is given."""
    limits = {"buffer_s": 25.0, "pause_s": 3.0, "resume_s": 2.0}
    async with _served(bundle, **limits) as server, AgentClient(server.url, rate=8000) as agent:
        saying = asyncio.create_task(agent.say(np.zeros(8000 * 60, np.int16)))
        await asyncio.sleep(1.5)
        assert not saying.done()
        await agent.interrupt()
        await saying
        seen = []
        async for event in agent.events():
            seen.append(event["type"])
            if event["type"] == "finished":
                break
        assert "buffer" in seen and "error" not in seen


async def test_rubbish_is_answered_and_the_socket_lives_on(bundle: Path) -> None:
    bad = {
        "nonsense": "bad_message",
        '{"type":"hello","protocol":1}': "bad_message",
        '{"type":"pose","yaw":"left"}': "bad_message",
        '{"type":"end","please":1}': "bad_message",
        '{"type":"preset","name":"nowhere"}': "unknown_preset",
        '{"type":"say","file":"../../secret.wav"}': "unknown_voice",
        json.dumps({"type": "ping", "id": 1, "x": "y" * 70_000}): "too_large",
    }
    async with _served(bundle) as server, _raw(server, "speak") as socket:
        await _next(socket, "ready")
        for text, code in bad.items():
            await socket.send(text)
            error = await _next(socket, "error")
            assert (error["code"], error["fatal"]) == (code, False), text
            assert error["message"].endswith(".")
        await socket.send(b"\x01")  # half a sample
        await socket.send('{"type":"end"}')
        finished = await _next(socket, "finished")
        assert (finished["utterance"], finished["position_s"]) == (1, 0.0)
        await socket.send('{"type":"end"}')  # of nothing
        await socket.send('{"type":"ping","id":5}')
        assert (await _next(socket, "pong"))["id"] == 5


async def test_too_many_texts_are_not_read(bundle: Path) -> None:
    async with _served(bundle) as server, _raw(server, "speak") as socket:
        await _next(socket, "ready")
        for number in range(200):
            await socket.send(json.dumps({"type": "ping", "id": number}))
        assert (await _next(socket, "error"))["code"] == "too_fast"
        await asyncio.sleep(1.1)
        await socket.send('{"type":"ping","id":999}')
        while (await _next(socket, "pong"))["id"] != 999:
            pass


async def test_tiny_messages_do_not_flood_the_server(bundle: Path) -> None:
    """Thousands of messages of one sample: the plugin may make only so many calls a second."""
    pcm = _voice(0.25, 8000)
    async with _served(bundle) as server, AgentClient(server.url, rate=8000) as agent:
        for start in range(pcm.size):
            await agent.say(pcm[start : start + 1])
        playback = await agent.finished(await agent.end())
        assert playback.position_s == pytest.approx(0.25, abs=0.002)


async def test_between_utterances_the_face_lives(bundle: Path) -> None:
    async with _served(bundle) as server, AgentClient(server.url, media=True) as agent:
        heard = _Heard(agent)
        while len(heard.pictures) < 60:
            await asyncio.sleep(0.02)
        assert not any(sound.spoken or sound.pcm.any() for sound in heard.sounds)
        assert not any(picture.speaking for picture in heard.pictures)
        different = {picture.rgb.tobytes() for picture in heard.pictures}
        assert len(different) > 20, "the head moves a little all the time"
        state = [e async for e in _until(agent, "state", 3)][-1]
        assert state["utterance"] is None and not state["speaking"]
        assert any(abs(angle) > 0.01 for angle in state["pose"].values())


async def _until(agent: AgentClient, kind: str, count: int) -> AsyncIterator[dict[str, Any]]:
    async for event in agent.events():
        if event["type"] == kind:
            yield event
            count -= 1
            if not count:
                return


async def test_commands_steer_the_head(bundle: Path) -> None:
    async with _served(bundle) as server, AgentClient(server.url) as agent:
        await agent.command({"type": "preset", "name": "left"})
        async for event in _until(agent, "state", 40):
            if event["preset"] == "left" and event["pose"]["yaw"] > 15.0:
                return
    raise AssertionError("the head did not turn")


async def test_others_may_watch_and_the_slow_ones_delay_nobody(bundle: Path) -> None:
    async with _served(bundle) as server, AgentClient(server.url, rate=8000) as agent:
        media = f"media?session={agent.session}"
        async with (
            _raw(server, media) as watcher,
            _raw(server, media, max_queue=1, close_timeout=0.1),
        ):
            first = await _next(watcher, "media")
            assert first == {
                "type": "media",
                "session": agent.session,
                "size": agent.size,
                "fps": 25,
                "voice_rate": 48000,
            }
            await agent.say(_voice(1.0, 8000))
            number = await agent.end()
            kinds, last = [], False
            while not last:
                message = await watcher.recv()
                assert isinstance(message, bytes)
                kinds.append(message[:1])
                last = message[0] == ord("A") and bool(message[1] & 2)
            assert kinds.count(b"V") >= 20 and kinds.count(b"A") >= 40
            assert not (await agent.finished(number)).interrupted
            await agent.command({"type": "bye"})
            with pytest.raises(ConnectionClosed):
                while True:
                    received = await watcher.recv()
            assert isinstance(received, str)
            assert json.loads(received) == {
                "type": "goodbye",
                "message": "the session ended",
                "retry_s": None,
            }


async def test_who_may_speak_and_watch(bundle: Path) -> None:
    async with served(bundle, [AgentPlugin], control_token="sesame") as server:
        with pytest.raises(AgentError, match="Only operators") as caught:
            async with AgentClient(server.url):
                pass
        assert caught.value.code == "not_allowed"
        async with _raw(server, "media?session=latest") as socket:
            assert (await _next(socket, "error"))["code"] == "not_allowed"
        async with _raw(server, "media?session=0123456789abcdef") as socket:
            assert (await _next(socket, "error"))["code"] == "unknown_session"
        assert (refused(server, "not_allowed"), refused(server, "unknown_session")) == (2, 1)
        async with (
            AgentClient(server.url, token="sesame") as agent,
            _raw(server, f"media?session={agent.session}") as socket,
        ):
            await _next(socket, "media")


async def test_what_the_query_asks_for_is_checked(bundle: Path) -> None:
    async with _served(bundle, sessions=1) as server:
        for query, names in {
            "rate=700": "rate",
            "channels=3": "channels",
            "pace=1": "pace",
        }.items():
            async with _raw(server, f"speak?{query}") as socket:
                error = await _next(socket, "error")
                assert error["code"] == "bad_message" and f"?{names}" in error["message"]
                assert (await _next(socket, "goodbye"))["message"] == error["message"]
        with pytest.raises(AgentError, match="no such avatar"):
            async with AgentClient(server.url, avatar="nobody"):
                pass
        async with AgentClient(server.url):
            with pytest.raises(AgentError, match="1 agents speak already") as refused:
                async with AgentClient(server.url):
                    pass
            assert refused.value.code == "server_full"


async def test_an_agent_that_leaves_or_sleeps_frees_its_place(bundle: Path) -> None:
    async with _served(bundle, idle_s=1.0) as server:
        async with AgentClient(server.url, rate=8000) as agent:
            await agent.say(_voice(3.0, 8000))
            assert server.hub.sessions == 1
        await server.empty()
        async with _raw(server, "speak") as socket:
            assert (await _next(socket, "goodbye"))["message"] == "nothing came for 1 s"
        await server.empty()


async def test_the_servers_stop_is_told(bundle: Path) -> None:
    async with contextlib.AsyncExitStack() as client:
        async with _served(bundle) as server:
            agent = await client.enter_async_context(AgentClient(server.url))
            events = agent.events()
            await agent.say(np.zeros(2400, np.int16))
            number = await agent.end()
            assert (await anext(events))["type"] in ("state", "started", "finished")
            await agent.finished(number)
            waiting = asyncio.create_task(agent.finished(9))
            await asyncio.sleep(0)
        told = [event["type"] async for event in events]  # they end, too
        assert told[-1] == "goodbye"
        with pytest.raises(AgentError, match="ended the session"):
            await waiting


async def test_no_server_is_one_sentence() -> None:
    with pytest.raises(AgentError, match="is the plugin 'agent' on"):
        async with AgentClient("http://127.0.0.1:9"):
            pass
