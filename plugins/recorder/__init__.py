"""The recorder: what a session shows and says, as an MP4 file."""

from __future__ import annotations

from daetalker.plugins.recorder.mp4 import RecorderError
from daetalker.plugins.recorder.plugin import RecorderPlugin, RecorderSettings
from daetalker.plugins.recorder.recording import Limits, Recording, Summary, record

__all__ = [
    "Limits",
    "RecorderError",
    "RecorderPlugin",
    "RecorderSettings",
    "Recording",
    "Summary",
    "record",
]
