from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daetalker.streamer import protocol as p

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "protocol"


def _fixture(name: str, kind: str) -> list[Any]:
    found: list[Any] = json.loads((FIXTURES / name).read_text())[kind]
    return found


@pytest.mark.parametrize("message", _fixture("client.json", "valid"))
def test_good_client_messages_are_read(message: dict[str, Any]) -> None:
    parsed = p.parse_client_message(json.dumps(message))
    assert parsed.type == message["type"]
    for name, value in message.items():
        assert getattr(parsed, name) == value


@pytest.mark.parametrize("case", _fixture("client.json", "invalid"))
def test_bad_client_messages_are_refused(case: dict[str, Any]) -> None:
    message = case["message"]
    text = message if isinstance(message, str) else json.dumps(message)
    with pytest.raises(p.ProtocolError) as caught:
        p.parse_client_message(text)
    assert caught.value.code == case["code"]
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize("message", _fixture("server.json", "valid"))
def test_server_messages_keep_their_shape(message: dict[str, Any]) -> None:
    assert json.loads(p.to_json(p.parse_server_message(json.dumps(message)))) == message


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"type": "pose", "yaw": "1", "pitch": 0, "roll": 0}, "pose.yaw"),
        ({"type": "preset", "name": "x", "speed": 3}, "preset.speed"),
        ({"type": "dance"}, "type"),
        ({"protocol": 1}, "type"),
        ({"type": "candidate", "candidate": "", "sdpMid": None}, "candidate.sdpMLineIndex"),
    ],
)
def test_an_error_names_the_field(message: dict[str, Any], field: str) -> None:
    with pytest.raises(p.ProtocolError) as caught:
        p.parse_client_message(json.dumps(message))
    assert caught.value.message.startswith(field + ":")


def test_size_is_counted_in_bytes() -> None:
    room = p.MAX_MESSAGE_BYTES - len('{"type":"offer","sdp":""}')
    fits = '{"type":"offer","sdp":"' + "a" * room + '"}'
    assert isinstance(p.parse_client_message(fits), p.Offer)
    for text in (fits + " ", '{"type":"offer","sdp":"' + "é" * (room // 2 + 1) + '"}'):
        with pytest.raises(p.ProtocolError) as caught:
            p.parse_client_message(text)
        assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    "text", ["[" * 60_000, '{"type":"ping","id":' + "9" * 60_000 + "}", "\ud800"]
)
def test_hostile_text_is_only_a_bad_message(text: str) -> None:
    with pytest.raises(p.ProtocolError) as caught:
        p.parse_client_message(text)
    assert caught.value.code == "bad_message"


def test_nulls_are_sent_where_they_mean_something() -> None:
    state = p.State(
        speaking=False,
        fps=25,
        latency_ms=360,
        late=0,
        pose=p.PoseAngles(yaw=0, pitch=0, roll=0),
        preset=None,
        muted=False,
        load="ok",
    )
    assert json.loads(p.to_json(state))["preset"] is None
