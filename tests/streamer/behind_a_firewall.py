"""A client in a process of its own, which a test can start where no UDP gets out.

    python behind_a_firewall.py WS_URL {relay|all}

It prints one JSON object: what came of it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from websockets.asyncio.client import connect

FRAMES = 10
PATIENCE_S = 60.0


async def main(url: str, policy: str) -> dict[str, Any]:
    """Talk until some frames are here, or for as long as patience lasts."""
    found: dict[str, Any] = {"udp": _udp_gets_out(url), "frames": 0, "kinds": []}
    async with connect(url, open_timeout=PATIENCE_S) as ws:
        await ws.send(json.dumps({"type": "hello", "protocol": 1}))
        welcome = json.loads(await ws.recv())
        # A browser tries them all; the library takes the first, so it is given the one by TCP.
        by_tcp = sorted(welcome["ice_servers"], key=lambda one: "=tcp" not in one["urls"][0])
        servers = [RTCIceServer(**_filled(server)) for server in by_tcp]
        connection = RTCPeerConnection(
            RTCConfiguration(iceServers=servers, iceTransportPolicy=RTCIceTransportPolicy(policy))
        )
        arrived: asyncio.Queue[Any] = asyncio.Queue()
        connection.on("track", lambda track: asyncio.ensure_future(_read(track, arrived)))
        connection.addTrack(AudioStreamTrack())
        connection.addTransceiver("video", direction="recvonly")
        await connection.setLocalDescription()
        await ws.send(json.dumps({"type": "offer", "sdp": connection.localDescription.sdp}))
        while (message := json.loads(await ws.recv()))["type"] != "answer":
            pass
        found["kinds"] = sorted({line.split(" ")[7] for line in _candidates(connection)})
        await connection.setRemoteDescription(RTCSessionDescription(message["sdp"], "answer"))
        try:
            async with asyncio.timeout(PATIENCE_S):
                while found["frames"] < FRAMES:
                    await arrived.get()
                    found["frames"] += 1
        except TimeoutError:
            pass
        await connection.close()
    return found


def _candidates(connection: RTCPeerConnection) -> list[str]:
    lines: list[str] = connection.localDescription.sdp.splitlines()
    return [line for line in lines if line.startswith("a=candidate")]


def _filled(server: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in server.items() if value is not None}


def _udp_gets_out(url: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.sendto(b"", (urlsplit(url).hostname, 9))
        except OSError:
            return False
    return True


async def _read(track: MediaStreamTrack, arrived: asyncio.Queue[Any]) -> None:
    while track.kind == "video":
        arrived.put_nowait(await track.recv())


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2]))))
