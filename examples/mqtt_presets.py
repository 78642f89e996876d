"""Let a face look at you while it speaks, and about while it is silent, over MQTT.

    pip install aiomqtt
    daetalker serve --plugins mqtt        # with a broker on this machine, node "desk"
    python examples/mqtt_presets.py --node desk

It knows nothing of daetalker but its topics (docs/mqtt.md), so it runs wherever the broker is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from typing import Any

import aiomqtt


async def direct(options: argparse.Namespace) -> None:
    """Send a preset whenever speech begins, and every few seconds of silence."""
    root = f"{options.prefix}/{options.node}"
    presets: list[str] = []
    quiet_since_s: float | None = None
    speaking_before = False
    async with aiomqtt.Client(options.host, options.port) as client:
        # Both are retained: what there is comes at once.
        await client.subscribe(f"{root}/state")
        await client.subscribe(f"homeassistant/device/daetalker_{options.node}/config")
        async for message in client.messages:
            content: dict[str, Any] = json.loads(message.payload)
            if "components" in content:
                presets = content["components"].get("preset", {}).get("options", [])
                continue
            now_s, speaking = asyncio.get_running_loop().time(), content["speaking"]
            if speaking or not content["sessions"]:
                quiet_since_s = None
            elif quiet_since_s is None:
                quiet_since_s = now_s
            wanted = None
            if speaking and not speaking_before:
                wanted = options.home
            elif quiet_since_s is not None and now_s - quiet_since_s > options.quiet_s:
                quiet_since_s = now_s
                wanted = random.choice([p for p in presets if p != options.home] or [None])
            speaking_before = speaking
            if wanted in presets:
                print(f"{'speaking' if speaking else 'silent'}: {wanted}", flush=True)
                await client.publish(f"{root}/command/preset", wanted)


def main() -> None:
    """Read the options, direct until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="localhost", help="the broker")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--prefix", default="daetalker")
    parser.add_argument("--node", required=True, help="the server's name in the topics")
    parser.add_argument("--home", default="straight", help="preset for speaking")
    parser.add_argument("--quiet-s", type=float, default=6.0, help="silence between two looks, s")
    try:
        asyncio.run(direct(parser.parse_args()))
    except aiomqtt.MqttError as error:
        raise SystemExit(f"the broker: {error}") from None
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
