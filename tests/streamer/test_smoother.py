from __future__ import annotations

import numpy as np
import pytest

from daetalker.streamer.profile import PROFILES, Profile
from daetalker.streamer.smoother import Smoother, mix

PROFILE = PROFILES["default"]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_windows_that_agree_pass_unchanged(profile: Profile) -> None:
    truth = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    smoother = Smoother(profile)
    size = profile.hop_frames + profile.lookahead_frames
    for first in range(0, 40 - size, profile.hop_frames):
        out = smoother.push(truth[first : first + size])
        np.testing.assert_array_equal(out, truth[first : first + size])


def test_the_overlap_fades_linearly() -> None:
    smoother = Smoother(PROFILE)
    smoother.push(np.zeros((7, 1), np.float32))
    out = smoother.push(np.ones((7, 1), np.float32))[:, 0]
    np.testing.assert_allclose(out, [0.25, 0.5, 0.75, 1, 1, 1, 1])


def test_eager_fading_trusts_the_window_that_heard_more() -> None:
    smoother = Smoother(PROFILE, eager=True)
    smoother.push(np.zeros((7, 1), np.float32))
    out = smoother.push(np.ones((7, 1), np.float32))[:, 0]
    np.testing.assert_allclose(out, [1 / 2, 7 / 8, 31 / 32, 1, 1, 1, 1])


def test_causal_a_later_window_changes_nothing_given_out() -> None:
    rng = np.random.default_rng(1)
    windows = rng.standard_normal((3, 7, 2)).astype(np.float32)
    a, b = Smoother(PROFILE), Smoother(PROFILE)
    first = [a.push(w)[:4] for w in windows]
    second = [b.push(w)[:4] for w in (windows[0], windows[1], -windows[2])]
    np.testing.assert_array_equal(first[:2], second[:2])


def test_reset_forgets() -> None:
    smoother = Smoother(PROFILE)
    smoother.push(np.zeros((7, 1), np.float32))
    smoother.reset()
    np.testing.assert_array_equal(smoother.push(np.ones((7, 1), np.float32)), np.ones((7, 1)))


def test_mix_is_exact_at_both_ends() -> None:
    rng = np.random.default_rng(2)
    old, new = rng.standard_normal((2, 100)).astype(np.float32)
    np.testing.assert_array_equal(mix(old, new, np.zeros(100, np.float32)), old)
    np.testing.assert_array_equal(mix(old, new, np.ones(100, np.float32)), new)
