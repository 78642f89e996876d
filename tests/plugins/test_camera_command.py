"""`daetalker camera` as people run it: from a microphone to the camera and its microphone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from daetalker.models.bundle import BundleError
from daetalker.plugins.agent import AgentPlugin
from daetalker.plugins.camera import examine as examine_module
from daetalker.plugins.camera import pulse
from daetalker.plugins.camera.command import main
from daetalker.plugins.camera.errors import CameraError, MicrophoneError
from daetalker.plugins.camera.examine import examine
from daetalker.plugins.camera.pulse import SINK, SOURCE, pactl
from daetalker.plugins.camera.pulse_daemon import PulseDaemon
from daetalker.plugins.camera.settings import CameraSettings
from daetalker.plugins.camera.voice_out import PulseVoice
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.protocol import ProtocolError
from daetalker.streamer.settings import SettingsError, plugin_settings
from tests.plugins.camera_bench import BACKEND, FakeCamera, eventually, heard, recording, rumble
from tests.plugins.serving import served

pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="the extra 'camera' is missing")
needs_pulse = pytest.mark.skipif(
    shutil.which("pulseaudio") is None or shutil.which("parec") is None,
    reason="pulseaudio or pulseaudio-utils is not installed",
)
SMALL = ("--backend", BACKEND, "--width", "160", "--height", "120", "--threads", "1")


@pytest.fixture(autouse=True)
def camera() -> None:
    FakeCamera.reset()
    pyvirtualcam.register_backend(BACKEND, FakeCamera)


def press_ctrl_c() -> None:
    """As the user does, where the command runs; elsewhere it would end the tests."""
    if FakeCamera.opened > FakeCamera.closed:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A sound server with one sink, whose monitor is our microphone."""
    with PulseDaemon() as address:
        monkeypatch.setenv("PULSE_SERVER", address)
        pactl("load-module", "module-null-sink", "sink_name=desk", "norewinds=1")
        yield address


@needs_pulse
def test_a_voice_goes_from_the_microphone_to_the_virtual_one_with_its_picture(
    bundle: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = rumble(1.0)
    found: list[bool] = []

    def meeting() -> None:
        """Speaks to the microphone, records what comes out at the other end."""
        eventually(lambda: SOURCE in [source.name for source in pulse.sources()], "our microphone")
        try:
            with recording(server, SOURCE) as recorder:
                eventually(lambda: len(FakeCamera.frames) > 20, "pictures")
                while not any(found) and len(found) < 5:  # a busy machine may cut it
                    begin = recorder.sound.size
                    voice = PulseVoice("desk")
                    voice.write(np.concatenate([np.zeros(9600, np.int16), said]))
                    time.sleep(said.size / 48_000 + 1.5)
                    voice.close()
                    found.append(heard(said, recorder.sound[begin:]))
        finally:
            press_ctrl_c()

    thread = threading.Thread(target=meeting)
    options = ["--avatar", str(bundle), "--mic", "desk.monitor", "--preset", "left", *SMALL]
    thread.start()
    assert main([*options, "--seconds", "120"]) == 0
    thread.join()
    assert any(found)
    assert len({frame.tobytes() for _, frame in FakeCamera.frames}) > 5  # it lives
    told = capsys.readouterr().err
    assert "microphone: Monitor of" in told
    assert "camera: /dev/video7, 160x120, 25 frames a second" in told
    assert "voice: daetalker microphone" in told
    assert SINK not in pulse.sink_names()
    assert FakeCamera.opened == FakeCamera.closed == 1


@needs_pulse
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_cleanly(bundle: Path, server: str, stop: signal.Signals) -> None:
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
sys.path[:0] = {sys.path!r}
import pyvirtualcam
from daetalker.plugins.camera.command import main
from tests.plugins.camera_bench import BACKEND, FakeCamera
pyvirtualcam.register_backend(BACKEND, FakeCamera)
code = main(sys.argv[1:])
print(FakeCamera.opened, FakeCamera.closed, len(FakeCamera.frames) > 5)
sys.exit(code)
"""
    options = ["--avatar", str(bundle), "--mic", "desk.monitor", *SMALL]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "Ctrl-C ends" not in (line := process.stderr.readline()):
        assert line, "it ended too soon"
    time.sleep(1.0)
    process.send_signal(stop)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert out.split() == ["1", "1", "True"]
    assert not errors.strip()
    assert SINK not in pulse.sink_names()


@needs_pulse
def test_listening_to_ourselves_is_warned_of(
    bundle: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--avatar", str(bundle), "--mic", "desk.monitor", *SMALL, "--seconds", "3"])
    assert "echo" not in capsys.readouterr().err
    pactl("load-module", "module-remap-source", "master=desk.monitor", f"source_name={SOURCE}")
    main(["--avatar", str(bundle), "--mic", SOURCE, *SMALL, "--seconds", "3"])
    assert "warning: that microphone is our own voice output" in capsys.readouterr().err


def test_attaching_to_a_running_server_needs_no_microphone(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url: list[str] = []

    async def serve() -> None:
        async with served(bundle, [AgentPlugin]) as running:
            session = await running.hub.open_session()
            url.append(running.url)
            await session.command({"type": "preset", "name": "left"})
            while len({frame.tobytes() for _, frame in FakeCamera.frames}) < 10:
                await asyncio.sleep(0.05)
            await session.close()
        press_ctrl_c()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    eventually(lambda: url, "a server")
    options = ["--attach", url[0], "--voice-out", "none", *SMALL, "--seconds", "60"]
    assert main(options) == 0
    thread.join()
    told = capsys.readouterr().err
    assert "voice: none" in told and "microphone:" not in told
    assert "I keep trying" in told  # after the session's end, or the server's
    assert FakeCamera.opened == FakeCamera.closed == 1


@needs_pulse
def test_devices_are_listed(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-devices"]) == 0
    out = capsys.readouterr().out
    assert BACKEND in out
    assert "  desk.monitor: Monitor of" in out and "(what an output plays)" in out
    assert "outputs of the sound server (--voice-out):\n  desk\n" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fps", "24"], r"--fps: must be 25 or 30"),
        (["--width", "8"], r"--width: input should be greater than or equal to 160"),
        (["--background", "beige"], r"--background: 'beige' is no colour"),
        (["--profile", "fast"], None),
        (["--seconds", "soon"], None),
    ],
)
def test_a_wrong_option_is_told_in_one_sentence(
    options: list[str], message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if message is None:
        with pytest.raises(SystemExit) as left:
            main(options)
        assert left.value.code == 2
        assert options[0] in capsys.readouterr().err
    else:
        with pytest.raises(SettingsError, match=message) as caught:
            main(options)
        assert "\n" not in str(caught.value)


@needs_pulse
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--mic", "headset"], MicrophoneError, "no microphone 'headset'"),
        (["--avatar", "nobody"], BundleError, "nobody"),
        (["--backend", "obscura"], CameraError, "'obscura' is unknown"),
        (["--preset", "backwards"], ProtocolError, "backwards"),
        (["--voice-out", "nowhere"], StreamerError, "nowhere"),
    ],
)
def test_what_is_not_there_is_told_and_nothing_stays_open(
    bundle: Path, server: str, options: list[str], error: type[Exception], message: str
) -> None:
    start = ["--avatar", str(bundle), "--mic", "desk.monitor", *SMALL]
    with pytest.raises(error, match=message) as caught:
        main([*start, *options])
    assert "\n" not in str(caught.value)
    assert FakeCamera.opened == FakeCamera.closed
    assert SINK not in pulse.sink_names()


# --- doctor -------------------------------------------------------------------------------------


@needs_pulse
def test_the_doctor_finds_both_devices(server: str) -> None:
    settings = CameraSettings.model_validate({"backend": BACKEND})
    findings = {finding.name: finding for finding in examine(settings)}
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert "/dev/video7" in findings["camera: picture"].message
    assert FakeCamera.opened == FakeCamera.closed == 1
    (voice,) = examine(settings.model_copy(update={"voice_out": "nowhere"}))[1:]
    assert voice.status == "error" and "desk" in voice.fix


def test_the_doctor_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    FakeCamera.gone = True
    camera, voice = examine(CameraSettings.model_validate({"backend": BACKEND}))
    assert camera.status == voice.status == "error"
    assert "modprobe" in camera.fix or "OBS" in camera.fix
    assert "apt-get install pulseaudio-utils" in voice.fix or "cable" in voice.message
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    missing = examine(CameraSettings.model_validate({}))[0]
    assert missing.fix == 'pip install "daetalker[camera]"'


def test_the_doctor_looks_for_a_cable_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[str] = []

    def find_device(wanted: str, *, output: bool) -> Any:
        return SimpleNamespace(name=wanted) if output and wanted in there else None

    monkeypatch.setattr("daetalker.plugins.camera.examine.platform.system", lambda: "Darwin")
    monkeypatch.setattr(examine_module, "find_device", find_device)
    settings = CameraSettings.model_validate({"backend": BACKEND})
    assert "install BlackHole" in examine(settings)[1].fix
    there.append("BlackHole")
    assert examine(settings)[1].status == "ok"


def test_settings_come_from_tables_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAETALKER_CAMERA_FPS", "30")
    settings = plugin_settings(CameraSettings, "camera", {"background": "green"})
    assert (settings.fps, settings.background, settings.width) == (30, "green", 1280)
    with pytest.raises(SettingsError, match=r"\[plugin.camera\] colour.*no such setting"):
        plugin_settings(CameraSettings, "camera", {"colour": "green"})


def test_silence_is_no_error_for_the_doctor() -> None:
    finding = examine(CameraSettings.model_validate({"backend": BACKEND, "voice_out": "none"}))[1]
    assert finding.status == "warning"
    assert "silent" in finding.message
