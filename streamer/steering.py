"""Steering: the one way by which anybody tells a session what to do.

Pages, HTTP, MQTT, agents and Python all send the same commands (`protocol.Command`), and all of
them end here.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daetalker.streamer import protocol as p
from daetalker.streamer.control import Control
from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.presets import PresetBook, PresetError
from daetalker.streamer.session import Session
from daetalker.streamer.voice_file import VoiceFileError, read_voice

__all__ = ["Steering", "as_sentence"]

logger = logging.getLogger(__name__)

DEFAULT_EASE_S = 0.5
POSE_NATURAL = 0.15
"""Share of the speech-driven movement kept around a pose set by hand, as in the presets."""


class Steering:
    """Commands to one session; for the event loop's thread of the session."""

    def __init__(self, session: Session, book: PresetBook, voices: Path | None = None) -> None:
        """Presets come from ``book``, files to say from the folder ``voices``."""
        self._session = session
        self._book = book
        self._voices = voices
        self._speaking: asyncio.Task[None] | None = None

    async def apply(self, command: p.Command) -> None:
        """Do it; the next window shows it.

        Raises:
            ProtocolError: ``unknown_preset`` or ``unknown_voice``.
        """
        session = self._session
        muted = session.control.muted
        match command:
            case p.Pose(yaw=yaw, pitch=pitch, roll=roll, ease_s=ease_s, natural=natural):
                ease_s = DEFAULT_EASE_S if ease_s is None else ease_s
                natural = POSE_NATURAL if natural is None else natural
                session.set_control(Control((yaw, pitch, roll), natural, ease_s, muted=muted))
            case p.SelectPreset(name=name):
                try:
                    preset = self._book.find(session.bundle.manifest, name)
                except PresetError as error:
                    raise p.ProtocolError("unknown_preset", as_sentence(error)) from None
                session.set_control(Control.of(preset, muted))
            case p.Natural():
                session.set_control(Control(muted=muted))
            case p.Mute(on=on):
                session.set_control(replace(session.control, muted=on))
            case p.Interrupt():
                session.interrupt()
            case p.Say(file=file):
                await self._say(file)

    async def _say(self, file: str) -> None:
        voice = await asyncio.to_thread(_read, self._voices, file)
        if self._speaking is not None and not self._speaking.done():
            raise p.ProtocolError(
                "unknown_voice", "It is speaking a file already; interrupt it first."
            )
        self._speaking = asyncio.create_task(self._speak(voice), name=f"say {file}")

    async def _speak(self, voice: NDArray[np.int16]) -> None:
        try:
            await self._session.say(voice)
        except SessionClosed:
            return
        self._session.end_utterance()


def _read(voices: Path | None, file: str) -> NDArray[np.int16]:
    if voices is None:
        raise p.ProtocolError(
            "unknown_voice",
            "This server has no folder of voices; set voice_folder (--voice-folder) to one.",
        )
    path = voices / file
    # A name, not a path: nothing outside of the folder can be asked for.
    if Path(file).name != file or not path.is_file():
        names = sorted(f.name for f in voices.iterdir() if f.is_file())[:20]
        there = ", ".join(names) or "none"
        raise p.ProtocolError("unknown_voice", f"There is no such voice file; there are: {there}.")
    try:
        return read_voice(path)
    except VoiceFileError:
        logger.warning("voice file %s cannot be read as audio", path)
        raise p.ProtocolError("unknown_voice", f"{file} cannot be read as audio.") from None


def as_sentence(error: Exception) -> str:
    """An error's text with a capital and a full stop."""
    text = str(error)
    return text[0].upper() + text[1:].rstrip(".") + "."
