"""Targets: voice as clients and agents send it: packets, positions, rates and lengths of any kind."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable
from functools import cache
from typing import Any

import av
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from daetalker.plugins.agent.backlog import Backlog, Full
from daetalker.streamer.feed import VoiceConverter
from daetalker.streamer.intake import Intake
from daetalker.streamer.media import CHUNK_SAMPLES, VOICE_RATE
from daetalker.streamer.voice_line import VoiceLine
from daetalker.streamer.voice_receiver import VoiceReceiver
from tests.fuzz.target import Target, damaged

_LONGEST = 5760
"""Samples of the longest Opus packet, 120 ms."""

_sizes = st.sampled_from([0, 1, 7, 479, 480, 960, 961, 1920, 2880, _LONGEST])
_levels = st.sampled_from([0, 1, -32768, 32767])
_positions = (
    st.none()
    | st.integers(-2000, 200_000)
    | st.sampled_from([0, -(2**63), 2**63, 2**31, 2**32 - 1, -1])
)


def intake(steps: list[tuple[str, int, int, int | None, float]]) -> None:
    """Every sample that goes on is counted, and none is made up without end."""
    line, elapsed_s, total = Intake(), 0.0, 0
    for what, size, level, pts, later_s in steps:
        elapsed_s += later_s
        if what == "put":
            line.put(size)
            total += size
            continue
        if what == "keep":
            made = line.keep_up(elapsed_s)
            assert made.size <= elapsed_s * VOICE_RATE
        else:
            made = line.accept(np.full(size, level, np.int16), pts, elapsed_s)
            assert made.size <= 2 * size + 2 * VOICE_RATE
        assert made.dtype == np.int16 and made.ndim == 1
        total += made.size
        assert line.heard == total
        assert line.heard <= (elapsed_s + 0.25) * VOICE_RATE + sum(s[1] for s in steps)


_steps = st.lists(
    st.tuples(
        st.sampled_from(["hear", "hear", "hear", "keep", "put"]),
        _sizes,
        _levels,
        _positions,
        st.sampled_from([0.0, 0.001, 0.02, 0.02, 0.1, 1.5]),
    ),
    max_size=30,
)


@cache
def opus() -> list[bytes]:
    """Packets as a browser sends them: speech-like, silence, and the shortest there are."""
    codec = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout, codec.format = VOICE_RATE, "mono", "s16"
    packets: list[bytes] = [b"", b"\xfc", b"\x00\x00", b"\xff\xff\xff"]
    rng = np.random.default_rng(1)
    for number in range(6):
        pcm = (rng.standard_normal(CHUNK_SAMPLES) * 3000 * (number % 3)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = VOICE_RATE, number * CHUNK_SAMPLES
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets


def receiver(packets: list[tuple[int, int, bytes]]) -> None:
    """Packets in any order, of any content; what is heard goes through the intake."""
    line, voices = Intake(), VoiceLine()
    heard = 0

    def hear(pcm: NDArray[np.int16], position: int) -> None:
        nonlocal heard
        assert pcm.dtype == np.int16 and 0 < pcm.size <= 12 * _LONGEST
        heard += pcm.size
        voices.push(line.accept(pcm, position, heard / VOICE_RATE))

    voice = VoiceReceiver(hear)
    for sequence, timestamp, data in packets:
        voice.packet(sequence, timestamp, data)
    assert heard <= 12 * _LONGEST * (len(packets) + 1)


@st.composite
def _streams(draw: st.DrawFn) -> list[tuple[int, int, bytes]]:
    sequence = draw(st.sampled_from([0, 1, 65_530]))
    timestamp = draw(st.sampled_from([0, 2**32 - 2000]))
    stream = []
    for _ in range(draw(st.integers(0, 12))):
        sequence += draw(st.sampled_from([1, 1, 1, 1, 0, 2, -1, 5, 40, 5000, 32_768]))
        timestamp += draw(st.sampled_from([960, 960, 960, 0, -960, 48_000, 2**31]))
        stream.append((sequence % 2**16, timestamp % 2**32, draw(damaged(opus()))))
    return stream


def converter(case: tuple[int, int, list[int], int]) -> None:
    """Any rate and any pieces: refused, or about as long as they sound."""
    rate, channels, pieces, level = case
    try:
        made = VoiceConverter(rate, channels)
    except ValueError:
        assert not (8_000 <= rate <= 192_000 and channels in (1, 2))
        return
    taken = given = 0
    for size in pieces:
        pcm = np.full(size, level, np.int16)
        try:
            given += made.push(pcm).size
            taken += size
        except ValueError:
            assert size % channels
    given += made.flush().size
    wanted = taken / channels * VOICE_RATE / rate
    assert abs(given - wanted) <= 0.02 * VOICE_RATE + 2, (given, wanted)


_rates = st.sampled_from([8000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000])


async def _held(backlog: Backlog, steps: list[tuple[str, bytes]]) -> None:
    for what, data in steps:
        match what:
            case "push":
                try:
                    backlog.push(data)
                except Full:
                    assert backlog.seconds > 0 or len(data) > 3200
            case "end":
                backlog.end()
            case "clear":
                backlog.clear()
                assert backlog.seconds == 0
            case _:
                try:
                    async with asyncio.timeout(0):
                        piece = await backlog.take()
                except TimeoutError:
                    continue
                assert piece.pcm.dtype == np.int16
        assert 0 <= backlog.seconds <= 0.2


def backlog(case: tuple[int, list[tuple[str, bytes]]]) -> None:
    """An agent's bytes, cut anywhere: never more kept than may be."""
    channels, steps = case
    _runner().run(_held(Backlog(8000, channels, max_s=0.2, preroll_s=0.0), steps))


@cache
def _runner() -> asyncio.Runner:
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner


def _by_steps(data: bytes) -> list[tuple[int, int, bytes]]:
    """Packets of 8 bytes and more out of any bytes."""
    packets = []
    for start in range(0, min(len(data), 600), 40):
        head, rest = data[start : start + 6], data[start + 6 : start + 40]
        packets.append((int.from_bytes(head[:2], "big"), int.from_bytes(head[2:6], "big"), rest))
    return packets


_decode: Callable[[bytes], Any] = _by_steps
TARGETS = (
    Target("intake", _steps, intake, 0.3),
    Target(
        "voice", _streams(), receiver, 0.3, (bytes(6) + b"\xfc" * 34, bytes(range(120))), _decode
    ),
    Target(
        "converter",
        st.tuples(
            _rates | st.integers(-1, 10**7),
            st.integers(0, 3),
            st.lists(_sizes, max_size=6),
            _levels,
        ),
        converter,
        0.1,
    ),
    Target(
        "backlog",
        st.tuples(
            st.sampled_from([1, 2]),
            st.lists(
                st.tuples(
                    st.sampled_from(["push", "push", "take", "end", "clear"]),
                    st.binary(max_size=9)
                    | st.sampled_from([bytes(1600), bytes(3201), bytes(9999)]),
                ),
                max_size=12,
            ),
        ),
        backlog,
        0.3,
    ),
)
