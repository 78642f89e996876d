"""HTTP for programs, and clients that watch: a real server, one session."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from daetalker.streamer.live import LiveSession
from tests.streamer.serving import PATIENCE_S, Running, buzz, running, settings_for, talker


@pytest_asyncio.fixture
async def server(bundle: Path, tmp_path: Path) -> AsyncIterator[Running]:
    settings = settings_for(bundle, presets=str(tmp_path / "presets.toml"))
    async with running(settings) as server:
        yield server


@pytest_asyncio.fixture
async def session(server: Running) -> AsyncIterator[LiveSession]:
    session = await server.hub.open_session()
    yield session
    await session.close()


@pytest_asyncio.fixture
async def http(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{server.url}/api", timeout=PATIENCE_S) as http:
        yield http


async def test_sessions_are_listed_and_steered(
    http: httpx.AsyncClient, session: LiveSession
) -> None:
    listed = (await http.get("/sessions")).json()
    assert [row["id"] for row in listed] == [session.id]
    assert listed[0]["avatar"] == session.avatar.name
    assert set(listed[0]["state"]) >= {"speaking", "fps", "pose", "preset", "muted"}
    name = session.avatar.presets[0].name
    for which in (session.id, "latest"):
        done = await http.post(f"/sessions/{which}/command", json={"type": "preset", "name": name})
        assert done.status_code == 204
        assert (await http.get(f"/sessions/{which}")).json()["state"]["preset"] == name
        await http.post(f"/sessions/{which}/command", json={"type": "natural"})
        assert session.state().preset is None


@pytest.mark.parametrize(
    ("path", "content", "kind", "status", "code"),
    [
        ("latest", "{}", "application/json", 400, "bad_message"),
        ("latest", '{"type":"natural"}', "text/plain", 400, "bad_message"),
        ("latest", "{" * 5000, "application/json", 400, "bad_message"),
        ("latest", '{"type":"bye"}', "application/json", 400, "bad_message"),
        ("latest", '{"type":"preset","name":"?"}', "application/json", 404, "unknown_preset"),
        ("nobody", '{"type":"natural"}', "application/json", 404, "unknown_session"),
        ("latest", " " * 70_000, "application/json", 413, "too_large"),
    ],
)
async def test_mistakes_are_answered_in_a_sentence(
    http: httpx.AsyncClient,
    session: LiveSession,
    path: str,
    content: str,
    kind: str,
    status: int,
    code: str,
) -> None:
    answer = await http.post(
        f"/sessions/{path}/command", content=content, headers={"Content-Type": kind}
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["message"].endswith(".")


async def test_presets_are_saved_to_the_file_and_told_to_everybody(
    http: httpx.AsyncClient, server: Running, session: LiveSession, tmp_path: Path
) -> None:
    async with talker(server.url) as page:
        welcome = await page.hello(watch=session.id)
        assert welcome["can_edit"] is True and welcome["session"] == session.id
        saved = await http.put("/presets/wink", json={"label": "Wink", "yaw": 4.0, "pitch": 1.0,
                                                      "roll": -3.0, "hold_s": 2.0})  # fmt: skip
        assert saved.status_code == 204, saved.text
        told = await page.hear("presets")
        wink = next(p for p in told["presets"] if p["name"] == "wink")
        assert wink["own"] and (wink["yaw"], wink["hold_s"]) == (4.0, 2.0)
        assert (await http.get("/presets")).json() == told["presets"]
        assert tomllib.loads((tmp_path / "presets.toml").read_text())["presets"]["wink"]
        await session.command({"type": "preset", "name": "wink"})
        async with talker(server.url) as later:
            welcome = await later.hello(watch="latest")
            assert "wink" in [p["name"] for p in welcome["avatar"]["presets"]]

        await page.say({"type": "save_preset", "name": "wink", "yaw": 5.0, "pitch": 0.0,
                        "roll": 0.0})  # fmt: skip
        told = await page.hear("presets")
        assert next(p for p in told["presets"] if p["name"] == "wink")["yaw"] == 5.0
        await page.say({"type": "save_preset", "name": "wink", "yaw": 500.0, "pitch": 0.0,
                        "roll": 0.0})  # fmt: skip
        refused = await page.hear("error")
        assert refused["code"] == "bad_preset" and "yaw" in refused["message"]

        (tmp_path / "presets.toml").write_text("[presets.by_hand]\nyaw = 3\n")
        told = await page.hear("presets")
        names = [p["name"] for p in told["presets"]]
        assert "by_hand" in names and "wink" not in names

        await page.say({"type": "delete_preset", "name": "by_hand"})
        told = await page.hear("presets")
        assert "by_hand" not in [p["name"] for p in told["presets"]]
        assert (await http.delete("/presets/by_hand")).json()["code"] == "bad_preset"


async def test_strangers_may_do_what_their_session_concerns_and_no_more(bundle: Path) -> None:
    settings = settings_for(bundle, control_token="secret")
    async with running(settings) as server:
        session = await server.hub.open_session()
        async with httpx.AsyncClient(base_url=f"{server.url}/api", timeout=PATIENCE_S) as http:
            refusals = [
                await http.get("/sessions"),
                await http.get("/plugins"),
                await http.get("/sessions/latest"),
                await http.put("/presets/a", json={"yaw": 1.0, "pitch": 0.0, "roll": 0.0}),
                await http.delete("/presets/a"),
            ]
            assert [answer.status_code for answer in refusals] == [403] * 5
            assert refusals[0].json()["code"] == "not_allowed"
            mine = await http.post(f"/sessions/{session.id}/command", json={"type": "natural"})
            assert mine.status_code == 204
            known = {"Authorization": "Bearer secret"}
            assert len((await http.get("/sessions", headers=known)).json()) == 1
        async with talker(server.url) as page:
            assert (await page.hello(watch="latest"))["code"] == "not_allowed"
            welcome = await page.hello(watch=session.id)
            assert welcome["can_edit"] is False
            await page.say({"type": "delete_preset", "name": "a"})
            assert (await page.hear("error"))["code"] == "not_allowed"


async def test_a_watcher_sees_and_hears_and_takes_no_place(
    server: Running, session: LiveSession
) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: dict[str, Any] = {}
    connection.on("track", lambda track: tracks.setdefault(track.kind, track))
    connection.addTransceiver("audio", direction="recvonly")
    connection.addTransceiver("video", direction="recvonly")
    try:
        async with talker(server.url) as page, asyncio.timeout(PATIENCE_S):
            assert (await page.hello(watch="latest"))["session"] == session.id
            await connection.setLocalDescription()
            await page.say({"type": "offer", "sdp": connection.localDescription.sdp})
            answer = (await page.hear("answer"))["sdp"]
            await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            assert server.hub.sessions == 1
            picture = await tracks["video"].recv()
            assert picture.width == session.size
            await session.speak(buzz(0.6), 48_000)
            await session.end_utterance()
            while not (await tracks["audio"].recv()).to_ndarray().any():
                pass
            await page.say({"type": "pose", "yaw": 9.0, "pitch": 0.0, "roll": 0.0})
            while (await page.hear("state"))["pose"]["yaw"] < 4.0:
                pass
            await session.close()
            assert (await page.hear("goodbye"))["message"] == "the session ended"
    finally:
        await connection.close()


async def test_watching_nothing_is_told_and_may_be_tried_again(server: Running) -> None:
    async with talker(server.url) as page:
        assert (await page.hello(watch="latest"))["code"] == "unknown_session"
        assert (await page.hello(watch="0123"))["code"] == "unknown_session"
        session = await server.hub.open_session()
        await asyncio.sleep(0.05)
        assert (await page.hello(watch="latest"))["session"] == session.id
        await session.close()
