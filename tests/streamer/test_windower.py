from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.streamer.media import SAMPLES_PER_FRAME
from daetalker.streamer.profile import PROFILES, Profile
from daetalker.streamer.windower import Window, Windower

# Of the tests' own, so that the sums below do not move with the default.
STEADY = Profile("steady", hop_frames=4, lookahead_frames=3, allowance_s=0.06)

SAMPLES = np.arange(1, 30 * SAMPLES_PER_FRAME + 100, dtype=np.float32)


def same(a: list[Window], b: list[Window]) -> bool:
    return [(w.index, w.first_frame, w.samples.tobytes()) for w in a] == [
        (w.index, w.first_frame, w.samples.tobytes()) for w in b
    ]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("size", [320, 641, 5000])
def test_chunked_equals_whole(profile: Profile, size: int) -> None:
    whole, chunked = Windower(profile), Windower(profile)
    expected = whole.push(SAMPLES) + whole.finish()
    windows: list[Window] = []
    for at in range(0, SAMPLES.size, size):
        windows += chunked.push(SAMPLES[at : at + size])
    assert same(windows + chunked.finish(), expected)


def test_causal_later_samples_never_change_a_window() -> None:
    cut = 13 * SAMPLES_PER_FRAME
    changed = SAMPLES.copy()
    changed[cut:] = -1.0
    profile = STEADY
    early = Windower(profile).push(SAMPLES[:cut])
    assert len(early) == 2
    assert same(early, Windower(profile).push(changed)[: len(early)])


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_window_covers_what_it_says_and_leaves_with_its_last_sample(profile: Profile) -> None:
    windower = Windower(profile)
    first = (profile.hop_frames + profile.lookahead_frames) * SAMPLES_PER_FRAME
    assert windower.push(SAMPLES[: first - 1]) == []
    (window,) = windower.push(SAMPLES[first - 1 : first])
    assert (window.index, window.first_frame) == (0, 0)
    expected: NDArray[np.float32] = np.zeros(50 * SAMPLES_PER_FRAME, np.float32)
    expected[-first:] = SAMPLES[:first]
    np.testing.assert_array_equal(window.samples, expected)
    (window,) = windower.push(SAMPLES[first : first + profile.hop_frames * SAMPLES_PER_FRAME])
    assert (window.index, window.first_frame) == (1, profile.hop_frames)
    assert window.samples[-1] == SAMPLES[first + profile.hop_frames * SAMPLES_PER_FRAME - 1]


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (1, 1), (640, 1), (641, 2), (9000, 15)])
def test_finish_emits_every_started_frame(samples: int, frames: int) -> None:
    profile = STEADY
    windower = Windower(profile)
    windows = windower.push(SAMPLES[:samples]) + windower.finish()
    assert len(windows) == -(-frames // profile.hop_frames)


def test_silence_erases_history_but_not_time() -> None:
    windower = Windower(STEADY)
    windower.push(SAMPLES[:5000])
    windower.silence()
    window = windower.push(SAMPLES[5000:9000])[0]
    assert window.index == 1 and window.first_frame == 4
    heard = 11 * SAMPLES_PER_FRAME - 5000
    assert not np.any(window.samples[:-heard])
    np.testing.assert_array_equal(window.samples[-heard:], SAMPLES[5000 : 5000 + heard])


def test_a_hop_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Windower(STEADY, window_frames=6)
