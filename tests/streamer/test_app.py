"""Pages, lists, health and headers; and the hub behind them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import av
import httpx
import pytest
import pytest_asyncio

from daetalker.models.bundle import BundleError
from daetalker.streamer.app import create_app
from daetalker.streamer.capacity import capacity
from daetalker.streamer.hub import Hub
from daetalker.streamer.page import SECURITY_HEADERS, asset, load_page
from daetalker.streamer.profile import Profile
from daetalker.streamer.protocol import ProtocolError
from daetalker.streamer.server import bind, url_of
from daetalker.streamer.settings import SettingsError
from tests.streamer.serving import settings_for
from tests.tiny import make_tiny_bundle

PAGE = {
    "/": asset(b"<h1>hello</h1>", "text/html; charset=utf-8"),
    "/main.js": asset(b"1;", "text/javascript; charset=utf-8"),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("avatar") / "tiny", size=32)


@pytest_asyncio.fixture
async def hub(bundle: Path) -> AsyncIterator[Hub]:
    hub = Hub(settings_for(bundle, max_clients=1))
    await hub.start()
    yield hub
    await hub.stop()


@pytest_asyncio.fixture
async def http(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(hub, PAGE))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http


async def test_every_answer_carries_the_security_headers(http: httpx.AsyncClient) -> None:
    for path in ("/", "/main.js", "/nothing", "/healthz", "/avatar/nobody/preview.png"):
        answer = await http.get(path)
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value, (path, name)
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


async def test_files_are_served_and_revalidated(http: httpx.AsyncClient) -> None:
    answer = await http.get("/main.js")
    assert (answer.status_code, answer.content) == (200, b"1;")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    again = await http.get("/main.js", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await http.head("/")).status_code == 200
    assert (await http.post("/")).status_code == 405


@pytest.mark.parametrize("path", ["/x.js", "/../pyproject.toml", "/%2e%2e/hub.py", "//etc/passwd"])
async def test_what_is_not_the_page_is_not_found(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


async def test_health(http: httpx.AsyncClient, hub: Hub) -> None:
    answer = await http.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["max_clients"] == 1
    await hub.stop()
    answer = await http.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")


async def test_avatars_are_listed_as_in_a_welcome(http: httpx.AsyncClient, hub: Hub) -> None:
    manifest = (await hub.avatar()).bundle.manifest
    assert (await http.get("/api/avatars")).json()[0]["name"] == hub.default_avatar == "tiny"
    listed = {avatar["name"]: avatar for avatar in (await http.get("/api/avatars")).json()}
    mine = listed[manifest.name]
    assert mine["size"] == manifest.size
    assert mine["pose_range"]["yaw"] == list(manifest.pose_range_deg["yaw"])
    assert [preset["name"] for preset in mine["presets"]] == [p.name for p in manifest.presets]
    fields = {"name", "label", "yaw", "pitch", "roll", "ease_s", "natural", "hold_s", "own"}
    assert set(mine["presets"][0]) == fields


async def test_a_preview_is_a_picture_of_the_avatar(http: httpx.AsyncClient, hub: Hub) -> None:
    answer = await http.get(f"/avatar/{hub.default_avatar}/preview.png")
    assert answer.headers["content-type"] == "image/png"
    with av.open(BytesIO(answer.content), "r") as file:
        frame = next(file.decode(video=0))
    assert (frame.width, frame.height) == (32, 32)
    assert (await http.get("/avatar/nobody/preview.png")).status_code == 404


def test_the_packaged_page_is_complete_and_clean() -> None:
    page = load_page()
    assert page["/"].media_type == "text/html; charset=utf-8"
    assert "/main.js" in page and "/style.css" in page
    assert not [name for name in page if ".test." in name or "package" in name]
    assert sum(len(found.body) for found in page.values()) < 2_000_000


def test_no_script_or_style_stands_in_a_page() -> None:
    """The content security policy would keep it from working; here it cannot even come in."""
    served = {path: found.body.decode() for path, found in load_page().items()}
    pages = {path: text for path, text in served.items() if text.startswith("<!doctype html>")}
    assert len(pages) >= 3
    for path, text in pages.items():
        for tag in re.findall(r"<script\b.*?</script>", text, re.DOTALL):
            assert re.fullmatch(r'<script type="module" src="[\w./-]+"></script>', tag), (path, tag)
        assert not re.findall(r"<style\b|\sstyle=|\son\w+=|javascript:", text, re.I), path
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', text), path
    scripts = {path: text for path, text in served.items() if path.endswith(".js")}
    scripts |= {
        str(path): path.read_text()
        for path in (Path(__file__).parents[2] / "plugins").glob("*/*.js")
    }
    evil = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|cssText"
    for path, text in scripts.items():
        assert not re.findall(evil, text), path


async def test_seats_run_out_and_come_back(hub: Hub) -> None:
    avatar = await hub.avatar()
    with hub.seat(avatar, "127.0.0.1", "talk") as first:
        assert first
        with pytest.raises(ProtocolError) as caught, hub.seat(avatar, "a program", "program"):
            pass
        assert caught.value.code == "server_full"
        assert hub.full() == caught.value.message and "max_clients" in hub.full()
    assert not hub.full()
    with hub.seat(avatar, "127.0.0.1", "talk") as second:
        assert second != first


async def test_clients_name_avatars_and_never_paths(hub: Hub, bundle: Path) -> None:
    for name in (str(bundle), "..", "nobody"):
        with pytest.raises(ProtocolError) as caught:
            await hub.avatar(name)
        assert caught.value.code == "unknown_avatar"


async def test_a_missing_avatar_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        await Hub(settings_for(tmp_path / "nobody")).start()


async def test_stopping_waits_for_sessions_but_not_for_ever(hub: Hub) -> None:
    with hub.seat(await hub.avatar(), "127.0.0.1", "talk"):
        await asyncio.wait_for(hub.stop(timeout_s=0.01), 30)
    await hub.stop()


async def test_a_taken_port_is_one_sentence(bundle: Path) -> None:
    settings = settings_for(bundle)
    first = bind(settings)
    try:
        port = first.getsockname()[1]
        assert url_of(settings, first) == f"http://127.0.0.1:{port}"
        with pytest.raises(SettingsError, match=f"port {port}.*--port"):
            bind(settings_for(bundle, port=port))
    finally:
        first.close()
    with pytest.raises(SettingsError, match=r"192\.0\.2\.77"):
        bind(settings_for(bundle, host="192.0.2.77"))
    with pytest.raises(SettingsError, match=r"nowhere\.invalid"):
        bind(settings_for(bundle, host="nowhere.invalid"))


def test_capacity_follows_the_arithmetic() -> None:
    profile = Profile("test", hop_frames=4, lookahead_frames=3)
    times = {"acoustic": 20.0, "speech": 10.0, "latent": 10.0, "student": 10.0}
    able = capacity(times, profile)  # 40 ms a hop of 4 frames and 10 ms a frame: 20 of 40 ms
    assert able.share == pytest.approx(0.5)
    assert (able.people, able.tier, able.advice) == (1, "full", "")
    assert capacity(times | {"student": 2.0}, profile).people == 2
    assert capacity(times, profile, workers=2).people == 3
    assert capacity(times | {"student": 26.0}, profile).tier == "tight"
    slow = capacity(times | {"student": 70.0}, profile)
    assert slow.tier == "reduced"
    assert "12 frames" in slow.advice
