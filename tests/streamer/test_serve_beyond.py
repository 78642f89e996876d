"""`daetalker serve --host 0.0.0.0` as its user meets it: a real process, its words and its log."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from websockets.asyncio.client import connect

from tests.streamer.serving import PATIENCE_S, Talker

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Started:
    """A server process; ``words`` is what it printed until it was ready."""

    words: str
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return self.words.rpartition("Ready: ")[2].strip()

    @property
    def token(self) -> str:
        return self.words.partition("?token=")[2].split()[0]


def _command(*arguments: str) -> tuple[list[str], dict[str, str]]:
    path = os.pathsep.join([str(ROOT / ".dev"), *sys.path])
    command = [sys.executable, "-m", "daetalker.streamer.cli", *arguments]
    return command, {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


@asynccontextmanager
async def started(log: Path, *arguments: str) -> AsyncIterator[Started]:
    command, environment = _command("serve", *arguments)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=errors, env=environment
        )
        assert process.stdout is not None
        try:
            words = ""
            async with asyncio.timeout(PATIENCE_S):
                while "Ready: " not in words:
                    line = await process.stdout.readline()
                    assert line, log.read_text()
                    words += line.decode()
            yield Started(words, process)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), PATIENCE_S)


async def test_it_asks_for_a_link_by_itself_and_its_log_keeps_the_secret(
    bundle: Path, tmp_path: Path
) -> None:
    state, log = tmp_path / "state", tmp_path / "log"
    flags: tuple[str, ...] = ("--avatar", str(bundle), "--port", "0", "--state-folder", str(state))
    flags = (*flags, "--threads", "1", "--log-level", "debug", "--admission", "off")
    async with started(log, "--host", "0.0.0.0", *flags) as server:
        assert "SHA-256" in server.words and "daetalker link" in server.words
        assert server.url.startswith("https://localhost:")
        trust = ssl.create_default_context(cafile=str(state / "certificate.pem"))
        async with httpx.AsyncClient(base_url=server.url, verify=trust, timeout=PATIENCE_S) as http:
            assert (await http.get("/")).status_code == 401
            answer = await http.get(f"/?token={server.token}")
            assert answer.status_code == 303
            assert (await http.get("/")).status_code == 200
            cookie = answer.headers["set-cookie"].partition(";")[0]
        command, environment = _command("link", "--operator", "--state-folder", str(state))
        linking = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
        )
        another = (await linking.communicate())[0].decode().strip()
        # It knows the address of the server, though it was told neither host nor port.
        assert another.partition("?")[0] in server.words
        address = server.url.replace("http", "ws", 1) + "/ws"
        async with connect(address, ssl=trust, additional_headers={"Cookie": cookie}) as socket:
            assert (await Talker(socket).hello())["can_edit"] is False
        async with httpx.AsyncClient(base_url=server.url, verify=trust, timeout=PATIENCE_S) as http:
            there = f"/?{another.partition('?')[2]}"
            assert (await http.get(there)).status_code == 303
            assert (await http.get("/api/sessions")).status_code == 200
            bearer = http.cookies["__Host-daetalker"]
        async with httpx.AsyncClient(base_url=server.url, verify=trust, timeout=PATIENCE_S) as http:
            header = {"Authorization": f"Bearer {bearer}"}
            assert (await http.get("/api/sessions", headers=header)).status_code == 200
            assert (await http.get(f"/api/sessions?token={bearer}")).status_code == 200
            assert (await http.get(f"/stage?token={bearer}x")).status_code == 401
            assert (await http.get(there)).status_code == 401
        async with connect(f"{address}?token={bearer}", ssl=trust) as socket:
            assert (await Talker(socket).hello())["can_edit"] is True
    told = log.read_text()
    assert "refused reason=used_token" in told and "GET /api/sessions" in told
    secret = (state / "secret").read_text()
    shown = [server.token, another.partition("token=")[2], cookie.partition("=")[2], bearer]
    for text in (*shown, secret):
        assert text[-16:] not in told
    # The link stays used when the server comes back; the cookie and the certificate stay good.
    async with (
        started(log, "--host", "0.0.0.0", *flags) as again,
        httpx.AsyncClient(base_url=again.url, verify=trust, timeout=PATIENCE_S) as http,
    ):
        assert (await http.get(f"/?token={server.token}")).status_code == 401
        assert (await http.get("/", headers={"Cookie": cookie})).status_code == 200
