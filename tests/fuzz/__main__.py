"""``python -m tests.fuzz --cases 1000000 [--only NAME] [--seed N] [--report FILE]``.

Each target runs in processes of its own: a part of its cases is made by Hypothesis, the rest by
mutation that atheris guides by the branches it reaches; without atheris all by Hypothesis.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.registry import NAMES, load
from tests.fuzz.work import has_atheris

MOST_S = 4 * 3600.0
_GUIDED = 0.9
"""Part of the cases made by mutation of bytes, which is ten times as fast."""


def main() -> int:
    """Run the targets one after the other; 1 if there was a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="over all targets")
    parser.add_argument("--only", choices=NAMES, action="append", help="may be given again")
    parser.add_argument("--seed", type=int, default=0, help="where random choices begin")
    parser.add_argument("--report", type=Path, help="append one line of JSON a run")
    options = parser.parse_args()
    targets = [load(name) for name in options.only or NAMES]
    shares = sum(target.share for target in targets)
    found, total = 0, 0
    print(f"{'target':14} {'engine':10} {'cases':>9} {'seconds':>8}  findings", flush=True)
    for target in targets:
        cases = max(round(options.cases * target.share / shares), 1)
        guided = round(cases * (_GUIDED if target.decode else 0.5)) if has_atheris() else 0
        for engine, count in (("hypothesis", cases - guided), ("atheris", guided)):
            if not count:
                continue
            row = run(target.name, engine, count, options.seed)
            total += int(str(row["cases"]))
            found += row["finding"] is not None
            words = row["finding"] or "none"
            print(
                f"{target.name:14} {engine:10} {row['cases']:9} {row['seconds']:8.1f}  {words}",
                flush=True,
            )
            if options.report:
                with options.report.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print(f"{total} cases, {found} findings")
    return 1 if found else 0


def run(name: str, engine: str, cases: int, seed: int) -> dict[str, object]:
    """One target with one engine, in a process that may crash without us."""
    command = [sys.executable, "-m", "tests.fuzz.work", name, engine, str(cases), str(seed)]
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MOST_S, check=False, errors="replace"
        )
        output, code = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired:
        output, code = "", -1
    finding = None
    if code:
        file = Path(f"fuzz-{name}-{engine}-{seed}.txt")
        file.write_text(output)
        finding = f"exit {code}, see {file}"
    seconds = round(time.monotonic() - began, 1)
    done_cases = cases if finding is None else 0
    return {"target": name, "engine": engine, "cases": done_cases, "seconds": seconds,
            "seed": seed, "finding": finding}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
