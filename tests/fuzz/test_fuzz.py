"""A short run of every target; `python -m tests.fuzz` is the long one."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.registry import NAMES, load

CASES = {"presets": 60, "archive": 60, "voice": 40, "conversation": 15, "offer": 4, "http": 60}
"""Where a case costs milliseconds; the others have more."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
def test_whatever_strangers_send_is_read_or_refused(name: str) -> None:
    target = load(name)

    @settings(
        max_examples=CASES.get(name, 250),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.cases)
    def holds(case: object) -> None:
        target.holds(case)

    holds()
