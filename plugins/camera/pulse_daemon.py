"""A PulseAudio of one's own, for measuring and for tests: it touches nothing of the desktop's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from daetalker.plugins.camera.errors import VoiceOutError

__all__ = ["PulseDaemon"]

_START_TIMEOUT_S = 20.0


class PulseDaemon:
    """``with PulseDaemon() as server:`` gives the address of a sound server without devices."""

    def __enter__(self) -> str:
        """Start it.

        Raises:
            VoiceOutError: if PulseAudio is not installed, or does not start.
        """
        if shutil.which("pulseaudio") is None:
            raise VoiceOutError(
                "pulseaudio is not installed, which measuring the virtual microphone needs",
                "sudo apt-get install pulseaudio pulseaudio-utils",
            )
        self._folder = Path(tempfile.mkdtemp(prefix="daetalker-pulse-"))
        socket = self._folder / "native"
        # Configuration and state of the person who runs this are not ours to read or write.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PULSE")
        }
        for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PULSE_RUNTIME_PATH"):
            environment[name] = str(self._folder)
        self._process = subprocess.Popen(
            [
                "pulseaudio",
                "-n",
                "--daemonize=no",
                "--system=false",
                "--exit-idle-time=-1",
                "--use-pid-file=no",
                "--disable-shm",
                "--log-level=error",
                f"--load=module-native-protocol-unix socket={socket} auth-anonymous=1",
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end_s = time.monotonic() + _START_TIMEOUT_S
        while not socket.exists():
            if self._process.poll() is not None or time.monotonic() > end_s:
                self.__exit__()
                raise VoiceOutError("pulseaudio does not start here")
            time.sleep(0.01)
        return f"unix:{socket}"

    def __exit__(self, *_: object) -> None:
        """End it, and everything that was played on it."""
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
