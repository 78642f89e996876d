"""Ports and servers, with a real TURN server and a real STUN server where there is one."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from daetalker.streamer import doctor_network as network
from daetalker.streamer.finding import Finding
from daetalker.streamer.server import bind
from tests.streamer.coturn import coturn
from tests.streamer.serving import settings_for

SECRET = "a secret that coturn shares with us"


def ice(folder: Path, answer_s: float = 10.0, **values: Any) -> list[Finding]:
    return list(network.ice(settings_for(folder, **values), answer_s))


def test_a_taken_port_is_an_error(tmp_path: Path) -> None:
    assert network.port(settings_for(tmp_path)).status == "ok"
    taken = bind(settings_for(tmp_path))
    try:
        found = network.port(settings_for(tmp_path, port=taken.getsockname()[1]))
    finally:
        taken.close()
    assert found.status == "error" and "--port" in found.fix


def test_a_machine_without_a_network_is_warned_of() -> None:
    assert network.network(["192.0.2.1"]).status == "ok"
    found = network.network([])
    assert found.status == "warning" and found.fix


def test_datagrams_arrive_at_this_machine_and_not_at_others(tmp_path: Path) -> None:
    assert network.udp(["127.0.0.1"]).status == "ok"
    deaf = network.udp(["192.0.2.77"])
    assert deaf.status == "error"
    assert "192.0.2.77" in deaf.message and "firewall" in deaf.fix
    few = tmp_path / "range"
    few.write_text("40000\t40009\n")
    narrow = network.udp(["127.0.0.1"], few)
    assert narrow.status == "warning" and "only 10 UDP ports 40000 to 40009" in narrow.message


def test_a_turn_server_lends_an_address_for_the_right_secret_only(tmp_path: Path) -> None:
    with coturn(tmp_path, "--use-auth-secret", f"--static-auth-secret={SECRET}") as port:
        for transport in ("udp", "tcp"):
            server = f"turn:127.0.0.1:{port}?transport={transport}"
            (right,) = ice(tmp_path, turn_servers=server, turn_secret=SECRET)
            assert right.status == "ok", right
            assert "lends an address (127.0.0.1)" in right.message
            (wrong,) = ice(tmp_path, turn_servers=server, turn_secret=SECRET + "!")
            assert wrong.status == "error", wrong
            assert "does not take the credentials" in wrong.message
            assert "static-auth-secret" in wrong.fix
        # It is a STUN server too.
        (stun,) = ice(tmp_path, stun_servers=f"stun:127.0.0.1:{port}")
        assert (stun.name, stun.status) == ("stun", "ok")


def test_a_turn_server_with_users(tmp_path: Path) -> None:
    with coturn(tmp_path, "--lt-cred-mech", "--user=ann:correct horse") as port:
        known: dict[str, Any] = {"turn_servers": f"turn:127.0.0.1:{port}", "turn_username": "ann"}
        (right,) = ice(tmp_path, **known, turn_credential="correct horse")
        assert right.status == "ok", right
        (wrong,) = ice(tmp_path, **known, turn_credential="battery staple")
        assert wrong.status == "error"
        assert "battery" not in wrong.message + wrong.fix


def test_servers_that_do_not_answer_cost_their_time_and_no_more(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        began_s = time.monotonic()
        found = ice(
            tmp_path,
            answer_s=0.5,
            stun_servers=f"stun:127.0.0.1:{port},stun:name.invalid",
            turn_servers=f"turn:127.0.0.1:{port},turn:127.0.0.1:1?transport=tcp",
            turn_secret=SECRET,
        )
    assert time.monotonic() - began_s < 30
    assert [finding.status for finding in found] == ["error"] * 4
    assert "no answer within 0.5 s" in found[0].message
    assert "name.invalid" in found[1].message
    assert "no answer within 0.5 s" in found[2].message
    assert all(finding.fix for finding in found)


def test_a_name_server_that_hangs_holds_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_: Any, **__: Any) -> list[Any]:
        time.sleep(4.0)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    (found,) = ice(tmp_path, answer_s=0.2, stun_servers="stun:slow.example.org")
    assert found.status == "error"
    assert "slow.example.org" in found.message


def test_beyond_this_machine_a_missing_turn_server_is_a_warning(tmp_path: Path) -> None:
    assert ice(tmp_path) == []
    (found,) = ice(tmp_path, host="0.0.0.0")
    assert found.status == "warning" and "turn_secret" in found.fix
