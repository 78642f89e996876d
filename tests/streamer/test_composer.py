from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.streamer.composer import Composer, Cue, FramePlan
from daetalker.streamer.control import Control
from daetalker.streamer.engine import Engine
from daetalker.streamer.profile import Profile
from tests.tiny import tiny_speech

# Of the tests' own, so that the sums below do not move with the default.
PROFILE = Profile("steady", hop_frames=4, lookahead_frames=3, allowance_s=0.06)
QUIET = np.zeros(16_000, np.float32)
SPOKEN = np.concatenate([QUIET, tiny_speech(1.0), QUIET, QUIET])


def compose(
    bundle: AvatarBundle, engine: Engine, samples: NDArray[np.float32], size: int = 320
) -> tuple[list[Cue], list[FramePlan]]:
    composer = Composer(bundle.manifest, PROFILE)
    rest = engine.silence()
    cues: list[Cue] = []
    plans: list[FramePlan] = []
    for at in range(0, samples.size, size):
        for cue in composer.hear(samples[at : at + size]):
            cues.append(cue)
            spoken = engine.speech(cue.window.samples) if cue.has_speech else None
            steering = composer.steer(cue, spoken.pose if spoken else None, rest.pose, Control())
            plans += composer.blend(
                cue,
                engine.latents(spoken.hidden, steering) if spoken else None,
                engine.latents(rest.hidden, steering) if cue.has_silence else None,
            )
    return cues, plans


def latents(plans: list[FramePlan]) -> NDArray[np.float32]:
    return np.array([plan.latent for plan in plans])


def test_chunked_equals_whole(tiny_bundle: AvatarBundle, tiny_engine: Engine) -> None:
    _, whole = compose(tiny_bundle, tiny_engine, SPOKEN, SPOKEN.size)
    _, chunked = compose(tiny_bundle, tiny_engine, SPOKEN, 777)
    assert [p.index for p in whole] == list(range(len(whole)))
    np.testing.assert_array_equal(latents(chunked), latents(whole))
    assert [p.pose for p in chunked] == [p.pose for p in whole]


def test_causal_later_speech_never_changes_a_planned_frame(
    tiny_bundle: AvatarBundle, tiny_engine: Engine
) -> None:
    cut = 35 * 640
    _, early = compose(tiny_bundle, tiny_engine, SPOKEN[:cut])
    changed = np.concatenate([SPOKEN[:cut], tiny_speech(1.0, seed=5)])
    _, late = compose(tiny_bundle, tiny_engine, changed)
    assert len(early) == 32
    np.testing.assert_array_equal(latents(early), latents(late[: len(early)]))
    assert [p.pose for p in early] == [p.pose for p in late[: len(early)]]


def test_in_silence_the_latents_do_not_depend_on_the_sound(
    tiny_bundle: AvatarBundle, tiny_engine: Engine
) -> None:
    room = 0.002 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    cues, plans = compose(tiny_bundle, tiny_engine, room)
    assert not any(cue.has_speech for cue in cues)
    _, silent = compose(tiny_bundle, tiny_engine, np.zeros_like(room))
    np.testing.assert_array_equal(latents(plans), latents(silent))
    assert not any(plan.speaking for plan in plans)


def test_the_nets_run_only_where_they_are_needed(
    tiny_bundle: AvatarBundle, tiny_engine: Engine
) -> None:
    cues, plans = compose(tiny_bundle, tiny_engine, SPOKEN)
    kinds = [(cue.has_speech, cue.has_silence) for cue in cues]
    assert kinds[0] == (False, True) and (True, False) in kinds and kinds[-1] == (False, True)
    spoken = [plan.index for plan in plans if plan.speaking]
    assert spoken == list(range(spoken[0], spoken[-1] + 1))
    assert spoken[0] <= 25 and spoken[-1] >= 50


def test_after_left_out_windows_it_goes_on(tiny_bundle: AvatarBundle, tiny_engine: Engine) -> None:
    composer = Composer(tiny_bundle.manifest, PROFILE)
    rest = tiny_engine.silence()
    cues = composer.hear(np.zeros(32_000, np.float32))
    for cue in (cues[0], cues[5]):
        steering = composer.steer(cue, None, rest.pose, Control())
        plans = composer.blend(cue, None, tiny_engine.latents(rest.hidden, steering))
    assert [plan.index for plan in plans] == [20, 21, 22, 23]
    assert composer.next_frame == 24
