"""Reading a speech file: anything PyAV opens, as the voice a session would hear."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.errors import VoiceFileError
from daetalker.streamer.media import VOICE_RATE

__all__ = ["VoiceFileError", "read_voice"]


def read_voice(path: Path) -> NDArray[np.int16]:
    """The first audio track of a file, mixed to mono, ``[N]`` int16 at 48 kHz.

    Raises:
        VoiceFileError: if the file is missing, is not audio, or holds no sound.
    """
    if not path.is_file():
        raise VoiceFileError(f"{path} is not there; give the path of a speech file")
    if path.stat().st_size == 0:
        raise VoiceFileError(f"{path} is empty; give a file with speech in it")
    try:
        pcm = _decode(path)
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        raise VoiceFileError(
            f"{path} cannot be read as audio ({error}); give a WAV, FLAC, MP3, Opus or MP4 file"
        ) from error
    if pcm.size == 0:
        raise VoiceFileError(f"{path} holds no sound; give a file with speech in it")
    return pcm


def _decode(path: Path) -> NDArray[np.int16]:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise VoiceFileError(f"{path} has no audio track; give a file with speech in it")
        resampler = av.AudioResampler(format="s16", layout="mono", rate=VOICE_RATE)
        pieces: list[NDArray[np.int16]] = []
        for frame in container.decode(audio=0):
            # A file's timestamps may have holes; its samples are what counts here.
            frame.pts = None
            pieces += [_samples(out) for out in resampler.resample(frame)]
        if pieces:
            pieces += [_samples(out) for out in resampler.resample(None)]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)


def _samples(frame: av.AudioFrame) -> NDArray[np.int16]:
    return frame.to_ndarray().reshape(-1).astype(np.int16)
