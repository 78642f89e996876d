"""Targets: the messages of pages, agents and MQTT, and what the API reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from daetalker.plugins.agent.messages import read
from daetalker.plugins.mqtt.commands import KINDS, read_command
from daetalker.streamer import protocol as p
from tests.fuzz.target import Target, as_json, damaged, mistaken, texts

FIXTURES = Path(__file__).parents[1] / "fixtures/protocol/client.json"


def _good() -> list[dict[str, Any]]:
    """Messages that the protocol's own examples hold."""
    found: list[dict[str, Any]] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("type"), str):
                found.append(value)
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(json.loads(FIXTURES.read_text()))
    return found


GOOD = _good()
SEEDS = tuple(as_json(message).encode() for message in GOOD)
BOMBS = (
    "[" * 30_000,
    '{"type":' * 8_000,
    '{"type":"ping","id":' + "9" * 60_000 + "}",
    '{"type":"pose","yaw":1e999999999,"pitch":0,"roll":0}',
    '{"type":"mute","on":true,"on":false}',
    '{"type":"' + "\\ud800" * 9_000 + '"}',
    "9" * 70_000,
)
MESSAGES = (
    mistaken(GOOD).map(as_json)
    | damaged(list(SEEDS)).map(lambda data: data.decode(errors="surrogateescape"))
    | texts
    | st.sampled_from(BOMBS)
)


def refused(error: p.ProtocolError) -> None:
    """A refusal is one short sentence, and not what was sent."""
    assert error.message.endswith("."), error.message
    assert len(error.message) <= 400 and "\n" not in error.message, error.message


def client_message(text: str) -> None:
    """Read or refused; and what was read is written and read again as the same."""
    try:
        message = p.parse_client_message(text)
    except p.ProtocolError as error:
        return refused(error)
    again = p.to_json(message)
    assert p.parse_client_message(again) == message


def command(document: Any) -> None:
    """The same for commands, as text, bytes or a table."""
    try:
        message = p.parse_command(document)
    except p.ProtocolError as error:
        return refused(error)
    assert p.parse_command(p.to_json(message)) == message


def agent_message(text: str) -> None:
    """What an agent may say is a part of it."""
    try:
        read(text)
    except p.ProtocolError as error:
        refused(error)


def mqtt_payload(case: tuple[str, bytes]) -> None:
    """A payload is refused, or a table that the protocol then reads or refuses."""
    try:
        command(read_command(*case))
    except p.ProtocolError as error:
        refused(error)


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


TARGETS = (
    Target("message", MESSAGES, client_message, 3.0, SEEDS, _text),
    Target("command", MESSAGES | mistaken(GOOD) | damaged(list(SEEDS)), command, 3.0, SEEDS, bytes),
    Target("agent", MESSAGES, agent_message, 2.0, SEEDS, _text),
    Target(
        "mqtt",
        st.tuples(
            st.sampled_from(["", *KINDS, "other"]),
            damaged([*SEEDS, b"left", b"10,0,-5", b"ON", b'{"yaw": 1}']) | st.binary(max_size=60),
        ),
        mqtt_payload,
        2.0,
        (b"\x02" + b"10,0,-5", b"\x00" + SEEDS[0]),
        lambda data: (["", *KINDS][data[0] % (len(KINDS) + 1)] if data else "", data[1:]),
    ),
)
