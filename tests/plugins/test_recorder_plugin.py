"""The recorder over HTTP, in a real server."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from daetalker.plugins.recorder import RecorderPlugin, RecorderSettings
from daetalker.streamer.live import LiveSession
from daetalker.streamer.plugin import PluginError
from tests.plugins.movies import noise, read_movie
from tests.plugins.serving import PATIENCE_S, Running, served

OUTSIDE = {"X-Forwarded-For": "203.0.113.9"}
"""Makes a request one of somebody who is no operator."""


@contextlib.asynccontextmanager
async def recorder(
    bundle: Path, folder: Path, access: str = "auto", **own: Any
) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    values = {"folder": str(folder), **own}
    async with (
        served(bundle, [RecorderPlugin], {"recorder": values}, access=access) as server,
        httpx.AsyncClient(
            base_url=server.url.rstrip("/") + "/plugins/recorder/",
            timeout=PATIENCE_S,
            trust_env=False,
        ) as client,
    ):
        yield server, client


@contextlib.asynccontextmanager
async def session_of(server: Running) -> AsyncIterator[LiveSession]:
    session = await server.hub.open_session()
    speaking = asyncio.create_task(_speak(session))
    try:
        yield session
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        await session.close()


async def _speak(session: LiveSession) -> None:
    while True:
        await session.speak(noise(0.5), 48_000)


async def grown(client: httpx.AsyncClient, number: str, seconds: float) -> dict[str, Any]:
    """The report, once the recording is that long or over."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            report: dict[str, Any] = (await client.get(f"recordings/{number}")).json()
            if report["seconds"] >= seconds or report["state"] not in ("recording", "finishing"):
                return report
            await asyncio.sleep(0.1)


async def test_record_stop_download_delete(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    async with recorder(bundle, folder) as (server, client), session_of(server) as session:
        answer = await client.post("recordings", json={"session": "latest"})
        assert answer.status_code == 201
        begun = answer.json()
        assert begun["state"] == "recording" and begun["session"] == session.id
        assert re.fullmatch(r"daetalker-tiny-\d{8}-\d{6}-[0-9a-f]{16}\.mp4", begun["file"])

        again = await client.post("recordings", json={"session": session.id})
        assert (again.status_code, again.json()["code"]) == (409, "already_recording")
        number = begun["id"]
        early = await client.get(f"recordings/{number}/file")
        assert (early.status_code, early.json()["code"]) == (409, "still_recording")

        await grown(client, number, 1.2)
        ended = (await client.post(f"recordings/{number}/stop")).json()
        assert (ended["state"], ended["reason"]) == ("done", "stopped")
        assert ended == (await client.get("recordings")).json()[0]
        assert ended["bytes"] == (folder / ended["file"]).stat().st_size
        assert ended == (await client.post(f"recordings/{number}/stop")).json()

        whole = await client.get(f"recordings/{number}/file")
        assert whole.headers["content-type"] == "video/mp4"
        assert whole.headers["content-disposition"] == f'attachment; filename="{ended["file"]}"'
        assert whole.headers["accept-ranges"] == "bytes"
        (tmp_path / "copy.mp4").write_bytes(whole.content)
        assert len(read_movie(tmp_path / "copy.mp4").times_s) == round(ended["seconds"] * 25) > 29

        part = await client.get(f"recordings/{number}/file", headers={"Range": "bytes=100-199"})
        assert part.status_code == 206 and part.content == whole.content[100:200]
        assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
        beyond = await client.get(f"recordings/{number}/file", headers={"Range": "bytes=99999999-"})
        assert beyond.status_code == 416

        assert (await client.delete(f"recordings/{number}")).status_code == 204
        assert list(folder.iterdir()) == []
        assert (await client.get(f"recordings/{number}")).status_code == 404


async def test_whoever_was_told_the_sessions_id_may_and_others_may_not(
    bundle: Path, tmp_path: Path
) -> None:
    async with (
        recorder(bundle, tmp_path, access="open") as (server, client),
        session_of(server) as session,
    ):
        mine = {"session": session.id}

        async def code(request: httpx.Response) -> tuple[int, str]:
            return request.status_code, request.json()["code"]

        client.headers.update(OUTSIDE)
        latest = await client.post("recordings", json={"session": "latest"})
        assert await code(latest) == (403, "not_allowed")
        wrong = await client.post("recordings", json={"session": "0123456789abcdef"})
        assert await code(wrong) == (404, "unknown_session")
        number = (await client.post("recordings", json=mine)).json()["id"]

        assert await code(await client.get("recordings")) == (403, "not_allowed")
        assert (await client.get("recordings", params={"session": "other"})).json() == []
        assert len((await client.get("recordings", params=mine)).json()) == 1
        for method, path in (
            ("GET", f"recordings/{number}"),
            ("POST", f"recordings/{number}/stop"),
            ("GET", f"recordings/{number}/file"),
            ("DELETE", f"recordings/{number}"),
        ):
            refused = await client.request(method, path)
            assert await code(refused) == (404, "unknown_recording"), path
        async with asyncio.timeout(PATIENCE_S):
            while not (await client.get(f"recordings/{number}", params=mine)).json()["seconds"]:
                await asyncio.sleep(0.05)
        stopped = await client.post(f"recordings/{number}/stop", params=mine)
        assert stopped.json()["state"] == "done"
        assert (await client.get(f"recordings/{number}/file", params=mine)).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b'{"session": 5}', b"{", b'{"id": "latest"}'])
async def test_a_bad_request_is_told_what_to_send(
    bundle: Path, tmp_path: Path, body: bytes
) -> None:
    async with recorder(bundle, tmp_path) as (_, client):
        answer = await client.post("recordings", content=body)
        assert answer.status_code == 400 and '{"session"' in answer.json()["message"]
        assert (await client.post("recordings", content=b"x" * 5000)).status_code == 413


async def test_the_end_of_the_session_ends_its_recording(bundle: Path, tmp_path: Path) -> None:
    async with recorder(bundle, tmp_path) as (server, client):
        async with session_of(server) as session:
            number = (await client.post("recordings", json={"session": session.id})).json()["id"]
            await grown(client, number, 0.2)
        report = await grown(client, number, 1e9)
        assert (report["state"], report["reason"]) == ("done", "the session ended")


async def test_the_longest_recording(bundle: Path, tmp_path: Path) -> None:
    async with (
        recorder(bundle, tmp_path, max_minutes=0.01) as (server, client),
        session_of(server) as session,
    ):
        number = (await client.post("recordings", json={"session": session.id})).json()["id"]
        report = await grown(client, number, 1e9)
        assert report["reason"] == "the limit of 0.01 minutes was reached"
        assert (report["state"], report["seconds"]) == ("done", 0.6)


async def test_the_end_of_the_server_closes_the_file(bundle: Path, tmp_path: Path) -> None:
    async with recorder(bundle, tmp_path) as (server, client):
        session = await server.hub.open_session()
        number = (await client.post("recordings", json={"session": session.id})).json()["id"]
        await grown(client, number, 0.5)
    (path,) = tmp_path.iterdir()
    assert len(read_movie(path).times_s) >= 12


async def test_only_the_newest_files_are_kept(bundle: Path, tmp_path: Path) -> None:
    others = tmp_path / "holiday.mp4"
    others.write_bytes(b"not ours")
    async with (
        recorder(bundle, tmp_path, keep=2) as (server, client),
        session_of(server) as session,
    ):
        names = []
        for _ in range(3):
            begun = (await client.post("recordings", json={"session": session.id})).json()
            await grown(client, begun["id"], 0.1)
            await client.post(f"recordings/{begun['id']}/stop")
            names.append(begun["file"])
        assert {path.name for path in tmp_path.iterdir()} == {others.name, *names[1:]}
        gone = (await client.get("recordings")).json()[0]
        answer = await client.get(f"recordings/{gone['id']}/file")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_file")


async def test_a_folder_that_cannot_be_stops_the_start(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        PluginError, match=r"plugin 'recorder': recordings cannot go to .* is a file"
    ):
        async with recorder(bundle, tmp_path / "file" / "recordings"):
            pass


def test_the_doctor_looks_at_encoders_folder_and_room(tmp_path: Path) -> None:
    good = list(RecorderPlugin.examine(RecorderSettings(folder=tmp_path / "new")))
    assert [finding.status for finding in good] == ["ok", "ok", "ok"]
    assert "GB free" in good[-1].message
    (tmp_path / "file").write_text("in the way")
    bad = list(RecorderPlugin.examine(RecorderSettings(folder=tmp_path / "file")))
    assert bad[-1].status == "error" and "DAETALKER_RECORDER_FOLDER" in bad[-1].fix


async def test_the_page_gets_its_script(bundle: Path, tmp_path: Path) -> None:
    async with recorder(bundle, tmp_path) as (_, client):
        script = await client.get("page.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "export function mount(page)" in script.text
