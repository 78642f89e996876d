"""One target, one engine, in this process: ``python -m tests.fuzz.work NAME ENGINE CASES SEED``.

Ends with 0 if every case held and nothing was left behind.
"""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import resource
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.registry import load
from tests.fuzz.target import Target

BATCH = 2000
"""Hypothesis remembers every case of a test, so long runs are many tests."""

MEMORY_BYTES = 6 * 1024**3
CASE_S = 20
LEAK_BYTES = 150 * 1024**2


def has_atheris() -> bool:
    """Whether coverage-guided mutation can be had here."""
    return importlib.util.find_spec("atheris") is not None


def with_hypothesis(target: Target, cases: int, seed: int) -> None:
    """Run that many cases; raises what a property raises, with the smallest case found."""
    done = batch = 0
    while done < cases:
        count = min(BATCH, cases - done)

        @hypothesis.seed(seed * 1_000_003 + batch)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )
        @given(target.cases)
        def holds(case: object) -> None:
            nonlocal done
            done += 1
            target.holds(case)

        before = done
        holds()
        if done == before:
            raise AssertionError("no cases were made")
        batch += 1


def with_atheris(target: Target, cases: int, seed: int) -> None:
    """Never returns: libFuzzer ends the process when all cases are done, or at a finding."""
    import atheris

    if target.decode is not None:
        decode = target.decode

        def one(data: bytes) -> None:
            target.holds(decode(data))

    else:

        def target_holds(case: Any) -> None:
            target.holds(case)

        wrapped: Any = settings(
            deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )(given(target.cases)(target_holds))
        fuzz = wrapped.hypothesis.fuzz_one_input

        def one(data: bytes) -> None:
            fuzz(data)

    corpus = Path(tempfile.mkdtemp(prefix="daetalker-corpus-"))
    for number, data in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(data)
    os.chdir(corpus)  # what libFuzzer leaves behind lies there
    limits = [f"-runs={cases}", f"-seed={seed + 1}", f"-timeout={CASE_S}", "-max_len=4096"]
    atheris.Setup(
        [sys.argv[0], *limits, "-rss_limit_mb=4096", "-print_final_stats=0", str(corpus)],
        one,
        enable_python_coverage=True,
    )
    atheris.Fuzz()


def main() -> None:
    """See the module."""
    # A case of 70 kB is no surprise here.
    warnings.filterwarnings("ignore", category=hypothesis.errors.HypothesisWarning)
    name, engine, cases, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    logging.disable(logging.WARNING)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["daetalker", "aiortc", "tomlkit", "zipfile"]):
            target = load(name)
        with_atheris(target, cases, seed)
    target = load(name)
    first = max(cases // 3, min(cases, 500))  # what is made once, and pools of threads, come now
    with_hypothesis(target, first, seed)
    before = _held()
    with_hypothesis(target, cases - first, seed + 1)
    after = _held()
    print(f"before {before}, after {after}")
    grown = after["bytes"] - before["bytes"]
    if after["files"] > before["files"] or after["threads"] > before["threads"] + 2:
        raise AssertionError(f"left behind: {before} -> {after}")
    if grown > LEAK_BYTES:
        raise AssertionError(f"memory grew by {grown} bytes")


def _held() -> dict[str, int]:
    """Open files, threads and resident memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "bytes": pages * os.sysconf("SC_PAGE_SIZE"),
    }


if __name__ == "__main__":
    main()
