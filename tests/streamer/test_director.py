from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.streamer.control import Control
from daetalker.streamer.director import Director
from daetalker.streamer.idle import eye_closure, sway
from daetalker.streamer.profile import PROFILES, Profile

RANGE = {"yaw": (-30.0, 30.0), "pitch": (-18.0, 18.0), "roll": (-12.0, 12.0)}
LEFT = Control((20.0, 5.0, -4.0), natural=0.15, ease_s=0.5)
RIGHT = Control((-20.0, 0.0, 4.0), natural=0.15, ease_s=0.5)


def play(
    controls: dict[int, Control],
    windows: int = 20,
    profile: Profile = PROFILES["default"],
    predicted: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Emitted control ``[frames, 4]`` and all windows; ``controls`` is by window."""
    director = Director(RANGE, profile)
    size = profile.hop_frames + profile.lookahead_frames
    control, planned = Control(), []
    for k in range(windows):
        control = controls.get(k, control)
        first = k * profile.hop_frames
        poses = (
            np.zeros((size, 3), np.float32)
            if predicted is None
            else predicted[first : first + size]
        )
        planned.append(director.plan(first, poses, control))
    emitted = [w[50 - size : 50 - profile.lookahead_frames] for w in planned]
    return np.concatenate(emitted), planned


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_window_shows_what_was_really_shown(profile: Profile) -> None:
    emitted, planned = play({2: LEFT, 9: RIGHT}, windows=40, profile=profile)
    size = profile.hop_frames + profile.lookahead_frames
    for k, window in enumerate(planned):
        end = (k + 1) * profile.hop_frames
        shown = emitted[max(0, end - 50 + profile.lookahead_frames) : end]
        assert window.shape == (50, 4)
        np.testing.assert_array_equal(
            window[50 - profile.lookahead_frames - len(shown) : 50 - profile.lookahead_frames],
            shown,
        )
    first = planned[0]
    assert np.all(first[: 50 - size, :3] == first[50 - size, :3]), "before the start, it held still"


def test_causal_a_later_control_changes_nothing_shown() -> None:
    plain, _ = play({})
    moved, _ = play({10: LEFT})
    np.testing.assert_array_equal(plain[:40], moved[:40])
    assert moved[40, 0] != plain[40, 0], "and it acts from its own window's first frame"


def test_foresight_comes_true_if_nothing_changes() -> None:
    emitted, planned = play({3: LEFT})
    for k in range(3, 12):
        np.testing.assert_allclose(planned[k][-3:], emitted[4 * (k + 1) : 4 * (k + 1) + 3])


def test_interrupted_anywhere_position_and_speed_are_continuous() -> None:
    """The calm path and every interrupted one stay under the same bound of bend."""
    limit = 12.0 * 40.0 / 0.5**2 / 25**2  # peak bend of a minimum-jerk move of 40 degrees, and room
    for interrupted in range(5, 12):
        path, _ = play({4: LEFT, interrupted: RIGHT, interrupted + 1: Control()})
        bend = np.abs(np.diff(path[:, :3], n=2, axis=0))
        assert bend.max() < limit
        np.testing.assert_allclose(path[-1, :3], sway(len(path) - 1), atol=1e-4)


def test_a_specified_pose_is_reached_and_held_with_a_share_of_the_natural_movement() -> None:
    path, _ = play({2: LEFT}, windows=12)
    for frame in range(8 + 13, 48):
        expected = np.array(LEFT.pose) + 0.15 * np.array(sway(frame))
        np.testing.assert_allclose(path[frame, :3], expected, atol=1e-4)


def test_the_first_control_is_taken_up_without_easing() -> None:
    path, _ = play({0: LEFT})
    np.testing.assert_allclose(path[0, :3], np.array(LEFT.pose), atol=0.3)


def test_a_pose_outside_the_range_stops_at_its_edge_softly() -> None:
    path, _ = play({4: Control((90.0, -90.0, 90.0), natural=1.0, ease_s=0.3)})
    assert np.all(np.abs(path[:, :3]) <= [30.0, 18.0, 12.0])
    np.testing.assert_allclose(np.abs(path[60, :3]), [30.0, 18.0, 12.0], atol=1.5)


def test_predicted_movement_is_followed_smoothly() -> None:
    rng = np.random.default_rng(0)
    predicted = np.zeros((100, 3), np.float32)
    predicted[20:, 0] = 8.0
    predicted += rng.standard_normal(predicted.shape).astype(np.float32)
    path, _ = play({}, predicted=predicted)
    moved = path[:, 0] - [sway(f)[0] for f in range(len(path))]
    assert abs(moved[35:].mean() - 8.0) < 1.0
    assert np.abs(np.diff(moved)).max() < 2.0, "a step of 8 degrees becomes a movement"
    assert np.std(moved[35:]) < 0.6, "noise is damped"


def test_eyes_blink_in_what_is_shown() -> None:
    path, _ = play({}, windows=60)
    np.testing.assert_array_equal(
        path[:, 3], np.array([eye_closure(f) for f in range(240)], np.float32)
    )


def test_left_out_frames_hold_the_head_still() -> None:
    director = Director(RANGE, PROFILES["default"])
    zeros = np.zeros((7, 3), np.float32)
    before = director.plan(0, zeros, LEFT)
    after = director.plan(12, zeros, LEFT)
    np.testing.assert_array_equal(after[35:43], np.repeat(before[46:47], 8, axis=0))
