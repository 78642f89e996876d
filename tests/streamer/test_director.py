from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.streamer.control import Control
from daetalker.streamer.director import Director
from daetalker.streamer.idle import eye_closure, sway
from daetalker.streamer.profile import PROFILES, Profile

# Of the tests' own, so that the sums below do not move with the default.
STEADY = Profile("steady", hop_frames=4, lookahead_frames=3, allowance_s=0.06)

RANGE = {"yaw": (-30.0, 30.0), "pitch": (-18.0, 18.0), "roll": (-12.0, 12.0)}
STEP_DEG = 1.887
LEFT = Control((20.0, 5.0, -4.0), natural=0.15, ease_s=0.5)
RIGHT = Control((-20.0, 0.0, 4.0), natural=0.15, ease_s=0.5)


def play(
    controls: dict[int, Control],
    windows: int = 20,
    profile: Profile = STEADY,
    predicted: NDArray[np.float32] | None = None,
    step_deg: float = 100.0,
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Emitted control ``[frames, 4]`` and all windows; ``controls`` is by window.

    Without a ``step_deg`` the head may move as fast as it likes.
    """
    director = Director(RANGE, profile, natural_step_deg=step_deg)
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


def talking(frames: int, seed: int = 0) -> NDArray[np.float32]:
    """The head movement of lively speech ``[frames, 3]``: smooth noise of several degrees."""
    noise = np.random.default_rng(seed).standard_normal((frames + 20, 3)) * [14.0, 9.0, 6.0]
    kernel = np.hanning(21) / np.hanning(21).sum()
    smooth = [np.convolve(noise[:, axis], kernel, mode="valid") for axis in range(3)]
    return np.stack(smooth, axis=1).astype(np.float32)


def steps_of(path: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(np.diff(path[:, :3].astype(np.float64), axis=0), axis=1))


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
    director = Director(RANGE, STEADY)
    zeros = np.zeros((7, 3), np.float32)
    before = director.plan(0, zeros, LEFT)
    after = director.plan(12, zeros, LEFT)
    np.testing.assert_array_equal(after[35:43], np.repeat(before[46:47], 8, axis=0))


# --- no faster than the person ------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("step_deg", [STEP_DEG, 0.6])
def test_no_step_is_longer_than_natural_whatever_is_asked_and_when(
    profile: Profile, step_deg: float
) -> None:
    rng = np.random.default_rng(3)
    windows = 300
    controls: dict[int, Control] = {}
    place = 3
    while place < windows:
        pose = rng.uniform([-30.0, -18.0, -12.0], [30.0, 18.0, 12.0])
        controls[place] = Control(
            None if rng.random() < 0.25 else tuple(pose),
            natural=float(rng.choice([0.0, 0.15, 1.0])),
            ease_s=float(rng.choice([0.05, 0.5, 2.0])),
            hold_s=None if rng.random() < 0.5 else 0.2,
        )
        place += int(rng.integers(1, 9))
    predicted = talking(windows * profile.hop_frames + profile.lookahead_frames)
    calm, _ = play({}, windows, profile, predicted)
    assert steps_of(calm).max() > step_deg, "the speech alone would be too fast"
    path, _ = play(controls, windows, profile, predicted, step_deg)
    assert steps_of(path).max() <= step_deg
    assert np.percentile(steps_of(path), 90) > 0.5 * step_deg, "and it is not held back for nothing"


def test_a_turn_takes_the_time_that_was_asked_for_or_more_if_that_is_too_fast() -> None:
    near = Control((6.0, 0.0, 0.0), natural=0.0, ease_s=0.5)
    path, _ = play({2: near}, step_deg=STEP_DEG)
    np.testing.assert_allclose(path[8 + 12, :3], [6.0, 0.0, 0.0], atol=0.01)
    far = Control((-25.0, 0.0, 0.0), natural=0.0, ease_s=0.5)
    path, _ = play({2: far}, windows=30, step_deg=STEP_DEG)
    arrival = int(np.argmax(np.abs(path[:, 0] + 25.0) < 0.01)) - 7
    fastest = 1.875 * 25.0 / STEP_DEG  # frames, if the peak of least jerk just touched the limit
    assert fastest <= arrival < 1.3 * fastest


def test_interrupted_turns_bend_no_more_than_calm_ones_at_the_limit() -> None:
    calm, _ = play({4: LEFT}, windows=40, step_deg=STEP_DEG)
    most = np.abs(np.diff(calm[:, :3], n=2, axis=0)).max()
    for interrupted in range(5, 12):
        path, _ = play(
            {4: LEFT, interrupted: RIGHT, interrupted + 2: Control()}, windows=60, step_deg=STEP_DEG
        )
        assert np.abs(np.diff(path[:, :3], n=2, axis=0)).max() < 2.5 * most
        np.testing.assert_allclose(path[-1, :3], sway(len(path) - 1), atol=1e-3)


def test_a_dragged_head_keeps_up() -> None:
    frames = np.arange(240)
    wanted = 15.0 * np.sin(2 * np.pi * frames / 100.0)
    controls = {
        k: Control((float(wanted[4 * k]), 0.0, 0.0), natural=0.15, ease_s=0.2) for k in range(60)
    }
    path, _ = play(controls, windows=60, step_deg=STEP_DEG)
    lags = [np.abs(path[40 + lag : 200 + lag, 0] - wanted[40:200]).mean() for lag in range(15)]
    assert int(np.argmin(lags)) <= 5, "200 ms behind the finger at most"


# --- held for a while ---------------------------------------------------------------------------

BRIEFLY = Control((4.0, 0.0, 0.0), natural=0.0, ease_s=0.4, hold_s=0.6)


def test_a_held_pose_is_given_back_after_ease_and_hold() -> None:
    path, _ = play({2: BRIEFLY}, windows=30, step_deg=STEP_DEG)
    left = path[8 + 10 : 8 + 10 + 15]
    np.testing.assert_allclose(left[:, 0], 4.0, atol=1e-4)
    assert path[8 + 10 + 15 + 2, 0] < 4.0 - 1e-3, "then it goes"
    for frame in range(8 + 2 * 10 + 16, 120):
        np.testing.assert_allclose(path[frame, :3], sway(frame), atol=1e-4)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_it_goes_by_the_frame_not_by_the_window(profile: Profile) -> None:
    path, _ = play({24 // profile.hop_frames: BRIEFLY}, 120 // profile.hop_frames, profile)
    other, _ = play({6: BRIEFLY}, 30)
    np.testing.assert_allclose(path, other, atol=1e-5)


def test_whether_it_is_over_can_be_asked_and_the_same_preset_can_be_chosen_again() -> None:
    director = Director(RANGE, STEADY)
    zeros = np.zeros((7, 3), np.float32)

    def go(first: int, last: int, control: Control) -> list[bool]:
        """Whether the pose was released, by window."""
        said = []
        for k in range(first, last):
            director.plan(4 * k, zeros, control)
            said.append(director.released)
        return said

    go(0, 2, Control())
    said = go(2, 12, BRIEFLY)
    assert said == [False] * 6 + [True] * 4  # frames 8 to 17 ease, 18 to 32 hold
    assert all(go(12, 14, replace(BRIEFLY, muted=True))), "muting asks for nothing"
    assert not any(go(14, 19, replace(BRIEFLY, command=-1))), "choosing it again does"
    assert director.plan(4 * 19, zeros, BRIEFLY)[45, 0] > 3.0
    assert not any(go(20, 22, Control()))


def test_chosen_again_while_held_it_is_held_from_then_on() -> None:
    once, _ = play({2: BRIEFLY}, windows=30)
    twice, _ = play({2: BRIEFLY, 6: replace(BRIEFLY, command=-1)}, windows=30)
    held = [int(np.sum(np.abs(path[:, 0] - 4.0) < 1e-4)) for path in (once, twice)]
    assert held[1] - held[0] == 24 - 17
