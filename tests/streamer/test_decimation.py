"""Which frames are drawn under load: a regular grid, down at once, up again soon."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from daetalker.streamer.decimation import SHARES, Decimation
from daetalker.streamer.media import FRAME_S


def play(
    decimation: Decimation,
    cost_s: Callable[[float], float],
    from_frame: int,
    frames: int,
) -> list[tuple[int, float]]:
    """Frames one by one in real time; a drawn one costs ``cost_s(share)``.  Those drawn."""
    drawn = []
    for index in range(from_frame, from_frame + frames):
        if decimation.draws(index):
            took_s = cost_s(decimation.share)
            decimation.note(took_s, index * FRAME_S + took_s)
            drawn.append((index, decimation.share))
    return drawn


@pytest.mark.parametrize(("some", "of"), SHARES)
def test_a_shares_frames_lie_evenly(some: int, of: int) -> None:
    decimation = Decimation()
    decimation._level = SHARES.index((some, of))
    drawn = [index for index in range(0, 240) if decimation.draws(index)]
    gaps = {b - a for a, b in itertools.pairwise(drawn)}
    assert len(drawn) == 240 * some / of
    assert max(gaps) - min(gaps) <= 1 and max(gaps) <= -(-of // some)


@pytest.mark.parametrize(
    ("frame_s", "share"), [(0.03, 1), (0.045, 3 / 4), (0.055, 2 / 3), (0.07, 1 / 2), (0.2, 1 / 6)]
)
def test_it_settles_on_what_the_computer_can_do(frame_s: float, share: float) -> None:
    decimation = Decimation()
    play(decimation, lambda _: frame_s, 0, 75)
    settled = {drawn for _, drawn in play(decimation, lambda _: frame_s, 75, 250)}
    assert settled == {share}


def test_noise_of_single_frames_changes_nothing() -> None:
    decimation = Decimation()
    for index in range(250):
        decimation.note(0.06 if index % 8 == 7 else 0.015, index * FRAME_S)
        assert decimation.share == 1.0


@pytest.mark.parametrize("slow_s", [0.05, 0.09, 0.15, 0.24])
def test_it_recovers_within_two_seconds(slow_s: float) -> None:
    decimation = Decimation()
    play(decimation, lambda _: slow_s, 0, 100)
    assert decimation.share < 1.0
    play(decimation, lambda _: 0.012, 100, 40)
    assert decimation.share == 1.0


def test_tries_that_go_wrong_become_rarer_but_never_end() -> None:
    # Many sessions at one engine: what is waited for shrinks as all of them draw less.
    decimation = Decimation()
    drawn = play(decimation, lambda share: 0.041 if share == 1.0 else 0.026, 0, 500)
    full = sum(1 for _, share in drawn if share == 1.0)
    assert full / len(drawn) < 0.5
    play(decimation, lambda _: 0.012, 500, 45)
    assert decimation.share == 1.0
