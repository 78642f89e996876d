"""What the server says of itself, against what its clients saw."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
import pytest_asyncio
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from prometheus_client.parser import text_string_to_metric_families
from starlette.datastructures import Headers

from daetalker.streamer.errors import EngineError
from daetalker.streamer.grants import Grant
from daetalker.streamer.hub import Hub
from daetalker.streamer.logs import JsonFormatter
from daetalker.streamer.operations import may_read_metrics, unready, watched_loop
from daetalker.streamer.settings import Settings
from tests.streamer.serving import PATIENCE_S, Running, buzz, running, settings_for, talker

TALK_FRAMES = 8


@pytest_asyncio.fixture
async def server(bundle: Path) -> AsyncIterator[Running]:
    async with running(settings_for(bundle, max_clients=1)) as server:
        yield server


async def get(server: Running, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        return await client.get(server.url + path, headers=headers)


async def scrape(server: Running) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by name and label values, in the order of the labels' names."""
    response = await get(server, "/metrics")
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    return {
        (sample.name, tuple(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


class Buzzing(MediaStreamTrack):
    """A microphone that buzzes, in real time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._sound = buzz(1.0)
        self._sent = 0
        self._start_s = 0.0

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        self._start_s = self._start_s or loop.time()
        await asyncio.sleep(max(0.0, self._start_s + self._sent / 48_000 - loop.time()))
        at = self._sent % self._sound.size
        frame = av.AudioFrame.from_ndarray(self._sound[None, at : at + 960], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._sent, Fraction(1, 48_000)
        self._sent += 960
        return frame


@contextlib.asynccontextmanager
async def talking(server: Running) -> AsyncIterator[tuple[list[int], asyncio.Event]]:
    """Talk; the times of the frames that came, and an event that is set when enough have."""
    seen: list[int] = []
    enough = asyncio.Event()

    async def watch(track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.VideoFrame) and frame.pts is not None
                seen.append(frame.pts)
                if len(seen) >= TALK_FRAMES:
                    enough.set()

    async with talker(server.url) as client:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.addTrack(Buzzing())
        connection.addTransceiver("video", direction="recvonly")
        tasks: list[asyncio.Task[Any]] = []

        @connection.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            if track.kind == "video":
                tasks.append(asyncio.create_task(watch(track)))

        try:
            assert (await client.hello())["type"] == "welcome"
            await connection.setLocalDescription()
            await client.say({"type": "offer", "sdp": connection.localDescription.sdp})
            answer = await client.hear("answer")
            await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
            yield seen, enough
        finally:
            await connection.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """What is logged in the block, as the server would write it in JSON."""
    lines: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    root, keep = logging.getLogger(), Keep()
    # A server started in this process may have told the libraries to be quiet.
    loud = {logger: logger.level for logger in (root, logging.getLogger("aioice"))}
    root.addHandler(keep)
    for logger in loud:
        logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        root.removeHandler(keep)
        for logger, level in loud.items():
            logger.setLevel(level)


async def test_every_line_of_a_session_names_it_those_of_the_libraries_too(
    server: Running,
) -> None:
    with logged() as lines:
        async with talking(server) as (_, enough):
            await asyncio.wait_for(enough.wait(), PATIENCE_S)
            (live,) = server.hub.live_sessions()
        await server.empty()
        await asyncio.sleep(0)
    of_session = [line for line in lines if line.get("session") == live.id]
    assert {line.get("session") for line in lines} <= {live.id, None}
    assert "aioice.ice" in {line["logger"] for line in of_session}, "its network checks"
    ended = [line["message"] for line in of_session if "ended" in line["message"]]
    assert len(ended) == 1 and live.id in ended[0]
    text = json.dumps(lines)
    for private in ("a=ice-pwd", "a=fingerprint", "v=0", "m=audio"):
        assert private not in text


async def test_after_a_talk_the_figures_agree_with_what_the_client_saw(server: Running) -> None:
    before = await scrape(server)
    assert before["daetalker_seats_taken", ()] == 0
    assert before["daetalker_ready", ()] == 1
    async with talking(server) as (seen, enough):
        await asyncio.wait_for(enough.wait(), PATIENCE_S)
        during = await scrape(server)
        (live,) = server.hub.live_sessions()
        stats = live.session.stats()
        assert during["daetalker_sessions", ("talk",)] == 1
        assert during["daetalker_seats_taken", ()] == 1
        assert during["daetalker_ready", ()] == 0, "the only place is taken"
        refused = await get(server, "/readyz")
        assert refused.status_code == 503
        assert refused.json()["reason"] == "full"
        assert int(refused.headers["retry-after"]) > 0
        async with talker(server.url) as other:
            assert (await other.hello())["code"] == "server_full"
    await server.empty()
    after = await scrape(server)

    def grew(name: str, *labels: str) -> float:
        return after[name, labels] - before.get((name, labels), 0.0)

    shown = grew("daetalker_frames_total", "shown")
    assert during["daetalker_frames_total", ("shown",)] <= stats.frames <= shown
    assert grew("daetalker_frames_total", "skipped") >= stats.skipped
    # Whatever the client decoded was shown, encoded and sent; of the last one the sender does not
    # know yet.  How much more was shown, before its first key frame, is a matter of the machine.
    assert TALK_FRAMES <= len(seen) <= grew("daetalker_stage_seconds_count", "encode") + 1
    assert grew("daetalker_stage_seconds_count", "encode") <= shown
    assert len(seen) <= grew("daetalker_av_drift_seconds_count") <= shown
    for stage in ("receive", "speech", "latents", "frame", "encode"):
        assert grew("daetalker_stage_seconds_count", stage) > 0, stage
        assert 0 <= grew("daetalker_stage_seconds_sum", stage) < 10 * PATIENCE_S, stage
    assert grew("daetalker_stage_seconds_count", "receive") > len(seen), "20 ms a packet"
    assert grew("daetalker_sessions_opened_total", "talk") == 1
    assert after["daetalker_sessions", ("talk",)] == 0
    assert after["daetalker_refused_total", ("server_full",)] == 1
    assert after["daetalker_event_loop_lag_seconds_count", ()] > 2
    assert after["process_resident_memory_bytes", ()] > 50e6
    assert after["daetalker_threads", ()] > 3


async def test_a_server_with_room_is_ready_and_one_that_stops_is_not(server: Running) -> None:
    ready = await get(server, "/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True})
    assert ready.headers["cache-control"] == "no-store"
    server.hub.stopping.set()
    stopping = await get(server, "/readyz")
    assert stopping.status_code == 503
    assert stopping.json()["reason"] == "stopping"


async def test_a_server_that_has_not_opened_its_avatar_is_starting(bundle: Path) -> None:
    refusal = unready(Hub(settings_for(bundle)))
    assert refusal is not None and refusal[0] == "starting"


async def test_an_engine_that_fails_is_told_and_tried_again(server: Running) -> None:
    engine = server.hub.engine
    works = engine.engine.frames

    def fails(_: Any) -> Any:
        raise EngineError("the network is broken")

    engine.engine.frames = fails  # type: ignore[assignment, method-assign]
    with pytest.raises(EngineError):
        await engine.frame(np.zeros(512, np.float32))
    for _ in range(2):
        answer = await get(server, "/readyz")
        assert answer.status_code == 503
        assert answer.json()["reason"] == "engine_failed"
    engine.engine.frames = works  # type: ignore[method-assign]
    assert (await get(server, "/readyz")).status_code == 200


def scope(settings: Settings, client: str, **headers: str) -> dict[str, Any]:
    raw = Headers({"host": "localhost:8080", **headers}).raw
    return {"type": "http", "grant": None, "client": (client, 5000), "headers": raw}


def test_metrics_are_for_this_machine_and_for_operators(bundle: Path) -> None:
    open_to_all = settings_for(bundle, host="0.0.0.0")
    assert may_read_metrics(scope(open_to_all, "127.0.0.1"), open_to_all)
    assert may_read_metrics(scope(open_to_all, "::1"), open_to_all)
    assert not may_read_metrics(scope(open_to_all, "192.0.2.7"), open_to_all)
    proxied = scope(open_to_all, "127.0.0.1", **{"x-forwarded-for": "192.0.2.7"})
    assert not may_read_metrics(proxied, open_to_all)
    rebound = scope(open_to_all, "127.0.0.1", host="evil.example")
    assert not may_read_metrics(rebound, open_to_all)
    guarded = settings_for(bundle, control_token="a token that is long enough")
    assert not may_read_metrics(scope(guarded, "127.0.0.1"), guarded)
    far = scope(guarded, "192.0.2.7")
    assert may_read_metrics({**far, "grant": Grant("operator")}, guarded)
    assert may_read_metrics({**far, "grant": Grant("metrics")}, guarded)
    assert not may_read_metrics({**far, "grant": Grant("talk")}, guarded)


async def test_metrics_behind_a_control_token(bundle: Path) -> None:
    async with running(settings_for(bundle, control_token="open sesame, please")) as server:
        refused = await get(server, "/metrics")
        assert refused.status_code in (401, 403)
        assert "daetalker_" not in refused.text and "token" in refused.text
        given = await get(server, "/metrics", Authorization="Bearer open sesame, please")
        assert given.status_code == 200
        assert 'reason="not_allowed"' in given.text


async def test_a_blocked_event_loop_shows(bundle: Path) -> None:
    import time

    from daetalker.streamer.metrics import Metrics
    from tests.streamer.test_metrics import value

    metrics = Metrics()
    async with watched_loop(metrics):
        await asyncio.sleep(0.01)
        time.sleep(0.6)
        await asyncio.sleep(0.3)
    slow = value(metrics, "daetalker_event_loop_lag_seconds_count") - value(
        metrics, "daetalker_event_loop_lag_seconds_bucket", le="0.16"
    )
    assert slow >= 1
