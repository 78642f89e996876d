"""Exceptions of the streamer.

::

    StreamerError
    +-- EngineError      a network could not be opened or run
    +-- SessionClosed    the session ended; for readers of an outlet this is the normal end
    +-- VoiceFileError   a speech file cannot be used
    +-- MovieError       a video file cannot be written
    +-- SettingsError    a setting is wrong                      (settings.py)
    +-- PresetError      a preset, or the file of them, is wrong (preset_file.py)
    +-- TimelineError    a timeline cannot be used               (timeline_file.py)
    +-- ProtocolError    a client broke the protocol             (protocol.py)
    +-- BenchError       a measurement could not be made         (bench_client.py)
    +-- EvaluationError  an evaluation lacks something           (evaluation.py)
    +-- Mistake          options that do not go together         (cli.py)
"""

from __future__ import annotations

__all__ = ["EngineError", "MovieError", "SessionClosed", "StreamerError", "VoiceFileError"]


class StreamerError(Exception):
    """Base of every error this room raises; the message is one sentence for a person."""


class EngineError(StreamerError, RuntimeError):
    """A network could not be opened or run."""


class SessionClosed(StreamerError):
    """The session has ended."""


class VoiceFileError(StreamerError, ValueError):
    """A speech file is missing, empty or not audio."""


class MovieError(StreamerError, ValueError):
    """A video file cannot be written."""
