"""Voice out and microphone in, against a real PulseAudio of the tests' own."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.plugins.camera import device_voice, pulse, sound_devices
from daetalker.plugins.camera.device_voice import DeviceVoice
from daetalker.plugins.camera.errors import MicrophoneError, VoiceOutError
from daetalker.plugins.camera.microphone import find_microphone, keep_listening
from daetalker.plugins.camera.pulse import SINK, SOURCE, VirtualMicrophone, pactl
from daetalker.plugins.camera.pulse_daemon import PulseDaemon
from daetalker.plugins.camera.voice_out import PulseVoice, open_voice_out
from tests.plugins.camera_bench import PATIENCE_S, RATE, place_of, recording

needs_pulse = pytest.mark.skipif(
    shutil.which("pulseaudio") is None or shutil.which("parec") is None,
    reason="pulseaudio or pulseaudio-utils is not installed",
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with PulseDaemon() as address:
        yield address


def noise(seconds: float, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).normal(0, 3000, round(seconds * RATE)).astype(np.int16)


# --- voice out ----------------------------------------------------------------------------------


@needs_pulse
def test_the_virtual_microphone_is_made_and_taken_away(server: str) -> None:
    with_name = {source.name: source for source in pulse.sources(server)}
    assert SOURCE not in with_name
    microphone = VirtualMicrophone(server)
    assert microphone.made
    with_name = {source.name: source for source in pulse.sources(server)}
    assert with_name[SOURCE].label == "daetalker microphone"
    assert with_name[SOURCE].ours and not with_name[SOURCE].monitor
    assert with_name[f"{SINK}.monitor"].ours and with_name[f"{SINK}.monitor"].monitor
    assert "daetalker voice" in pactl("list", "sinks", server=server)

    second = VirtualMicrophone(server)  # somebody made it before: it is used, and left
    assert not second.made
    second.close()
    assert SINK in pulse.sink_names(server)
    microphone.close()
    microphone.close()
    assert SINK not in pulse.sink_names(server)


@needs_pulse
def test_what_is_said_is_recorded_exactly_and_when_the_device_tells(server: str) -> None:
    voice, said = PulseVoice(server=server), noise(2.0)
    assert voice.name == "daetalker microphone"
    told: list[tuple[int, float]] = []
    try:
        with recording(server, SOURCE) as recorder:
            voice.write(np.zeros(RATE // 10, np.int16))
            start_s = time.monotonic()
            for place in range(0, said.size, 1920):
                time.sleep(max(0.0, start_s + place / RATE - time.monotonic()))
                before_s = time.monotonic()
                delay_s = voice.delay_s()
                assert delay_s is not None and delay_s < 0.5
                if time.monotonic() - before_s < 0.002:
                    told.append((place, before_s + delay_s))
                voice.write(said[place : place + 1920])
            time.sleep(0.4)
    finally:
        voice.close()
    errors = []
    for place, heard_s in told[5:-5]:
        at, likeness = place_of(said[place : place + 1920], recorder.sound)
        if likeness > 0.999:  # on a busy machine some may have been lost
            errors.append(heard_s - recorder.came_s(at))
    assert len(errors) > len(told) / 2
    # Half a block before the server's own idea of time, which is a block after the arrival.
    assert np.median(errors) == pytest.approx(0.005, abs=0.008)


@needs_pulse
def test_a_sink_that_goes_is_told_and_the_voice_does_not_move_elsewhere(server: str) -> None:
    other = pactl("load-module", "module-null-sink", "sink_name=loud", server=server).strip()
    mine = pactl("load-module", "module-null-sink", "sink_name=cable", server=server).strip()
    voice = open_voice_out("cable", server=server)
    try:
        assert voice.name == "cable"
        voice.write(noise(0.1))
        pactl("unload-module", mine, server=server)
        end_s = time.monotonic() + PATIENCE_S
        with pytest.raises(VoiceOutError, match="taken the voice output away"):
            while time.monotonic() < end_s:
                voice.write(noise(0.01))
                time.sleep(0.01)
    finally:
        voice.close()
        pactl("unload-module", other, server=server)
    with pytest.raises(VoiceOutError):
        voice.write(noise(0.01))


@needs_pulse
def test_an_output_that_is_not_there_is_told(server: str) -> None:
    with pytest.raises(VoiceOutError, match="does not open the output 'nowhere'"):
        open_voice_out("nowhere", server=server)


@needs_pulse
def test_no_sound_server_is_told_with_what_to_do() -> None:
    with pytest.raises(VoiceOutError, match=r"no sound server answers .*pipewire-pulse") as caught:
        open_voice_out("auto", server="unix:/nowhere/at/all")
    assert "--voice-out none" in str(caught.value)


def test_no_pactl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(VoiceOutError, match="apt-get install pulseaudio-utils"):
        VirtualMicrophone()


# --- a device of PortAudio ----------------------------------------------------------------------


class FakePortAudio:
    """Stands for sounddevice: the devices of a Mac, and a clock that the test moves."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        self.streams: list[Any] = []
        self.time = 100.0
        portaudio = self

        class OutputStream:
            def __init__(self, **options: Any) -> None:
                self.options = options
                portaudio.streams.append(self)

            @property
            def time(self) -> float:
                return portaudio.time

            def start(self) -> None: ...

            def close(self, ignore_errors: bool) -> None: ...

        self.OutputStream = OutputStream
        self.default = SimpleNamespace(device=(0, 1))

    def query_devices(self) -> list[dict[str, Any]]:
        devices = [("Built-in Microphone", 1, 0), ("Speakers", 0, 2), ("BlackHole 2ch", 2, 2)]
        return [
            {
                "name": name,
                "max_input_channels": inputs,
                "max_output_channels": outputs,
                "default_samplerate": 44100.0,
            }
            for name, inputs, outputs in devices
        ]

    def ask(self, frames: int, dac_s: float) -> NDArray[np.int16]:
        """What PortAudio does when its device wants sound."""
        out = np.ones((frames, 2), np.int16)
        self.streams[-1].options["callback"](
            out, frames, SimpleNamespace(outputBufferDacTime=dac_s), None
        )
        return out


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    fake = FakePortAudio()
    for module in (device_voice, sound_devices):
        monkeypatch.setattr(module, "import_sounddevice", lambda: fake)
    return fake


def test_the_first_virtual_cable_is_taken(portaudio: FakePortAudio) -> None:
    voice = DeviceVoice("auto")
    assert voice.name == "BlackHole 2ch"
    assert portaudio.streams[0].options["device"] == 2
    assert DeviceVoice("speak").name == "Speakers"
    assert DeviceVoice("2").name == "BlackHole 2ch"
    with pytest.raises(VoiceOutError, match="no sound output 'Headset'; --list-devices"):
        DeviceVoice("Headset")


def test_a_device_tells_when_a_sample_is_heard(portaudio: FakePortAudio) -> None:
    voice = DeviceVoice("auto")
    assert voice.delay_s() is None
    said = noise(0.1)
    voice.write(said)
    out = portaudio.ask(480, dac_s=100.03)
    assert np.array_equal(out, np.repeat(said[:480, None], 2, axis=1))
    # The 4320 samples that wait are heard from 100.04 on.
    assert voice.delay_s() == pytest.approx(0.04 + 4320 / RATE)
    portaudio.time += 0.01
    assert voice.delay_s() == pytest.approx(0.03 + 4320 / RATE)


def test_what_comes_too_late_for_a_device_is_dropped_so_that_time_goes_on(
    portaudio: FakePortAudio,
) -> None:
    voice = DeviceVoice("auto")
    said = noise(0.02)
    out = portaudio.ask(480, dac_s=100.0)
    assert not out.any()
    assert voice.delay_s() == pytest.approx(0.0)
    voice.write(said)
    assert np.array_equal(portaudio.ask(480, dac_s=100.01)[:, 0], said[480:])


def test_a_device_that_goes_is_told(portaudio: FakePortAudio) -> None:
    voice = DeviceVoice("auto")
    portaudio.streams[0].options["finished_callback"]()
    with pytest.raises(VoiceOutError, match="'BlackHole 2ch' has gone"):
        voice.write(noise(0.01))
    with pytest.raises(VoiceOutError, match="has gone"):
        voice.delay_s()


# --- the microphone -----------------------------------------------------------------------------


@pytest.fixture
def spoken_at(server: str) -> Iterator[str]:
    """A sink whose monitor plays the microphone's part; name of that source."""
    module = pactl(
        "load-module", "module-null-sink", "sink_name=desk", "norewinds=1", server=server
    ).strip()
    yield "desk.monitor"
    if "desk" in pulse.sink_names(server):
        pactl("unload-module", module, server=server)


@needs_pulse
async def test_the_microphone_is_heard_as_it_is_spoken_to(server: str, spoken_at: str) -> None:
    heard: list[NDArray[np.int16]] = []
    microphone = find_microphone(spoken_at, server)
    assert not microphone.ours
    listening = asyncio.create_task(keep_listening(lambda: microphone, heard.append, print))
    said = noise(1.0)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not heard:
                await asyncio.sleep(0.01)
            heard.clear()
            voice = PulseVoice("desk", server=server)
            # What comes too late is dropped, so the beginning must not matter.
            voice.write(np.concatenate([np.zeros(RATE // 5, np.int16), said]))
            while sum(block.size for block in heard) < 2.5 * RATE:
                await asyncio.sleep(0.01)
            voice.close()
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert place_of(said[4800:24_000], np.concatenate(heard))[1] > 0.999


@needs_pulse
async def test_a_microphone_that_is_unplugged_is_told_once_and_heard_again_when_it_is_back(
    server: str, spoken_at: str
) -> None:
    heard: list[NDArray[np.int16]] = []
    messages: list[str] = []
    # Another source is there: the server would move us to it.
    other = VirtualMicrophone(server)
    listening = asyncio.create_task(
        keep_listening(
            lambda: find_microphone(spoken_at, server), heard.append, messages.append, 0.05
        )
    )

    async def until(condition: Any) -> None:
        while not condition():
            await asyncio.sleep(0.01)

    try:
        async with asyncio.timeout(PATIENCE_S):
            await until(lambda: heard)
            await asyncio.to_thread(pactl, "unload-module", "module-null-sink", server=server)
            await until(lambda: messages)
            await asyncio.sleep(0.5)  # several tries
            assert len(messages) == 1
            assert "the face stays, silent" in messages[0]
            heard.clear()
            await asyncio.to_thread(
                pactl,
                "load-module",
                "module-null-sink",
                "sink_name=desk",
                "norewinds=1",
                server=server,
            )
            await until(lambda: heard)
            assert len(messages) == 2 and "is back" in messages[1]
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        other.close()
        await asyncio.to_thread(pactl, "unload-module", "module-null-sink", server=server)


@needs_pulse
def test_our_own_voice_is_never_chosen_by_itself(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daetalker.plugins.camera.microphone.find_device", lambda *_, **__: None)
    microphone = VirtualMicrophone(server)
    try:
        # It is the server's default now, there being no other; still it is none for us.
        assert pulse.default_source(server) == SOURCE
        with pytest.raises(MicrophoneError, match="there is no microphone here"):
            find_microphone(None, server)
        with pytest.raises(MicrophoneError, match="there is no microphone 'microphone'"):
            find_microphone("microphone", server)
        assert find_microphone(SOURCE, server).ours  # who names it gets it, and a warning
        module = pactl(
            "load-module",
            "module-remap-source",
            f"master={SINK}.monitor",
            "source_name=headset",
            "source_properties=device.description=USB_Headset",
            server=server,
        ).strip()
        for wanted in (None, "headset", "usb_h"):
            assert find_microphone(wanted, server).label == "USB_Headset"
        with pytest.raises(MicrophoneError, match="there are headset"):
            find_microphone("camera 9", server)
        pactl("unload-module", module, server=server)
    finally:
        microphone.close()
