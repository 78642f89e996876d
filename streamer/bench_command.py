"""`daetalker bench`: what its options ask for, and how the answer is told."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.bench import bench_live
from daetalker.streamer.bench_bars import bar_lines
from daetalker.streamer.bench_check import bench_check
from daetalker.streamer.bench_client import BenchError
from daetalker.streamer.bench_html import bench_page
from daetalker.streamer.bench_network import NETWORKS, find_network
from daetalker.streamer.bench_plan import BenchPlan
from daetalker.streamer.bench_soak import SoakPlan, bench_soak
from daetalker.streamer.bench_sweep import sweep_figures
from daetalker.streamer.bench_voice import synthetic_voice
from daetalker.streamer.media import VOICE_RATE
from daetalker.streamer.settings import Settings
from daetalker.streamer.voice_file import read_voice

__all__ = ["check_command", "live_command", "soak_command"]


def live_command(options: argparse.Namespace, settings: Settings) -> bool:
    """`daetalker bench live`; False if the server reported an error.

    Raises:
        StreamerError: if it could not be measured.
    """
    if options.network == "list":
        for known in NETWORKS.values():
            print(f"{known.name:10} {known.text}, in each direction")
        return True
    network = find_network(options.network) if options.network else None
    voice, audio = _voice(options.audio)
    plan = BenchPlan(
        options.seconds,
        voice,
        audio,
        options.check_seconds,
        network=network,
        load=options.load,
        onsets=options.onsets,
    )
    runs = []
    for clients in options.clients:
        log = options.log
        if log is not None and len(options.clients) > 1:
            log = log / f"clients-{clients}"
        one = replace(plan, clients=clients, log=log)
        runs.append(asyncio.run(bench_live(settings, one)))
    figures = runs[0] if len(runs) == 1 else sweep_figures(runs)
    _tell(figures, options)
    return not any(run["error"] for run in runs)


def soak_command(options: argparse.Namespace, settings: Settings) -> bool:
    """`daetalker bench soak`; False if a bar failed.

    Raises:
        StreamerError: if it could not be measured.
    """
    voice, audio = _voice(options.audio)
    plan = SoakPlan(options.seconds, options.clients, voice, audio)
    figures = asyncio.run(bench_soak(settings, plan))
    _tell(figures, options)
    return bool(figures["ok"])


def check_command(options: argparse.Namespace, settings: Settings) -> bool:
    """`daetalker bench check`; False if a bar failed.

    Raises:
        StreamerError: if it could not be measured.
    """
    voice, audio = _voice(options.audio)
    figures = asyncio.run(bench_check(settings, BenchPlan(options.seconds, voice, audio)))
    _tell(figures, options)
    return bool(figures["ok"])


def _voice(path: Path | None) -> tuple[NDArray[np.int16], str]:
    """What is spoken, and its name for the report."""
    if path is None:
        return synthetic_voice(), "synthetic"
    voice = read_voice(path)
    if voice.size < VOICE_RATE:
        raise BenchError(f"{path} is too short: the bench needs a second of speech")
    return voice, path.name


def _tell(figures: Mapping[str, Any], options: argparse.Namespace) -> None:
    if options.html is not None:
        try:
            options.html.write_text(bench_page(figures))
        except OSError as error:
            raise BenchError(f"{options.html} cannot be written: {error.strerror}") from None
    if options.json:
        print(json.dumps(figures))
        return
    if "bars" in figures:
        print("\n".join(bar_lines(figures["bars"])))
        return
    for name, value in figures.items():
        for row in value if isinstance(value, list) else [value]:
            print(f"{name:24} {row if not isinstance(row, dict) else json.dumps(row)}")
