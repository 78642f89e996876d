"""How long a command takes from its sender, through a broker, to the first frame that obeys."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from daetalker.plugins.mqtt.loopback import BrokerError, LocalBroker
from daetalker.plugins.mqtt.plugin import MqttPlugin
from daetalker.streamer.hub import Hub
from daetalker.streamer.live_session import LiveSession
from daetalker.streamer.outlet import Outlet
from daetalker.streamer.plugin import MissingExtra
from daetalker.streamer.plugin_host import PluginHost
from daetalker.streamer.settings import load_settings

if TYPE_CHECKING:
    import aiomqtt

__all__ = ["measure_mqtt_to_frame"]

Pose = tuple[float, float, float]

MOVED_DEG = 0.05
"""Before a command the head is at rest, so whatever moves it this far is the command."""

_NODE = "bench"
_PLUGIN = "mqtt_bench"  # not mqtt: the settings of the user's own broker are not for this one
_COMMANDS = f"daetalker/{_NODE}/command"
_HOP_S = 0.16
_STILL_DEG = 0.002
_STILL_FRAMES = 6
_PATIENCE_S = 10.0
_STILL: dict[str, Any] = {"type": "pose", "natural": 0.0, "ease_s": 0.3}


async def measure_mqtt_to_frame(avatar: str, commands: int = 40) -> dict[str, Any]:
    """Publish presets and poses at random moments, time the first frame that moves because of each.

    A real mosquitto on loopback, the plugin in its own thread, a session with a live clock.  About
    1.5 s a command.

    Returns:
        ``{"mqtt_to_frame_ms": {"p50": ..., "p95": ...}}``, from before publishing to the frame
        at an outlet.

    Raises:
        BrokerError: if mosquitto is missing or a command has no effect.
        MissingExtra: without aiomqtt.
        BundleError: if the avatar is missing or damaged.
    """
    try:
        import aiomqtt
    except ModuleNotFoundError:
        raise MissingExtra("mqtt", "aiomqtt") from None
    rng = random.Random(7)
    with tempfile.TemporaryDirectory(prefix="daetalker-mqtt-") as folder:
        async with (
            LocalBroker.running(Path(folder)) as broker,
            _session(avatar, broker.port) as session,
            aiomqtt.Client("127.0.0.1", broker.port) as client,
            session.outlet(frames=250) as outlet,
        ):
            await _plugin_listens(client)
            presets = [p.name for p in await session.presets() if abs(p.yaw) + abs(p.pitch) > 4]
            taken_s: list[float] = []
            for number in range(commands):
                yaw = 0.0 if number % 2 else rng.choice((-10.0, 10.0))
                topic, payload = f"{_COMMANDS}/pose", f'{{"yaw": {yaw}, "natural": 0}}'
                if presets and number % 4 == 3:
                    topic, payload = f"{_COMMANDS}/preset", rng.choice(presets)
                    await session.command({**_STILL, "yaw": 0.0, "pitch": 0.0, "roll": 0.0})
                elif number % 4 == 0:
                    await session.command({**_STILL, "yaw": 0.0, "pitch": 0.0, "roll": 0.0})
                still = await _until_still(outlet)
                await asyncio.sleep(rng.uniform(0.0, _HOP_S))
                taken_s.append(await _time(client, topic, payload, outlet, still))
    p50, p95 = np.percentile(np.array(taken_s) * 1000.0, [50, 95])
    return {"mqtt_to_frame_ms": {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}}


@asynccontextmanager
async def _session(avatar: str, port: int) -> AsyncIterator[LiveSession]:
    """A session of a hub whose plugin is connected to the broker at that port."""
    own = {"host": "127.0.0.1", "port": port, "node": _NODE, "discovery": False}
    settings = load_settings({"avatar": avatar}).model_copy(
        update={"plugins": (_PLUGIN,), "plugin": {_PLUGIN: own}}
    )
    hub = Hub(settings)
    plugins = PluginHost(hub, lambda name: MqttPlugin)
    await hub.start()
    try:
        await plugins.start("http://127.0.0.1")
        session = await hub.open_session()
        try:
            yield session
        finally:
            await session.close()
    finally:
        await plugins.stop()
        await hub.stop()


async def _plugin_listens(client: aiomqtt.Client) -> None:
    await client.subscribe(f"daetalker/{_NODE}/status")
    try:
        async with asyncio.timeout(_PATIENCE_S):
            async for message in client.messages:
                if message.payload == b"online":
                    return
    except TimeoutError:
        raise BrokerError("the plugin did not connect to the broker") from None


async def _until_still(outlet: Outlet) -> Pose:
    """The pose, once the head has come to rest."""
    pose, unchanged = (await outlet.video()).pose, 0
    deadline_s = time.monotonic() + _PATIENCE_S
    while unchanged < _STILL_FRAMES:
        if time.monotonic() > deadline_s:
            raise BrokerError("the head does not come to rest: does natural = 0 hold it?")
        now = (await outlet.video()).pose
        unchanged = unchanged + 1 if _apart_deg(now, pose) < _STILL_DEG else 0
        pose = now
    return pose


async def _time(
    client: aiomqtt.Client, topic: str, payload: str, outlet: Outlet, still: Pose
) -> float:
    """Seconds from publishing to the first frame whose pose is another one."""
    outlet.waiting_video()  # frames from before
    sent_s = time.monotonic()
    await client.publish(topic, payload)
    while time.monotonic() < sent_s + _PATIENCE_S:
        frame = await outlet.video()
        if _apart_deg(frame.pose, still) > MOVED_DEG:
            return time.monotonic() - sent_s
    raise BrokerError(f"the command {payload} on {topic} moved nothing within {_PATIENCE_S:.0f} s")


def _apart_deg(a: Pose, b: Pose) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))
