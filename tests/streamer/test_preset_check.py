"""The measurement of transitions: complete, and able to fail."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle, find_avatar, load_bundle
from daetalker.streamer.engine import Engine
from daetalker.streamer.preset_check import preset_step_ratio, transitions
from tests.tiny import tiny_speech, to_pcm


@pytest.fixture(scope="module")
def voice() -> NDArray[np.int16]:
    return np.concatenate([to_pcm(tiny_speech(1.5, rate=48_000)), np.zeros(24_000, np.int16)])


def test_every_way_between_two_presets_and_the_speech_is_gone(tiny_bundle: AvatarBundle) -> None:
    entries = list(transitions(tiny_bundle.manifest, np.random.default_rng(0)))
    frames = [frame for frame, _ in entries]
    assert all(a < b for a, b in itertools.pairwise(frames))
    asked = [None, *(control.preset for _, control in entries)]
    places = [None, *(preset.name for preset in tiny_bundle.manifest.presets)]
    gone = set(itertools.pairwise(asked))
    assert gone >= set(itertools.permutations(places, 2))
    assert min(b - a for a, b in itertools.pairwise(frames)) <= 3, "some are interrupted"


def few(bundle: AvatarBundle, natural_step_deg: float) -> AvatarBundle:
    """The avatar with two presets, far from each other."""
    presets = tuple(p for p in bundle.manifest.presets if p.name in ("left", "right"))
    manifest = replace(bundle.manifest, presets=presets, natural_step_deg=natural_step_deg)
    return replace(bundle, manifest=manifest)


def test_the_step_stays_natural_and_a_head_that_may_hurry_is_found_out(
    tiny_bundle: AvatarBundle, tiny_engine: Engine, voice: NDArray[np.int16]
) -> None:
    result = preset_step_ratio(few(tiny_bundle, 1.5), tiny_engine, voice)
    assert 0.5 < result["preset_step_ratio"] <= 1.0
    assert result["natural_step_p99_deg"] == 1.5
    assert result["preset_step_ratio"] == pytest.approx(result["largest_step_deg"] / 1.5, abs=1e-3)
    assert result["transitions"] > 50
    assert 0.0 < result["rendered_natural_step_p99_deg"] <= 1.5
    hurried = preset_step_ratio(few(tiny_bundle, 10.0), tiny_engine, voice)
    assert hurried["largest_step_deg"] > 3.0


def test_no_voice_is_refused(tiny_bundle: AvatarBundle, tiny_engine: Engine) -> None:
    with pytest.raises(ValueError, match="voice"):
        preset_step_ratio(tiny_bundle, tiny_engine, np.zeros(0, np.int16))


@pytest.mark.slow
def test_mira_never_moves_faster_than_the_person_did() -> None:
    from daetalker.streamer.bench import synthetic_voice

    bundle = load_bundle(find_avatar("mira"))
    step_deg = bundle.manifest.natural_step_deg
    assert step_deg == 1.887
    engine = Engine(bundle, threads=2)
    result = preset_step_ratio(few(bundle, step_deg), engine, synthetic_voice())
    assert result["preset_step_ratio"] <= 1.0
