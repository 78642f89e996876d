"""`daetalker bench plugins`: what the plugins promise, measured at their receivers."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import find_avatar, load_bundle
from daetalker.streamer.bench import machine, synthetic_voice
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.logs import configure_logging
from daetalker.streamer.settings import Settings, load_settings
from daetalker.streamer.voice_file import read_voice

__all__ = ["main"]

Voice = NDArray[np.int16]

# (figure, the most it may be)
BARS = {
    ("camera_microphone_offset_ms",): 20.0,
    ("interrupt_to_closed_ms", "p95"): 150.0,
    ("preset_step_ratio",): 1.0,
    ("mqtt_to_frame_ms", "p95"): 500.0,
}


def main(arguments: list[str]) -> int:
    """Measure and print; 1 if a part could not be measured, else 0.

    Raises:
        StreamerError: for mistakes in the arguments.
    """
    options = _parser().parse_args(arguments)
    configure_logging("error")
    settings = load_settings({"avatar": options.avatar, "threads": options.threads})
    voice = synthetic_voice() if options.audio is None else read_voice(options.audio)
    figures: dict[str, Any] = {
        "bench": "plugins",
        "avatar": load_bundle(find_avatar(settings.avatar)).manifest.name,
        "audio": "synthetic" if options.audio is None else options.audio.name,
    }
    failed: dict[str, str] = {}
    for name in options.only or PARTS:
        if sys.stderr.isatty():
            print(f"measuring: {name}", file=sys.stderr, flush=True)
        try:
            figures |= PARTS[name](settings, voice, options)
        except (StreamerError, ImportError) as error:
            failed[name] = str(error)
    figures |= {"not_measured": failed, "machine": machine()}
    if options.json:
        print(json.dumps(figures))
    else:
        _print(figures)
    return 1 if failed else 0


def _camera(settings: Settings, voice: Voice, options: argparse.Namespace) -> dict[str, Any]:
    from daetalker.plugins.camera.measure import measure_offset

    return dict(asyncio.run(measure_offset(settings.avatar, options.seconds, voice)))


def _interrupt(settings: Settings, voice: Voice, options: argparse.Namespace) -> dict[str, Any]:
    from daetalker.plugins.agent.measure import measure_interrupt

    return asyncio.run(measure_interrupt(settings, voice, options.interruptions))


def _presets(settings: Settings, voice: Voice, options: argparse.Namespace) -> dict[str, Any]:
    from daetalker.streamer.engine import Engine
    from daetalker.streamer.preset_check import preset_step_ratio

    bundle = load_bundle(find_avatar(settings.avatar))
    engine = Engine(bundle, threads=settings.threads)
    return dict(preset_step_ratio(bundle, engine, voice))


def _mqtt(settings: Settings, voice: Voice, options: argparse.Namespace) -> dict[str, Any]:
    from daetalker.plugins.mqtt.measure import measure_mqtt_to_frame

    return dict(asyncio.run(measure_mqtt_to_frame(settings.avatar, options.commands)))


PARTS: dict[str, Callable[[Settings, Voice, argparse.Namespace], dict[str, Any]]] = {
    "camera": _camera,
    "interrupt": _interrupt,
    "presets": _presets,
    "mqtt": _mqtt,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="daetalker bench plugins",
        description="Measure the plugins at their receivers: picture against voice on the virtual "
        "camera and microphone; an interruption until the mouth is shut; the longest step of a "
        "turning head; a command by MQTT until a frame shows it.  Needs PulseAudio, mosquitto and "
        "the extras camera and mqtt; what is missing is said and left out.",
    )
    parser.add_argument("--avatar", default="mira", help="avatar's name or folder (mira)")
    parser.add_argument(
        "--audio", type=Path, help="speech file; left out: a voice-like signal is made"
    )
    parser.add_argument("--only", choices=sorted(PARTS), nargs="+", help="these parts only")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="length of the camera's measurement (20)"
    )
    parser.add_argument("--interruptions", type=int, default=30, help="how many (30)")
    parser.add_argument("--commands", type=int, default=40, help="how many by MQTT (40)")
    parser.add_argument("--threads", type=int, default=2, help="threads a network may use (2)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _print(figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        if name != "not_measured":
            shown = json.dumps(value) if isinstance(value, dict) else value
            print(f"{name:28} {shown}{_verdict(name, value)}")
    for name, reason in figures["not_measured"].items():
        print(f"{name + ': not measured':28} {reason}")


def _verdict(name: str, value: Any) -> str:
    for path, most in BARS.items():
        if path[0] == name:
            measured = value[path[1]] if len(path) > 1 else value
            return f"   ({'within' if measured <= most else 'OVER'} {most:g})"
    return ""
