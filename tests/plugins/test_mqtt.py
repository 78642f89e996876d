"""The MQTT plugin's parts that need no broker."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from daetalker.plugins.mqtt import MqttPlugin, MqttSettings
from daetalker.plugins.mqtt.broker import check
from daetalker.plugins.mqtt.commands import lacks_angles, read_command
from daetalker.plugins.mqtt.discovery import Shown, describe
from daetalker.plugins.mqtt.link import Backoff
from daetalker.plugins.mqtt.outbox import REPEAT_S, Outbox, Post
from daetalker.plugins.mqtt.settings import safe_name
from daetalker.plugins.mqtt.topics import Address, Topics, alias_of
from daetalker.streamer.plugin import MissingExtra
from daetalker.streamer.protocol import ProtocolError, parse_command
from daetalker.streamer.settings import SettingsError, plugin_settings

TOPICS = Topics("home/talker", "desk", "homeassistant")
SHOWN = Shown("Tiny", ("front", "left"), {"yaw": (-30, 30), "pitch": (-18, 18), "roll": (-9, 9)})


def settings_of(**values: Any) -> MqttSettings:
    return MqttSettings.model_validate(values)


# --- settings -----------------------------------------------------------------------------------


def test_a_url_says_it_all() -> None:
    settings = settings_of(url="mqtts://ann:p%2Fw%40d@broker.example:9999")
    assert (settings.host, settings.broker_port, settings.tls) == ("broker.example", 9999, True)
    assert settings.username == "ann"
    assert settings.read_password() == "p/w@d"


def test_ports_follow_tls() -> None:
    assert settings_of().broker_port == 1883
    assert settings_of(tls=True).broker_port == 8883
    assert settings_of(url="mqtts://broker").broker_port == 8883
    assert settings_of(url="mqtt://[::1]").host == "::1"


def test_a_password_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("opensesame\n")
    assert settings_of(username="ann", password_file=file).read_password() == "opensesame"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"url": "http://broker"}, "mqtt://"),
        ({"url": "mqtt://"}, "no host"),
        ({"url": "mqtt://u:hunter2@broker:port"}, "port"),
        ({"url": "mqtt://u:hun/ter2@broker"}, "%2F"),
        ({"url": "mqtt://u:hunter2@broker", "host": "other"}, "twice"),
        ({"url": 5}, "url"),
        ({"password": "hunter2"}, "username"),
        ({"username": "ann", "password": 2}, "password"),
        ({"username": "ann", "password": "hunter2", "password_file": __file__}, "not both"),
        ({"ca_file": __file__}, "tls"),
        ({"insecure": True}, "tls"),
        ({"tls": True, "key_file": __file__}, "cert_file"),
        ({"tls": True, "ca_file": "/no/such/file"}, "/no/such/file"),
        ({"node": "my desk"}, "letters"),
        ({"prefix": "a/#"}, "topic levels"),
        ({"prefix": "/a"}, "topic levels"),
        ({"discovery_prefix": "$SYS"}, "topic levels"),
        ({"port": 0}, "port"),
        ({"state_interval_s": 0.01}, "state_interval_s"),
        ({"pasword": "hunter2"}, "no such setting"),
    ],
)
def test_wrong_settings_are_explained_without_the_password(
    values: dict[str, Any], word: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        plugin_settings(MqttSettings, "mqtt", values)
    assert word in str(caught.value)
    assert "hunter2" not in str(caught.value) and "hun/ter2" not in str(caught.value)


def test_secrets_do_not_show() -> None:
    settings = settings_of(url="mqtt://ann:hunter2@broker")
    assert "hunter2" not in repr(settings) + str(settings) + settings.broker
    with pytest.raises(ValidationError) as caught:
        settings_of(username="ann", password="hunter2", port="x")
    assert "hunter2" not in str(caught.value.errors(include_input=False))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAETALKER_MQTT_PORT", "1884")
    monkeypatch.setenv("DAETALKER_MQTT_DISCOVERY", "false")
    settings = plugin_settings(MqttSettings, "mqtt", {"host": "broker"})
    assert (settings.host, settings.port, settings.discovery) == ("broker", 1884, False)


def test_the_machine_s_name_is_made_fit() -> None:
    assert safe_name("Ann's laptop.local") == "Ann_s_laptop_local"
    assert safe_name("+#/") == "server"
    assert settings_of().node


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MqttPlugin.name == "mqtt" and MqttPlugin.Settings is MqttSettings
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    with pytest.raises(MissingExtra, match=r'pip install "daetalker\[mqtt\]"'):
        check(settings_of())
    (finding,) = MqttPlugin.examine(settings_of())
    assert finding.status == "error" and finding.fix == 'pip install "daetalker[mqtt]"'


# --- topics -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("home/talker/desk/command", Address("latest", "")),
        ("home/talker/desk/command/preset", Address("latest", "preset")),
        ("home/talker/desk/all/command/mute", Address("all", "mute")),
        ("home/talker/desk/session/ab12/command", Address("ab12", "")),
        ("home/talker/desk/session/ab12/command/say", Address("ab12", "say")),
        ("home/talker/desk/command/preset/x", Address("latest", "preset/x")),
        ("home/talker/desk/state", None),
        ("home/talker/desk2/command/preset", None),
        ("other/command/preset", None),
    ],
)
def test_addresses(topic: str, expected: Address | None) -> None:
    assert TOPICS.address(topic) == expected


def test_session_states_are_told_from_other_topics() -> None:
    assert TOPICS.is_session_state(TOPICS.session_state("ab12"))
    assert not TOPICS.is_session_state(TOPICS.state)
    assert not TOPICS.is_session_state("home/talker/desk/session/ab12/command")


def test_topics_do_not_give_a_session_s_key_away() -> None:
    assert alias_of("0123456789abcdef") == alias_of("0123456789abcdef") != alias_of("1")
    assert "01234567" not in alias_of("0123456789abcdef")


# --- commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("preset", b"left", {"type": "preset", "name": "left"}),
        ("preset", b' {"name": "left"}\n', {"type": "preset", "name": "left"}),
        ("pose", b"10, 0,-5.5", {"type": "pose", "yaw": 10.0, "pitch": 0.0, "roll": -5.5}),
        ("pose", b'{"yaw": 3}', {"type": "pose", "yaw": 3}),
        ("natural", b"PRESS", {"type": "natural"}),
        ("interrupt", b"\xff\x00", {"type": "interrupt"}),
        ("mute", b"ON", {"type": "mute", "on": True}),
        ("mute", b"off", {"type": "mute", "on": False}),
        ("mute", b'{"on": true}', {"type": "mute", "on": True}),
        ("say", "grüß.wav".encode(), {"type": "say", "file": "grüß.wav"}),
        ("", b'{"type": "mute", "on": true}', {"type": "mute", "on": True}),
    ],
)
def test_payloads(kind: str, payload: bytes, expected: dict[str, Any]) -> None:
    command = read_command(kind, payload)
    assert command == expected
    assert lacks_angles(command) or parse_command(command)


@pytest.mark.parametrize(
    ("kind", "payload", "word"),
    [
        ("mute", b"maybe", "ON or OFF"),
        ("pose", b"left", "degrees"),
        ("pose", b"1,2", "degrees"),
        ("pose", b"{1,2", "not JSON"),
        ("pose", b"{" + b'"a":[' * 10_000, "not JSON"),
        ("preset", b"\xff\xfe", "UTF-8"),
        ("preset", b'{"type": "mute", "on": true}', "'preset'"),
        ("", b"left", "not JSON"),
        ("", b"[1]", "JSON object"),
        ("wave", b"1", "preset, pose, natural"),
        ("preset", b"x" * 70_000, "65536"),
    ],
)
def test_wrong_payloads(kind: str, payload: bytes, word: str) -> None:
    with pytest.raises(ProtocolError, match=word):
        read_command(kind, payload)


def test_some_angles_are_not_all() -> None:
    assert lacks_angles({"type": "pose", "yaw": 9, "roll": 1})
    assert not lacks_angles({"type": "pose", "yaw": 9, "roll": 1, "pitch": 0})
    assert not lacks_angles({"type": "pose"})
    assert not lacks_angles({"type": "mute", "on": True})


# --- outbox -------------------------------------------------------------------------------------


def drain(outbox: Outbox, now_s: float) -> list[Post]:
    posts = []
    while (post := outbox.next(now_s)) is not None:
        outbox.done(post, now_s)
        posts.append(post)
    return posts


def test_the_outbox_says_what_changed_once() -> None:
    outbox = Outbox()
    outbox.keep("a", "1")
    outbox.keep("b", "1")
    assert drain(outbox, 0.0) == [Post("a", "1", True), Post("b", "1", True)]
    outbox.keep("a", "1")
    outbox.keep("b", "2")
    assert drain(outbox, 1.0) == [Post("b", "2", True)]


def test_only_the_newest_waits_for_a_slow_broker() -> None:
    outbox = Outbox()
    for number in range(1000):
        outbox.keep("a", str(number))
        outbox.tell("error", str(number))
    posts = drain(outbox, 0.0)
    assert posts[-1] == Post("a", "999", True)
    assert len(posts) < 40


def test_what_changes_on_its_way_is_said_again() -> None:
    outbox = Outbox()
    outbox.keep("a", "1")
    post = outbox.next(0.0)
    assert post is not None
    outbox.keep("a", "2")
    outbox.done(post, 0.0)
    assert drain(outbox, 0.0) == [Post("a", "2", True)]


def test_a_repeated_topic_comes_every_30_seconds() -> None:
    outbox = Outbox()
    outbox.keep("a", "1", repeat=True)
    drain(outbox, 100.0)
    assert outbox.wait_s(110.0) == REPEAT_S - 10.0
    assert drain(outbox, 100.0 + REPEAT_S - 1.0) == []
    assert drain(outbox, 100.0 + REPEAT_S) == [Post("a", "1", True)]


def test_a_session_that_came_and_went_unseen_leaves_nothing() -> None:
    outbox = Outbox()
    outbox.keep("seen", "1")
    drain(outbox, 0.0)
    outbox.keep("unseen", "1")
    outbox.clear("unseen")
    outbox.clear("seen")
    assert drain(outbox, 0.0) == [Post("seen", "", True)]
    assert outbox.topics() == []


def test_a_session_that_ends_while_its_state_travels_is_taken_back() -> None:
    outbox = Outbox()
    outbox.keep("a", "1")
    post = outbox.next(0.0)
    outbox.clear("a")
    assert post is not None
    outbox.done(post, 0.0)
    assert drain(outbox, 0.0) == [Post("a", "", True)]


def test_again_says_everything_again() -> None:
    outbox = Outbox()
    outbox.keep("a", "1")
    outbox.keep("b", "1")
    drain(outbox, 0.0)
    outbox.again("b")
    assert [post.topic for post in drain(outbox, 0.0)] == ["b"]
    outbox.again()
    assert [post.topic for post in drain(outbox, 0.0)] == ["a", "b"]


# --- the rest -----------------------------------------------------------------------------------


def test_waits_grow_to_a_minute_and_are_spread() -> None:
    backoff = Backoff(random.Random(1))
    waits = [backoff.wait_s() for _ in range(12)]
    assert waits[0] == 1.0
    assert all(1.0 <= wait <= 60.0 for wait in waits)
    assert all(wait >= 30.0 for wait in waits[6:])
    assert len(set(waits[6:])) == 6
    backoff.reset()
    assert backoff.wait_s() == 1.0


REQUIRED = {
    "select": {"command_topic", "options"},
    "button": {"command_topic"},
    "switch": {"command_topic", "state_topic"},
    "binary_sensor": {"state_topic"},
    "sensor": {"state_topic"},
    "number": {"command_topic", "min", "max", "step"},
    "text": {"command_topic"},
}
"""What Home Assistant's own schemas of these platforms demand, or we mean to give."""


def test_discovery_has_what_home_assistant_demands() -> None:
    device = json.loads(describe(TOPICS, SHOWN, "http://192.0.2.7:8080"))
    assert device["device"]["identifiers"] and device["origin"]["name"]
    assert device["origin"]["sw_version"]
    assert device["availability_topic"] == TOPICS.status
    assert device["device"]["configuration_url"] == "http://192.0.2.7:8080"
    parts = device["components"]
    platforms = {name: part["platform"] for name, part in parts.items()}
    assert platforms == {
        "preset": "select",
        **dict.fromkeys(("natural", "interrupt"), "button"),
        "mute": "switch",
        "say": "text",
        **dict.fromkeys(("yaw", "pitch", "roll"), "number"),
        "speaking": "binary_sensor",
        **dict.fromkeys(("sessions", "fps", "latency"), "sensor"),
        **dict.fromkeys(("pose_yaw", "pose_pitch", "pose_roll"), "sensor"),
    }
    assert len({part["unique_id"] for part in parts.values()}) == len(parts)
    for part in parts.values():
        assert part.keys() >= REQUIRED[part["platform"]] | {"name", "unique_id"}
        if "command_topic" in part:
            assert TOPICS.address(part["command_topic"]) is not None
    assert parts["preset"]["options"] == ["front", "left"]
    assert (parts["roll"]["min"], parts["roll"]["max"]) == (-9, 9)


def test_an_address_that_is_another_machines_own_is_not_given() -> None:
    device = json.loads(describe(TOPICS, SHOWN, "http://127.0.0.1:8080"))
    assert "configuration_url" not in device["device"]


STATE: dict[str, Any] = {
    "pose": {"yaw": 1.5, "pitch": 2.0, "roll": 3.0},
    "aim": {"yaw": 10.0, "pitch": 0.0, "roll": 0.0},
    "preset": "left",
    "muted": True,
    "speaking": False,
    "sessions": 1,
    "fps": 25.0,
    "latency_ms": 340,
}
NOTHING: dict[str, Any] = {
    **dict.fromkeys(("pose", "aim", "preset", "fps", "latency_ms")),
    "muted": False,
    "speaking": False,
    "sessions": 0,
}


@pytest.mark.parametrize(
    ("name", "busy", "idle"),
    [
        ("preset", "left", "None"),
        ("mute", "ON", "OFF"),
        ("speaking", "OFF", "OFF"),
        ("sessions", "1", "0"),
        ("fps", "25.0", "None"),
        ("latency", "340", "None"),
        ("pose_yaw", "1.5", "None"),
        ("yaw", "10.0", "None"),
    ],
)
def test_home_assistant_s_templates_read_our_state(name: str, busy: str, idle: str) -> None:
    jinja2 = pytest.importorskip("jinja2", reason="Home Assistant's templates are jinja2's")
    part = json.loads(describe(TOPICS, SHOWN, "http://127.0.0.1"))["components"][name]
    template = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(
        part["value_template"]
    )
    assert template.render(value_json=STATE) == busy
    assert template.render(value_json=NOTHING) == idle


def test_home_assistant_s_numbers_send_a_pose() -> None:
    jinja2 = pytest.importorskip("jinja2", reason="Home Assistant's templates are jinja2's")
    part = json.loads(describe(TOPICS, SHOWN, "http://127.0.0.1"))["components"]["pitch"]
    payload = jinja2.Template(part["command_template"]).render(value=-4.5)
    assert read_command("pose", payload.encode()) == {"type": "pose", "pitch": -4.5}
