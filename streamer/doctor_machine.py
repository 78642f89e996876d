"""What `daetalker doctor` asks of the machine itself: programs, memory, files, clock."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from statistics import median

from daetalker.streamer.finding import Finding

__all__ = [
    "OLDEST",
    "clock",
    "codecs",
    "files",
    "memory",
    "packages",
    "processors",
    "python",
]

OLDEST_PYTHON = (3, 11)

OLDEST = {
    "aiortc": (1, 15),  # allows PyAV 17, which no longer leaks a little memory with every frame
    "av": (17,),
    "cryptography": (44,),
    "numpy": (2, 1),
    "onnxruntime": (1, 21),
    "prometheus-client": (0, 21),
    "pydantic-settings": (2, 7),
    "pyjwt": (2, 10),
    "starlette": (0, 46),
    "threadpoolctl": (3, 5),
    "tomlkit": (0, 13),
    "uvicorn": (0, 34),
    "webrtcvad-wheels": (2, 0, 14),
    "websockets": (15,),
}
"""Packages and the oldest versions that are known to work, as in pyproject.toml."""

ENCODERS = ("libvpx", "libopus", "libx264", "aac", "png")

MIB = 1024 * 1024
SERVER_MIB = 300
"""What the server takes with one client; docs/measurements.md."""
CLIENT_MIB = 25
"""And with each further one."""

SERVER_FILES = 128
CLIENT_FILES = 16
"""Open files: a client has its WebSocket, a UDP socket for each network address, and pipes."""

GPU_PROVIDERS = ("CUDA", "Tensorrt", "ROCM", "MIGraphX")

SLEEP_S = 0.005
_WORST_SLEEP_S = 0.01
_BEHIND_S = 24 * 3600.0


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Is the interpreter new enough?"""
    found = ".".join(str(part) for part in version)
    if version < OLDEST_PYTHON:
        return Finding("python", "error", f"Python {found}", "install Python 3.11 or newer")
    return Finding("python", "ok", f"Python {found}")


def packages(version_of: Callable[[str], str] = metadata.version) -> Finding:
    """Are the packages there, and new enough?"""
    missing, old, versions = [], [], []
    for name, oldest in OLDEST.items():
        try:
            found = version_of(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        versions.append(f"{name} {found}")
        if _numbers(found) < oldest:
            wanted = ".".join(str(part) for part in oldest)
            old.append(f"{name} {found} is older than {wanted}")
    if missing:
        return Finding(
            "packages", "error", "missing: " + ", ".join(missing), "pip install --upgrade daetalker"
        )
    if old:
        names = " ".join(line.partition(" ")[0] for line in old)
        return Finding("packages", "error", "; ".join(old), f"pip install --upgrade {names}")
    return Finding("packages", "ok", ", ".join(versions))


def codecs() -> Finding:
    """Can PyAV encode what browsers and recordings need?"""
    import av

    missing = []
    for name in ENCODERS:
        try:
            av.Codec(name, "w")
        except ValueError:  # PyAV's UnknownCodecError
            missing.append(name)
    if missing:
        return Finding(
            "codecs",
            "error",
            f"PyAV {av.__version__} lacks " + ", ".join(missing),
            "install PyAV's own wheel: pip install --force-reinstall --only-binary av av",
        )
    return Finding("codecs", "ok", f"PyAV {av.__version__} has VP8, Opus, H.264, AAC and PNG")


def processors(threads: int, usable: int, available: tuple[str, ...], busy: float) -> Finding:
    """Processors, how busy they are, and what ONNX Runtime could compute on.

    Args:
        threads: of the settings.
        usable: processors that this process may use.
        available: providers of the installed ONNX Runtime.
        busy: programs that wanted to compute at the same time, over the last minute.
    """
    text = f"{usable} processor(s), ONNX Runtime offers {', '.join(available)}"
    if any(name.startswith(GPU_PROVIDERS) for name in available):
        text += "; the server computes on the processors, a GPU is not used"
    if threads > usable:
        return Finding(
            "processors",
            "warning",
            f"{text}; {threads} threads on {usable} processor(s) get in each other's way",
            f"serve with --threads {usable}",
        )
    if busy > usable:
        return Finding(
            "processors",
            "warning",
            f"{text}; {busy:.1f} programs want them at the same time, so the speed below is not "
            "what this machine can do",
            "see with top which they are, end them, and ask again",
        )
    return Finding("processors", "ok", text)


def memory(
    clients: int, meminfo: Path = Path("/proc/meminfo"), limit_mib: float | None = None
) -> Finding:
    """Is there room for the server and so many clients?

    Args:
        limit_mib: what the container or service may use at most; None for no limit.
    """
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is None:
        return Finding("memory", "ok", "how much is free cannot be read here")
    free_mib = int(found.group(1)) / 1024
    text = f"{free_mib:.0f} MiB free"
    if limit_mib is not None and limit_mib < free_mib:
        free_mib = limit_mib
        text = f"{limit_mib:.0f} MiB allowed"
    wanted = SERVER_MIB + CLIENT_MIB * max(0, clients - 1)
    text += f", {clients} client(s) take about {wanted}"
    if free_mib < SERVER_MIB:
        return Finding("memory", "error", text, "end other programs, or allow more memory")
    if free_mib < wanted:
        fewer = 1 + int((free_mib - SERVER_MIB) / CLIENT_MIB)
        return Finding(
            "memory", "warning", text, f"serve with --max-clients {fewer}, or allow more memory"
        )
    return Finding("memory", "ok", text)


def memory_limit_mib(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """What the container or service that we run in may use; None for no limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        if text.isdecimal() and int(text) < 1 << 50:  # the older interface writes "no limit" so
            return int(text) / MIB
    return None


def files(clients: int, limit: int | None = None) -> Finding:
    """May the server open as many files and sockets as that many clients need?"""
    if limit is None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return Finding("open files", "ok", "no limit")
    wanted = SERVER_FILES + CLIENT_FILES * clients
    text = f"{limit} allowed, {clients} client(s) take up to {wanted}"
    if limit < wanted:
        return Finding(
            "open files",
            "warning",
            text,
            f"ulimit -n {wanted}, or LimitNOFILE={wanted} in the service",
        )
    return Finding("open files", "ok", text)


def clock(
    now_s: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
    synchronised: Callable[[], bool | None] | None = None,
) -> Finding:
    """Is the clock right, and does it wake us in time?

    Tokens, certificates and the credentials of TURN servers end by the clock; frames are shown
    by it.
    """
    now_s = time.time() if now_s is None else now_s
    installed_s = Path(__file__).stat().st_mtime
    if now_s < installed_s - _BEHIND_S:
        return Finding(
            "clock",
            "error",
            "the clock is behind the time when daetalker was installed",
            "set it: sudo timedatectl set-ntp true",
        )
    late_s = []
    for _ in range(20):
        began_s = time.perf_counter()
        sleep(SLEEP_S)
        late_s.append(time.perf_counter() - began_s - SLEEP_S)
    late = f"wakes us {median(late_s) * 1000:.1f} ms late"
    if median(late_s) > _WORST_SLEEP_S:
        return Finding(
            "clock",
            "warning",
            f"the machine {late}, so frames come unevenly",
            "end other programs; on a virtual machine, ask for processors of its own",
        )
    if (synchronised or _synchronised)() is False:
        return Finding(
            "clock",
            "warning",
            "the clock is not kept right by the network; tokens and TURN credentials end by it",
            "sudo timedatectl set-ntp true",
        )
    return Finding("clock", "ok", f"right as far as we can tell; {late}")


def _synchronised() -> bool | None:
    """Whether something keeps the clock right; None if nobody can tell."""
    program = shutil.which("timedatectl")
    if program is None:
        return None
    command = [program, "show", "--property=NTPSynchronized", "--value"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=2.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    answers: Mapping[str, bool] = {"yes": True, "no": False}
    return answers.get(told.stdout.strip())


def _numbers(version: str) -> tuple[int, ...]:
    """``1.16.0rc1`` as ``(1, 16, 0)``."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()
