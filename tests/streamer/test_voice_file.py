from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.streamer.voice_file import VoiceFileError, read_voice
from tests.tiny import tiny_speech, to_pcm


def write_wav(path: Path, pcm: NDArray[np.int16], rate: int, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(pcm, channels).tobytes())
    return path


def test_48_khz_mono_passes_untouched(tmp_path: Path) -> None:
    pcm = to_pcm(tiny_speech(0.3, rate=48_000))
    np.testing.assert_array_equal(read_voice(write_wav(tmp_path / "a.wav", pcm, 48_000)), pcm)


def test_8_khz_stereo_becomes_48_khz_mono(tmp_path: Path) -> None:
    pcm = to_pcm(tiny_speech(0.5, rate=8_000))
    voice = read_voice(write_wav(tmp_path / "a.wav", pcm, 8_000, channels=2))
    assert voice.ndim == 1 and voice.dtype == np.int16
    assert abs(voice.size - 24_000) <= 48
    assert np.std(voice) == pytest.approx(np.std(pcm), rel=0.05)


def test_missing_empty_silent_and_foreign_files_say_so(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "note.wav").write_text("this is not audio\n" * 100)
    write_wav(tmp_path / "nothing.wav", np.zeros(0, np.int16), 16_000)
    for name, words in {
        "missing.wav": "is not there",
        "empty.wav": "is empty",
        "note.wav": "cannot be read as audio",
        "nothing.wav": "nothing.wav",
    }.items():
        with pytest.raises(VoiceFileError, match=words) as caught:
            read_voice(tmp_path / name)
        assert "\n" not in str(caught.value)
