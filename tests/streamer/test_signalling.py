"""The conversation, over a real socket to a real server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.websockets import WebSocketDisconnect, WebSocketState
from websockets.exceptions import ConnectionClosed, InvalidStatus

from daetalker.streamer import protocol as p
from daetalker.streamer.admission import Admission
from daetalker.streamer.conversation import End, _cause
from daetalker.streamer.job_times import JobTimes
from daetalker.streamer.line import Line, RateLimit
from tests.streamer.serving import Running, offering, running, settings_for, talker

POSE = {"type": "pose", "yaw": 3, "pitch": 0, "roll": 0}


@pytest_asyncio.fixture
async def server(bundle: Path) -> AsyncIterator[Running]:
    async with running(settings_for(bundle, max_clients=2)) as server:
        yield server


async def test_hello_is_answered_by_a_welcome(server: Running) -> None:
    async with talker(server.url) as client:
        welcome = await client.hello()
        manifest = (await server.hub.avatar()).bundle.manifest
        assert welcome["type"] == "welcome"
        assert welcome["avatar"]["name"] == manifest.name
        assert welcome["avatar"]["size"] == manifest.size
        assert welcome["delay_ms"] == pytest.approx(280)
        assert server.hub.sessions == 1
        await client.say({"type": "bye"})
        assert (await client.hear("goodbye"))["message"] == "bye"
        with pytest.raises(ConnectionClosed):
            await client.socket.recv()
    await server.empty()


async def test_mistakes_before_hello_are_answered_and_forgiven(server: Running) -> None:
    async with talker(server.url) as client:
        for message, code in [
            (POSE, "hello_first"),
            ("nonsense", "bad_message"),
            ({"type": "hello", "protocol": 2}, "unsupported_protocol"),
            ({"type": "hello", "protocol": 1, "avatar": "../../etc"}, "unknown_avatar"),
        ]:
            await client.say(message)
            error = await client.hear("error")
            assert (error["code"], error["fatal"]) == (code, False)
        await client.say({"type": "ping", "id": 4})
        assert (await client.hear("pong"))["id"] == 4
        assert (await client.hello())["type"] == "welcome"


async def test_mistakes_after_hello_are_answered_and_forgiven(server: Running) -> None:
    async with talker(server.url) as client:
        await client.hello()
        for message, code, word in [
            ({"type": "pose", "yaw": "1", "pitch": 0, "roll": 0}, "bad_message", "pose.yaw"),
            ({"type": "hello", "protocol": 1}, "bad_message", "hello"),
            ({"type": "preset", "name": "sideways"}, "unknown_preset", "sideways"),
            ({"type": "offer", "sdp": "v=0"}, "bad_sdp", "offer"),
            ({"type": "offer", "sdp": "\u0000"}, "bad_sdp", "offer"),
            ({"type": "offer", "sdp": "x" * 70_000}, "too_large", "65536"),
            (
                {"type": "candidate", "candidate": "candidate:junk", "sdpMid": "0",
                 "sdpMLineIndex": 0},
                "bad_message",
                "candidate",
            ),
        ]:  # fmt: skip
            await client.say(message)
            error = await client.hear("error")
            assert (error["code"], error["fatal"]) == (code, False), error
            assert word in error["message"]
        await client.socket.send(b"\x00\x01")
        assert (await client.hear("error"))["code"] == "bad_message"
        await client.say({"type": "ping", "id": 1})
        assert (await client.hear("pong"))["id"] == 1
        assert server.hub.sessions == 1


async def test_an_offer_without_sound_is_refused_and_another_may_follow(server: Running) -> None:
    async with talker(server.url) as client, offering() as (_, sdp):
        await client.hello()
        mute = sdp.replace("a=sendrecv", "a=recvonly")
        await client.say({"type": "offer", "sdp": mute})
        assert (await client.hear("error"))["code"] == "no_audio"
        await client.say({"type": "offer", "sdp": sdp})
        assert (await client.hear("answer", "error"))["type"] == "answer"


async def test_a_second_offer_is_refused(server: Running) -> None:
    async with talker(server.url) as client, offering() as (_, sdp):
        await client.hello()
        await client.say({"type": "offer", "sdp": sdp})
        await client.hear("answer")
        await client.say({"type": "offer", "sdp": sdp})
        error = await client.hear("error")
        assert (error["code"], error["fatal"]) == ("second_offer", False)


async def test_candidates_may_come_before_the_offer(server: Running) -> None:
    async with talker(server.url) as client, offering() as (_, sdp):
        await client.hello()
        line = next(x for x in sdp.splitlines() if x.startswith("a=candidate:"))
        candidate = {"candidate": line[2:], "sdpMid": "0", "sdpMLineIndex": 0}
        await client.say({"type": "candidate", **candidate})
        await client.say({"type": "offer", "sdp": sdp})
        assert (await client.hear("answer"))["sdp"]
        await client.say(
            {"type": "candidate", "candidate": "", "sdpMid": None, "sdpMLineIndex": None}
        )
        await client.say({"type": "ping", "id": 2})
        assert (await client.hear("pong"))["id"] == 2


async def test_a_full_server_says_so_and_closes(server: Running) -> None:
    async with talker(server.url) as first, talker(server.url) as second:
        await first.hello()
        await second.hello()
        async with talker(server.url) as third:
            error = await third.hello()
            assert (error["code"], error["fatal"]) == ("server_full", True)
            goodbye = await third.hear("goodbye")
            assert goodbye["message"] and goodbye["retry_s"] == 5
            with pytest.raises(ConnectionClosed):
                await third.socket.recv()
            assert third.socket.close_code == 1013
        figures = server.hub.metrics.render()[0].decode()
        assert 'daetalker_refused_total{reason="server_full"} 1.0' in figures
        await second.say({"type": "bye"})
        await second.hear("goodbye")
    await server.empty()
    async with talker(server.url) as fourth:
        assert (await fourth.hello())["type"] == "welcome"


async def test_the_first_client_that_would_break_the_others_is_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crowded(self: Admission, engine: JobTimes, people: int, *_: Any, **__: Any) -> str:
        return "1.9 of 2.0 cores would be needed" if people else ""

    monkeypatch.setattr(Admission, "refusal", crowded)
    async with running(settings_for(bundle, admission="measured")) as server:
        async with talker(server.url) as first, talker(server.url) as second:
            welcome = await first.hello()
            assert welcome["type"] == "welcome"
            error = await second.hello()
            assert (error["code"], error["fatal"]) == ("server_full", True)
            assert "--admission off" in error["message"]
            await second.hear("goodbye")
            await first.say({"type": "ping", "id": 1})
            assert (await first.hear("pong"))["id"] == 1, "who is here stays"
        lines = [record for record in caplog.records if "server_full" in record.getMessage()]
        assert len(lines) == 1 and "1.9 of 2.0 cores" in lines[0].getMessage()


async def test_control_messages_reach_the_session(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[Any] = []
    opened = server.hub.new_session

    def new_session(*args: Any) -> Any:
        sessions.append(opened(*args))
        return sessions[-1]

    monkeypatch.setattr(server.hub, "new_session", new_session)
    preset = (await server.hub.avatar()).bundle.manifest.presets[0]
    async with talker(server.url) as client:
        await client.hello()

        async def control_after(message: dict[str, Any]) -> Any:
            await client.say(message)
            await client.say({"type": "ping", "id": 0})
            await client.hear("pong")
            return sessions[0].control

        control = await control_after(POSE | {"ease_s": 2})
        assert (control.pose, control.ease_s, control.preset) == ((3, 0, 0), 2, None)
        control = await control_after({"type": "mute", "on": True})
        assert (control.pose, control.muted) == ((3, 0, 0), True)
        control = await control_after({"type": "preset", "name": preset.name})
        assert (control.preset, control.muted) == (preset.name, True)
        assert control.pose == (preset.yaw, preset.pitch, preset.roll)
        control = await control_after({"type": "natural"})
        assert (control.pose, control.natural, control.preset) == (None, 1.0, None)
        assert control.muted


async def test_a_flood_is_told_once_and_survived(server: Running) -> None:
    async with talker(server.url) as client:
        await client.hello()
        for _ in range(400):
            await client.say(POSE)
        assert (await client.hear("error"))["code"] == "too_fast"


async def test_stopping_says_goodbye(bundle: Path) -> None:
    async with running(settings_for(bundle)) as server:
        async with talker(server.url) as client:
            await client.hello()
            await server.hub.stop()
            assert (await client.hear("goodbye"))["message"] == "the server is stopping"
        with pytest.raises(InvalidStatus):
            async with talker(server.url):
                pass


async def test_pages_of_other_sites_may_not_connect(server: Running) -> None:
    from websockets.asyncio.client import connect

    url = server.url.replace("http", "ws") + "/ws"
    with pytest.raises(InvalidStatus):
        async with connect(url, origin="https://evil.example"):  # type: ignore[arg-type]
            pass
    async with connect(url, origin=server.url):  # type: ignore[arg-type]
        pass


class ScriptedSocket:
    """Stands in for a server's socket: plays messages, keeps what is sent."""

    application_state = WebSocketState.CONNECTED

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if not self._texts:
            return {"type": "websocket.disconnect", "code": 1001}
        return {"type": "websocket.receive", "text": self._texts.pop(0)}

    async def send_text(self, text: str) -> None:
        self.sent.append(json.loads(text))


async def test_the_line_drops_a_flood_and_complains_once_a_second() -> None:
    now = 0.0
    socket = ScriptedSocket(['{"type":"ping","id":1}'] * 130)
    line = Line(socket, now=lambda: now)  # type: ignore[arg-type]
    got = 0
    with pytest.raises(WebSocketDisconnect):
        while True:
            await line.receive()
            got += 1
    assert got == 50
    assert [message["code"] for message in socket.sent] == ["too_fast"]


def test_rate_limit_refills_with_time() -> None:
    now = 0.0
    limit = RateLimit(10.0, lambda: now)
    assert sum(limit.take() for _ in range(20)) == 10
    now = 0.5
    assert sum(limit.take() for _ in range(20)) == 5
    now = 100.0
    assert sum(limit.take() for _ in range(20)) == 10


def test_the_cause_of_an_end_is_the_most_telling_one() -> None:
    end, gone = End("bye"), WebSocketDisconnect(1001)
    fatal = p.ProtocolError("engine_failed", "It failed.")
    assert _cause(BaseExceptionGroup("", [gone, BaseExceptionGroup("", [end])])) is end
    assert _cause(BaseExceptionGroup("", [end, fatal])) is fatal
    fault = BaseExceptionGroup("", [end, ValueError("ours")])
    assert _cause(fault) is fault


def test_a_burst_may_be_larger_than_a_second_and_several_are_taken_at_once() -> None:
    now = 100.0
    limit = RateLimit(10.0, lambda: now, burst=20.0)
    assert [limit.take() for _ in range(21)] == [True] * 20 + [False]
    now = 100.5
    assert limit.take(5)
    assert not limit.take()
