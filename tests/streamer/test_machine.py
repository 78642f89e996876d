from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = """
import ctypes, sys, threading
from daetalker.streamer.machine import share_heaps
changed = share_heaps() if sys.argv[2] == "share" else None
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
everybody = threading.Barrier(12)
def hold():
    libc.malloc(3000)
    everybody.wait()
threads = [threading.Thread(target=hold) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
told = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(told))
libc.fclose(ctypes.c_void_p(told))
print(changed)
"""


def heaps(path: Path, how: str, **more: str) -> tuple[str, int]:
    environment = {k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    said = subprocess.run(
        [sys.executable, "-c", COUNT, str(path), how],
        env=environment | more,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return said, path.read_text().count("<heap nr=")


@pytest.mark.skipif(
    "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or "" if sys.platform == "linux" else ""),
    reason="only glibc gives each thread a heap",
)
def test_a_dozen_threads_share_four_heaps_unless_the_operator_says_otherwise(
    tmp_path: Path,
) -> None:
    assert heaps(tmp_path / "one.xml", "alone")[1] > 4
    assert heaps(tmp_path / "two.xml", "share") == ("True", 4)
    assert heaps(tmp_path / "three.xml", "share", MALLOC_ARENA_MAX="3") == ("False", 3)
