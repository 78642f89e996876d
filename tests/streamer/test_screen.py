"""The readers of a session come and go while it goes on, also in other threads."""

from __future__ import annotations

import threading

import numpy as np

from daetalker.streamer.clock import MonotonicClock
from daetalker.streamer.media import CHUNK_SAMPLES, VideoFrame, VoiceChunk
from daetalker.streamer.screen import Screen


def chunk(number: int) -> VoiceChunk:
    return VoiceChunk(number * CHUNK_SAMPLES, np.zeros(CHUNK_SAMPLES, np.int16))


def frame(index: int) -> VideoFrame:
    rgb = np.zeros((2, 2, 3), np.uint8)
    return VideoFrame(index, rgb, (0.0, 0.0, 0.0), False, np.zeros(4, np.float32))


def test_who_leaves_in_another_thread_costs_nobody_a_chunk() -> None:
    screen = Screen(MonotonicClock())
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            for outlet in [screen.outlet(1) for _ in range(5)]:
                outlet.close()

    before = screen.outlet(1)
    threads = [threading.Thread(target=come_and_go) for _ in range(2)]
    for thread in threads:
        thread.start()
    after = screen.outlet(1)
    try:
        for start in range(0, 4000, 50):
            for number in range(start, start + 50):
                screen.speak(chunk(number))
            wanted = [number * CHUNK_SAMPLES for number in range(start, start + 50)]
            for reader in (before, after):
                assert [piece.start for piece in reader.waiting_voice()] == wanted
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_what_is_late_is_counted_and_the_last_frame_known() -> None:
    screen = Screen(MonotonicClock())
    screen.show(frame(0), 0.001)
    screen.show(frame(1), 0.030)
    assert (screen.frames, screen.late) == (2, 1)
    assert screen.shown is not None and screen.shown.index == 1
    assert screen.fps(since_s=1.0) == 2.0


async def test_a_closed_screen_has_no_new_readers() -> None:
    screen = Screen(MonotonicClock())
    outlet = screen.outlet(1)
    screen.close()
    late = screen.outlet(1)
    screen.speak(chunk(0))
    assert outlet.waiting_voice() == [] and late.waiting_voice() == []
