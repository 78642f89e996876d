"""The MQTT plugin in a real server with a real mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiomqtt", reason="the MQTT plugin needs the extra mqtt (aiomqtt)")

from daetalker.models.bundle import Preset
from daetalker.plugins.mqtt import MqttPlugin, MqttSettings, broker, link
from daetalker.plugins.mqtt.loopback import BrokerError, LocalBroker, find_mosquitto
from daetalker.plugins.mqtt.measure import measure_mqtt_to_frame
from daetalker.plugins.mqtt.topics import alias_of
from daetalker.streamer.live_session import LiveSession
from daetalker.streamer.media import FPS
from tests.plugins.serving import PATIENCE_S, Running, served
from tests.plugins.watching import Watcher, Wire, watching
from tests.tiny import tiny_speech, to_pcm

try:
    find_mosquitto()
except BrokerError as error:
    pytest.skip(str(error), allow_module_level=True)

ROOT = "daetalker/desk"
STATE, STATUS = f"{ROOT}/state", f"{ROOT}/status"
DISCOVERY = "homeassistant/device/daetalker_desk/config"
LOGGER = "daetalker.plugin.mqtt"
DOCS = Path(__file__).parents[2] / "docs/mqtt.md"


@pytest.fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[LocalBroker]:
    async with LocalBroker.running(tmp_path) as running:
        yield running


@contextlib.asynccontextmanager
async def server(
    bundle: Path, tmp_path: Path, port: int, voices: Path | None = None, **own: Any
) -> AsyncIterator[Running]:
    settings = {"host": "127.0.0.1", "port": port, "node": "desk", "state_interval_s": 0.2, **own}
    async with served(
        bundle,
        [MqttPlugin],
        {"mqtt": settings},
        presets=tmp_path / "presets.toml",
        voice_folder=voices,
    ) as running:
        yield running


@contextlib.asynccontextmanager
async def session_of(running: Running) -> AsyncIterator[LiveSession]:
    session = await running.hub.open_session()
    try:
        yield session
    finally:
        await session.close()


async def online(watcher: Watcher, after: int = 0) -> None:
    await watcher.until_text(STATUS, "online", after)


async def told(watcher: Watcher, topic: str, after: int = 0) -> dict[str, Any]:
    """The answer to a bad command."""
    return await watcher.until_json(f"{ROOT}/error", lambda e: e["topic"] == topic, after)


def yaw_of(state: dict[str, Any]) -> float:
    return float(state["pose"]["yaw"]) if state["pose"] else 0.0


def lines(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == LOGGER and word in r.getMessage()]


async def test_late_comers_learn_everything(
    bundle: Path, tmp_path: Path, mosquitto: LocalBroker
) -> None:
    async with (
        server(bundle, tmp_path, mosquitto.port) as running,
        session_of(running) as session,
        watching(mosquitto.port) as early,
    ):
        topic = f"{ROOT}/session/{alias_of(session.id)}/state"
        await early.until_json(topic, lambda state: state["fps"] > 20)
        async with watching(mosquitto.port) as late:
            assert (await late.until_text(STATUS, "online")).retained
            state = await late.until_json(STATE)
            assert state["sessions"] == 1 and state["avatar"] == "tiny"
            assert state["latency_ms"] == round(session.delay_s * 1000)
            assert state["session"] == alias_of(session.id) and session.id not in str(late.seen)
            assert set(state["pose"]) == {"yaw", "pitch", "roll"}
            await late.until_json(topic)
            device = await late.until_json(DISCOVERY)
            assert "left" in device["components"]["preset"]["options"]
            await session.close()
            await late.until_text(topic, "")  # taken back
            await late.until_json(STATE, lambda state: state["sessions"] == 0)
        count = len(early.seen)
    # The server is down: nobody is told of a face that is not there.
    async with watching(mosquitto.port) as after:
        await after.until_text(STATUS, "offline")
        assert json.loads(after.last(STATE) or "{}")["sessions"] == 0
        assert after.last(topic) is None
    assert early.seen[count - 1].topic.startswith(("daetalker/", "homeassistant/"))


async def test_commands_do_what_they_say(
    bundle: Path, tmp_path: Path, mosquitto: LocalBroker
) -> None:
    async with (
        server(bundle, tmp_path, mosquitto.port) as running,
        watching(mosquitto.port) as watcher,
        session_of(running) as older,
        session_of(running) as newer,
    ):
        await watcher.until_json(STATE, lambda state: state["sessions"] == 2)
        await watcher.say(f"{ROOT}/command/preset", "left")
        await watcher.until_json(STATE, lambda state: state["preset"] == "left")
        await watcher.until_json(STATE, lambda state: yaw_of(state) > 15)
        assert older.state().preset is None, "only the newest session is meant"

        await watcher.say(f"{ROOT}/session/{alias_of(older.id)}/command/pose", "-12,4,2")
        older_state = f"{ROOT}/session/{alias_of(older.id)}/state"
        await watcher.until_json(older_state, lambda state: yaw_of(state) < -8)
        assert newer.state().preset == "left"

        await watcher.say(f"{ROOT}/command/pose", '{"yaw": 5, "ease_s": 0.1, "natural": 0}')
        await watcher.say(f"{ROOT}/command/pose", '{"pitch": 40, "ease_s": 0.1, "natural": 0}')
        state = await watcher.until_json(STATE, lambda s: s["aim"] and s["aim"]["pitch"] > 10)
        assert state["aim"]["yaw"] == 5 and state["aim"]["pitch"] == 18, "kept, and clamped"
        await watcher.until_json(STATE, lambda s: abs(yaw_of(s) - 5) < 0.2 and s["aim"])

        await watcher.say(f"{ROOT}/all/command/mute", "ON")
        await watcher.until_json(STATE, lambda state: state["muted"])
        await watcher.until_json(older_state, lambda state: state["muted"])
        await watcher.say(f"{ROOT}/command", '{"type": "mute", "on": false}')
        await watcher.until_json(STATE, lambda s: not s["muted"], after=len(watcher.seen))

        await watcher.say(f"{ROOT}/command/natural", "PRESS")
        await watcher.until_json(STATE, lambda s: not s["aim"], after=len(watcher.seen))


async def test_a_file_is_said_and_interrupted(
    bundle: Path, tmp_path: Path, mosquitto: LocalBroker
) -> None:
    voices = tmp_path / "voices"
    voices.mkdir()
    write_wav(voices / "hello.wav", seconds=30.0)
    async with (
        server(bundle, tmp_path, mosquitto.port, voices) as running,
        watching(mosquitto.port) as watcher,
        session_of(running),
    ):
        await watcher.until_json(STATE, lambda state: state["sessions"] == 1)
        await watcher.say(f"{ROOT}/command/say", "hello.wav")
        await watcher.until_json(STATE, lambda state: state["speaking"])
        seen = len(watcher.seen)
        await watcher.say(f"{ROOT}/command/interrupt")
        await watcher.until_json(STATE, lambda state: not state["speaking"], after=seen)
        await watcher.say(f"{ROOT}/command/say", "../hello.wav")
        assert (await told(watcher, f"{ROOT}/command/say"))["code"] == "unknown_voice"


def write_wav(path: Path, seconds: float) -> None:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(to_pcm(tiny_speech(seconds)).tobytes())


async def test_what_cannot_be_done_is_answered(
    bundle: Path, tmp_path: Path, mosquitto: LocalBroker
) -> None:
    bad: list[tuple[str, str | bytes, str]] = [
        (f"{ROOT}/command", "{", "bad_message"),
        (f"{ROOT}/command", '{"yaw": 1}', "bad_message"),
        (f"{ROOT}/command", '{"type": ["pose"], "yaw": 1}', "bad_message"),
        (f"{ROOT}/command/wave", "", "bad_message"),
        (f"{ROOT}/command/pose", '{"yaw": "far"}', "bad_message"),
        (f"{ROOT}/command/pose", '{"yaw": 1e999}', "bad_message"),
        (f"{ROOT}/command/preset", "nose", "unknown_preset"),
        (f"{ROOT}/command/preset", '{"name": "\\ud800"}', "bad_message"),
        (f"{ROOT}/command/mute", b"\x00\xff\xfe", "bad_message"),
        (f"{ROOT}/command/say", b"x" * 70_000, "too_large"),
        (f"{ROOT}/command/say", b"a\x00b", "unknown_voice"),
        (f"{ROOT}/session/nobody/command/interrupt", "", "unknown_session"),
    ]
    async with (
        server(bundle, tmp_path, mosquitto.port) as running,
        watching(mosquitto.port) as watcher,
    ):
        await online(watcher)
        await watcher.say(f"{ROOT}/all/command/interrupt")
        assert (await told(watcher, f"{ROOT}/all/command/interrupt"))["code"] == "unknown_session"
        async with session_of(running) as session:
            await watcher.until_json(STATE, lambda state: state["sessions"] == 1)
            for topic, payload, code in bad:
                seen = len(watcher.seen)
                await watcher.say(topic, payload)
                error = await told(watcher, topic, after=seen)
                assert error["code"] == code and error["message"].endswith("."), error
            assert session.state().preset is None
        assert running.plugins.report()[0]["state"] == "running"


async def test_a_flood_is_dammed(bundle: Path, tmp_path: Path, mosquitto: LocalBroker) -> None:
    async with (
        server(bundle, tmp_path, mosquitto.port) as running,
        watching(mosquitto.port) as watcher,
        session_of(running),
    ):
        await watcher.until_json(STATE, lambda state: state["sessions"] == 1)
        for number in range(2000):
            await watcher.say(f"{ROOT}/command/pose", f"{number % 20},0,0", qos=0)
        await told(watcher, f"{ROOT}/command/pose")
        errors = [seen for seen in watcher.seen if seen.topic == f"{ROOT}/error"]
        assert len(errors) < 100
        # Neither is the plugin thrown out, nor does it stay deaf.
        await asyncio.sleep(1.0)
        await watcher.say(f"{ROOT}/command/preset", "left")
        await watcher.until_json(STATE, lambda state: state["preset"] == "left")
        assert running.plugins.report()[0]["state"] == "running"


async def test_retained_commands_do_not_fire(
    bundle: Path, tmp_path: Path, mosquitto: LocalBroker
) -> None:
    async with watching(mosquitto.port) as watcher, Wire.to(mosquitto.port) as wire:
        await watcher.say(f"{ROOT}/command/preset", "left", retain=True)
        await watcher.say(f"{ROOT}/all/command/mute", "ON", retain=True)
        async with server(bundle, tmp_path, wire.port) as running, session_of(running) as session:
            await watcher.until_json(STATE, lambda state: state["sessions"] == 1)
            seen = len(watcher.seen)
            wire.cut()  # they are delivered once more when it comes back
            await online(watcher, after=seen)
            await watcher.say(f"{ROOT}/command/interrupt")
            await watcher.say(f"{ROOT}/command/pose", "3,0,0")
            await watcher.until_json(STATE, lambda state: state["aim"])
            assert session.state().preset is None and not session.state().muted


async def test_the_will_speaks_when_the_wire_is_cut(
    bundle: Path, tmp_path: Path, mosquitto: LocalBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    async with (
        watching(mosquitto.port) as watcher,
        Wire.to(mosquitto.port) as wire,
        server(bundle, tmp_path, wire.port),
    ):
        await online(watcher)
        seen = len(watcher.seen)
        wire.cut()
        await watcher.until_text(STATUS, "offline", after=seen)
        await online(watcher, after=seen)
    assert len(lines(caplog, "no broker")) == 1
    assert len(lines(caplog, "connected")) == 2


async def test_sessions_do_not_notice_a_dead_broker(
    bundle: Path, tmp_path: Path, mosquitto: LocalBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    async with (
        server(bundle, tmp_path, mosquitto.port) as running,
        session_of(running) as session,
        session.outlet(frames=1000) as outlet,
    ):
        async with watching(mosquitto.port) as watcher:
            await watcher.until_json(STATE, lambda state: state["sessions"] == 1)
        first = await outlet.video()
        began_s = asyncio.get_running_loop().time()
        await mosquitto.stop()
        await asyncio.sleep(1.5)  # some tries in vain
        await mosquitto.start()
        async with watching(mosquitto.port) as watcher:
            await online(watcher)
            await watcher.until_json(STATE, lambda state: state["sessions"] == 1)
            await watcher.say(f"{ROOT}/command/preset", "left")
            await watcher.until_json(STATE, lambda state: state["preset"] == "left")
        taken_s = asyncio.get_running_loop().time() - began_s
        frames = outlet.waiting_video()
        assert frames[-1].index - first.index > (taken_s - 0.5) * FPS * 0.9
        assert len(frames) > taken_s * FPS * 0.7, "frames come at their rate all the time"
    assert len(lines(caplog, "no broker")) == 1
    assert len(lines(caplog, "connected")) == 2


async def test_a_broker_may_come_later(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    late = LocalBroker(tmp_path)
    async with server(bundle, tmp_path, late.port) as running:  # ready without it
        assert running.plugins.report()[0]["state"] == "running"
        await asyncio.sleep(1.2)
        await late.start()
        try:
            async with watching(late.port) as watcher:
                await online(watcher)
        finally:
            await late.stop()
    assert len(lines(caplog, "nothing listens")) == 1


async def test_a_hanging_broker_is_noticed(
    bundle: Path,
    tmp_path: Path,
    mosquitto: LocalBroker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker, "TIMEOUT_S", 1.0)
    async with server(bundle, tmp_path, mosquitto.port) as running, session_of(running):
        async with watching(mosquitto.port) as watcher:
            await watcher.until_json(STATE, lambda state: state["sessions"] == 1)
        mosquitto.hang()
        async with asyncio.timeout(PATIENCE_S):
            # First its confirmations fail to come, then, at the next try, its welcome.
            while len(lines(caplog, "does not answer")) < 1:
                await asyncio.sleep(0.05)
        mosquitto.go_on()
        async with watching(mosquitto.port) as watcher:
            seen = len(watcher.seen)
            await watcher.until_json(STATE, lambda state: state["sessions"] == 1, after=seen)
            await online(watcher)


async def test_stopping_does_not_wait_for_a_hanging_broker(
    bundle: Path, tmp_path: Path, mosquitto: LocalBroker
) -> None:
    loop = asyncio.get_running_loop()
    async with server(bundle, tmp_path, mosquitto.port):
        async with watching(mosquitto.port) as watcher:
            await online(watcher)
        mosquitto.hang()
        began_s = loop.time()
    assert loop.time() - began_s < 15.0
    mosquitto.go_on()


async def test_home_assistant_is_told_again_when_it_comes_up(
    bundle: Path, tmp_path: Path, mosquitto: LocalBroker
) -> None:
    async with (
        server(bundle, tmp_path, mosquitto.port) as running,
        watching(mosquitto.port) as watcher,
        session_of(running),
    ):
        await watcher.until_json(DISCOVERY, lambda device: "preset" in device["components"])
        await online(watcher)
        seen = len(watcher.seen)
        await watcher.say("homeassistant/status", "online")
        await watcher.until_json(DISCOVERY, after=seen)
        await online(watcher, after=seen)

        # A preset that is saved, by whoever it is, becomes an option.
        book, manifest = running.hub.presets, running.hub.manifests()[0]
        preset = Preset(name="wink", label="Wink", yaw=3.0, pitch=0.0, roll=0.0)
        await asyncio.to_thread(book.save, manifest, preset)
        await watcher.until_json(
            DISCOVERY,
            lambda device: "wink" in device["components"]["preset"]["options"],
            after=seen,
        )


async def test_what_a_killed_server_left_is_cleared(
    bundle: Path, tmp_path: Path, mosquitto: LocalBroker
) -> None:
    orphan = f"{ROOT}/session/0badcafe/state"
    async with watching(mosquitto.port) as watcher:
        await watcher.say(orphan, "{}", retain=True)
        async with server(bundle, tmp_path, mosquitto.port) as running:
            await watcher.until_text(orphan, "")
            # Afterwards it does not listen to its own states any more.
            async with session_of(running):
                await watcher.until_json(STATE, lambda state: state["sessions"] == 1)
                await asyncio.sleep(link._SWEEP_S)


async def test_passwords_are_used_and_never_shown(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # The access list is the one that the documentation recommends.
    acl = tmp_path / "acl"
    acl.write_text(next(part for part in DOCS.read_text().split("```") if "\nuser " in part))
    table = tmp_path / "passwd"
    table.write_text("")
    for user in ("daetalker", "homeassistant"):
        hashing = await asyncio.create_subprocess_exec(
            *("mosquitto_passwd", "-b", str(table), user, "hunter2"),
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await hashing.wait() == 0
    config = ("allow_anonymous false", f"password_file {table}", f"acl_file {acl}")
    async with LocalBroker.running(tmp_path, config) as guarded:
        url = f"mqtt://daetalker:hunter2@127.0.0.1:{guarded.port}"
        right = MqttSettings.model_validate({"url": url})
        wrong = MqttSettings.model_validate({"url": url.replace("hunter2", "hunter3")})
        secret = tmp_path / "secret"
        secret.write_text("hunter2\n")
        own: dict[str, Any] = {"username": "daetalker", "password_file": secret}
        async with (
            watching(guarded.port, user="homeassistant", password="hunter2") as watcher,
            server(bundle, tmp_path, guarded.port, **own) as running,
            session_of(running),
        ):
            await online(watcher)
            good = await asyncio.to_thread(lambda: list(MqttPlugin.examine(right)))
            assert [finding.status for finding in good] == ["ok"]
            await watcher.until_json(DISCOVERY, lambda d: "preset" in d["components"])
            await watcher.say(f"{ROOT}/command/preset", "left")
            await watcher.until_json(STATE, lambda state: state["preset"] == "left")
        assert not lines(caplog, "does not let us")
        async with server(bundle, tmp_path, guarded.port, username="daetalker", password="hunter3"):
            async with asyncio.timeout(PATIENCE_S):
                while not lines(caplog, "does not accept"):
                    await asyncio.sleep(0.02)
        bad = await asyncio.to_thread(lambda: list(MqttPlugin.examine(wrong)))
        assert bad[0].status == "error" and "password" in bad[0].message and bad[0].fix
    for text in (caplog.text, str(good), str(bad)):
        assert "hunter" not in text


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_doctor_says_what_is_wrong(tmp_path: Path) -> None:
    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent:
        found = await asyncio.to_thread(examine, port=port)
    assert "does not answer" in found.message and found.fix
    assert "nothing listens" in examine(port=LocalBroker(tmp_path).port).message
    assert "no machine" in examine(host="no-such-machine.invalid").message
    assert "no machine" in examine(host="x" * 70).message


def examine(**values: Any) -> Any:
    settings = MqttSettings.model_validate({"host": "127.0.0.1", **values})
    finding = next(iter(MqttPlugin.examine(settings)))
    assert finding.status == "error"
    return finding


async def test_a_command_reaches_the_face(bundle: Path) -> None:
    figures = (await measure_mqtt_to_frame(str(bundle), commands=4))["mqtt_to_frame_ms"]
    assert 0.0 < figures["p50"] <= figures["p95"] < 10_000.0


async def test_the_example_turns_the_head(
    bundle: Path, tmp_path: Path, mosquitto: LocalBroker
) -> None:
    example = Path(__file__).parents[2] / "examples/mqtt_presets.py"
    async with (
        server(bundle, tmp_path, mosquitto.port) as running,
        watching(mosquitto.port) as watcher,
        session_of(running),
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(example), "--port", str(mosquitto.port), "--node", "desk"),
            *("--home", "front", "--quiet-s", "0.3"),
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            await watcher.until_json(STATE, lambda s: s["preset"] not in (None, "front"))
        finally:
            process.kill()
            await process.wait()
