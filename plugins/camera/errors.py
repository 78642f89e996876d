"""Errors of the virtual camera.

::

    StreamerError
    +-- DeviceError
        +-- CameraError       the virtual camera
        +-- VoiceOutError     the virtual microphone
        +-- MicrophoneError   the microphone
        +-- AttachError       the server that is watched
"""

from __future__ import annotations

from daetalker.streamer.errors import StreamerError

__all__ = ["AttachError", "CameraError", "DeviceError", "MicrophoneError", "VoiceOutError"]


class DeviceError(StreamerError):
    """Something outside is not there or does not do its work.

    Attributes:
        problem: what is wrong.
        fix: what to do about it; may be empty.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(f"{problem}: {fix}" if fix else problem)
        self.problem, self.fix = problem, fix


class CameraError(DeviceError):
    """The virtual camera cannot be opened or used."""


class VoiceOutError(DeviceError):
    """The voice cannot be given out."""


class MicrophoneError(DeviceError):
    """There is no such microphone, or it has gone."""


class AttachError(DeviceError):
    """The server refuses to be watched."""
