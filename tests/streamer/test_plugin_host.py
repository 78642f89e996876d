"""Plugins run, and those that raise, hang or flood are thrown out while sessions go on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from daetalker.streamer.plugin import (
    LiveSession,
    MissingExtra,
    Plugin,
    PluginError,
    PluginSettings,
    find_plugin,
)
from daetalker.streamer.settings import SettingsError
from tests.plugins.serving import served
from tests.streamer.serving import PATIENCE_S, Running, buzz

QUICK = {"hang_s": 1.0, "start_s": 1.5}


async def frames_of(session: LiveSession, count: int) -> int:
    """Wait for so many new frames; how many were made late."""
    async with asyncio.timeout(PATIENCE_S), contextlib.aclosing(session.moments()) as moments:
        async for _ in moments:
            count -= 1
            if not count:
                break
    return session.session.stats().late


async def removed(server: Running, name: str) -> str:
    """Wait until a plugin is thrown out; the reason."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            for row in server.plugins.report():
                if row["name"] == name and row["state"] == "removed":
                    return row["reason"]
            await asyncio.sleep(0.02)


async def thread_ends(name: str) -> None:
    """Wait until no plugin of that name has a thread."""
    async with asyncio.timeout(PATIENCE_S):
        while f"plugin {name}" in {thread.name for thread in threading.enumerate()}:
            await asyncio.sleep(0.02)


class Diary(Plugin):
    """Writes down what is called, and where."""

    name = "diary"
    pages: ClassVar[list[tuple[str, int]]] = []

    def note(self, what: str) -> None:
        self.pages.append((what, threading.get_ident()))

    async def start(self) -> None:
        self.note("start")

    async def run(self) -> None:
        self.note("run")
        try:
            await asyncio.sleep(1e6)
        finally:
            self.note("run ends")

    async def session(self, session: LiveSession) -> None:
        self.note(f"session {session.id}")
        async for _ in session.moments():
            pass
        self.note("session ends")

    async def stop(self) -> None:
        self.note("stop")


async def test_each_method_is_called_once_in_the_plugins_own_thread(bundle: Path) -> None:
    Diary.pages.clear()
    async with served(bundle, [Diary]) as server:
        session = await server.hub.open_session()
        await frames_of(session, 5)
        await session.close()
    words = [what for what, _ in Diary.pages]
    assert words[0] == "start" and words[-1] == "stop"
    assert sorted(words) == sorted(
        ["start", "run", f"session {session.id}", "session ends", "run ends", "stop"]
    )
    threads = {thread for _, thread in Diary.pages}
    assert len(threads) == 1 and threading.get_ident() not in threads
    await thread_ends("diary")


class Raises(Plugin):
    name = "raises"

    async def session(self, session: LiveSession) -> None:
        raise RuntimeError("a bug")


class RaisesInRun(Plugin):
    name = "raises_in_run"

    async def run(self) -> None:
        raise RuntimeError("a bug")


class RaisesAtStart(Plugin):
    name = "raises_at_start"

    async def start(self) -> None:
        raise RuntimeError("a bug")


class BlocksItsLoop(Plugin):
    name = "blocks"

    async def session(self, session: LiveSession) -> None:
        time.sleep(30)


class NeverAwaits(Plugin):
    name = "spins"

    async def session(self, session: LiveSession) -> None:
        while True:
            pass


class FloodsCommands(Plugin):
    name = "floods"

    async def session(self, session: LiveSession) -> None:
        while True:
            with contextlib.suppress(PluginError):
                await session.command({"type": "natural"})


class OpensAndHangs(Plugin):
    name = "opens"

    async def run(self) -> None:
        await self.host.open_session()
        time.sleep(30)


class NeverStarts(Plugin):
    name = "never_starts"

    async def start(self) -> None:
        await asyncio.sleep(1e6)


class ClingsToLife(Plugin):
    name = "clings"

    async def run(self) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1e6)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Raises, "session() raised RuntimeError('a bug')"),
        (RaisesInRun, "run() raised RuntimeError('a bug')"),
        (RaisesAtStart, "start() raised RuntimeError('a bug')"),
        (BlocksItsLoop, "did not answer"),
        (NeverAwaits, "did not answer"),
        (FloodsCommands, "more than 500 calls a second"),
        (NeverStarts, "start() took longer"),
    ],
)
async def test_what_misbehaves_is_thrown_out_and_the_session_goes_on(
    bundle: Path, kind: type[Plugin], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    Diary.pages.clear()
    async with served(bundle, [kind, Diary], limits=QUICK) as server:
        session = await server.hub.open_session()
        assert reason in await removed(server, kind.name)
        await session.speak(buzz(0.4), 48_000)
        spoken = await session.end_utterance()
        assert spoken is not None
        assert not (await asyncio.wait_for(spoken.done(), PATIENCE_S)).interrupted
        await frames_of(session, 10)
        assert [row["state"] for row in server.plugins.report()] == ["removed", "running"]
        assert [info.name for info in server.plugins.infos()] == ["diary"]
    told = [r for r in caplog.records if f"plugin '{kind.name}' was removed" in r.getMessage()]
    assert len(told) == 1
    if kind is not BlocksItsLoop:  # time.sleep cannot be broken off
        await thread_ends(kind.name)


async def test_what_a_removed_plugin_opened_is_closed(bundle: Path) -> None:
    async with served(bundle, [OpensAndHangs], limits=QUICK) as server:
        await removed(server, "opens")
        await server.empty()


async def test_one_that_will_not_end_does_not_keep_the_server(bundle: Path) -> None:
    async with served(bundle, [ClingsToLife, Diary], limits=QUICK):
        begun = time.monotonic()
    assert time.monotonic() - begun < 20


class Refuses(Plugin):
    name = "refuses"

    async def start(self) -> None:
        raise PluginError("there is no broker at 1.2.3.4; start one")


async def test_a_refusal_stops_the_start_with_a_sentence(bundle: Path) -> None:
    with pytest.raises(PluginError, match="plugin 'refuses': there is no broker"):
        async with served(bundle, [Diary, Refuses]):
            pass
    await thread_ends("diary")
    await thread_ends("refuses")


class Answers(Plugin):
    """Has routes and a script."""

    name = "answers"

    class Settings(PluginSettings):
        word: str = "hello"
        limit: int = 3

    def routes(self) -> Sequence[BaseRoute]:
        async def word(request: Request) -> Response:
            await asyncio.sleep(0)
            thread = threading.current_thread().name
            body = {
                "word": self.settings.word,
                "thread": thread,
                "operator": request.scope["operator"],
                "given": (await request.body()).decode(),
            }
            return JSONResponse(body)

        async def hang(_: Request) -> Response:
            time.sleep(30)
            return Response("late")

        async def broken(_: Request) -> Response:
            raise RuntimeError("a bug")

        async def stream(_: Request) -> Response:
            async def lines() -> AsyncIterator[bytes]:
                for number in range(3):
                    yield b"%d\n" % number

            return StreamingResponse(lines())

        async def echo(socket: WebSocket) -> None:
            await socket.accept()
            async for text in socket.iter_text():
                await socket.send_text(text.upper())

        return [
            Route("/word", word, methods=["GET", "POST"]),
            Route("/hang", hang),
            Route("/broken", broken),
            Route("/stream", stream),
            WebSocketRoute("/echo", echo),
        ]

    def page_script(self) -> Any:
        return Path(__file__)


async def test_routes_are_served_in_the_plugins_thread(bundle: Path) -> None:
    async with served(bundle, [Answers]) as server, httpx.AsyncClient() as http:
        base = f"{server.url}/plugins/answers"
        answer = (await http.post(f"{base}/word", content="body")).json()
        assert answer == {
            "word": "hello",
            "thread": "plugin answers",
            "operator": True,
            "given": "body",
        }
        refused = await http.post(f"{base}/word", headers={"Origin": "https://evil.example"})
        assert refused.status_code == 403 and "X-Frame-Options" in refused.headers
        assert (await http.get(f"{base}/stream")).text == "0\n1\n2\n"
        assert (await http.get(f"{base}/broken")).status_code == 500
        assert (await http.get(f"{base}/nothing")).status_code == 404
        script = await http.get(f"{base}/page.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert script.content == Path(__file__).read_bytes()
        assert [p.script for p in server.plugins.infos()] == ["plugins/answers/page.js"]
        async with connect(f"{base.replace('http', 'ws', 1)}/echo") as socket:
            await socket.send("word")
            assert await socket.recv() == "WORD"
        assert (await http.get(f"{server.url}/api/plugins")).json() == [
            {"name": "answers", "state": "running", "reason": ""}
        ]


async def test_a_request_to_a_plugin_that_hangs_is_answered(bundle: Path) -> None:
    async with served(bundle, [Answers], limits=QUICK) as server, httpx.AsyncClient() as http:
        answer = await http.get(f"{server.url}/plugins/answers/hang", timeout=PATIENCE_S)
        assert answer.status_code == 503 and answer.json()["code"] == "removed"
        again = await http.get(f"{server.url}/plugins/answers/word", timeout=PATIENCE_S)
        assert again.status_code == 503


async def test_own_settings_come_from_table_and_environment(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAETALKER_ANSWERS_WORD", "from outside")
    own: dict[str, dict[str, Any]] = {"answers": {"limit": 4, "word": "from the table"}}
    async with served(bundle, [Answers], own) as server, httpx.AsyncClient() as http:
        answer = (await http.get(f"{server.url}/plugins/answers/word")).json()
        assert answer["word"] == "from outside"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"limit": "many"}, r"\[plugin\.answers\] limit \(DAETALKER_ANSWERS_LIMIT\)"),
        ({"limits": 3}, "there is no such setting; there are: word, limit"),
    ]
    for wrong, words in cases:
        with pytest.raises(SettingsError, match=words):
            async with served(bundle, [Answers], {"answers": wrong}):
                pass


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(PluginError, match="there is no plugin 'camra'"):
        find_plugin("camra")
    assert 'pip install "daetalker[camera]"' in str(MissingExtra("camera", "pyvirtualcam"))
