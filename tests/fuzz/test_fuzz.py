"""A short run of every target; `python -m tests.fuzz` is the long one."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.registry import NAMES, load
from tests.fuzz.target import havoc

MADE = {"archive": 80, "voice": 50, "presets": 80, "conversation": 40, "offer": 8, "http": 120}
"""Cases made by Hypothesis, where one costs milliseconds; the others have 200."""

CHANGED = {"archive": 100, "voice": 200, "presets": 200, "sdp": 500}
"""Good examples with random changes; the others have 3000."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
def test_whatever_strangers_send_is_read_or_refused(name: str) -> None:
    target = load(name)

    @settings(
        max_examples=MADE.get(name, 200),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.cases)
    def holds(case: object) -> None:
        target.holds(case)

    holds()
    if target.decode is not None:
        rng = random.Random(name)
        for _ in range(CHANGED.get(name, 3000)):
            target.holds(target.decode(havoc(target.seeds, rng)))
