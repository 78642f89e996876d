"""A real TURN server (coturn) for a test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

READY_S = 20.0


@contextlib.contextmanager
def coturn(folder: Path, *options: str, address: str = "127.0.0.1") -> Iterator[int]:
    """Run it until the block ends; yields its port.  Skips the test where it is not installed.

    Args:
        folder: for its database.
        options: of turnserver, such as ``--use-auth-secret``.
    """
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed (turnserver)")
    with socket.socket() as free:
        free.bind((address, 0))
        port = int(free.getsockname()[1])
    own = [
        "-n", f"--listening-port={port}", f"--listening-ip={address}", f"--relay-ip={address}",
        "--realm=test", "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers",
        f"--userdb={folder / 'turndb'}", f"--pidfile={folder / 'turn.pid'}", "--log-file=stdout",
    ]  # fmt: skip
    process = subprocess.Popen(
        [program, *own, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(address, port)
        yield port
    finally:
        process.terminate()
        process.wait(READY_S)


def _wait_for(address: str, port: int) -> None:
    until_s = time.monotonic() + READY_S
    while True:
        try:
            socket.create_connection((address, port), 1.0).close()
            return
        except OSError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)
