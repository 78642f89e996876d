"""The JSON messages of the speak socket that the page's protocol does not have."""

from __future__ import annotations

import json
from typing import Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, FiniteFloat

from daetalker.streamer import protocol as p

__all__ = [
    "Buffer",
    "ClientMessage",
    "End",
    "Finished",
    "Media",
    "Ready",
    "Started",
    "State",
    "read",
]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class End(_Message):
    """The utterance is complete."""

    type: Literal["end"] = "end"


ClientMessage = End | p.Ping | p.Bye | p.Command
_FROM_THE_PROTOCOL = (p.Ping, p.Bye, *get_args(p.Command))


class Ready(_Message):
    """First message: voice may come.  ``watch`` is the page that shows the session."""

    type: Literal["ready"] = "ready"
    session: str
    watch: str
    size: int
    fps: int
    delay_ms: FiniteFloat
    rate: int
    channels: int


class Started(_Message):
    """The first sound of an utterance has left."""

    type: Literal["started"] = "started"
    utterance: int


class Finished(_Message):
    """An utterance is over; ``position_s`` seconds of it were given out."""

    type: Literal["finished"] = "finished"
    utterance: int
    position_s: FiniteFloat
    interrupted: bool


class State(p.State):
    """The session's state; ``utterance`` is the one that is being heard, null in pauses."""

    utterance: int | None


class Buffer(_Message):
    """So much voice waits.  With ``hold`` the agent should wait, until one without it comes."""

    type: Literal["buffer"] = "buffer"
    seconds: FiniteFloat
    hold: bool


class Media(_Message):
    """First message of the media socket."""

    type: Literal["media"] = "media"
    session: str
    size: int
    fps: int
    voice_rate: int


def read(text: str) -> ClientMessage:
    """One message of an agent.

    Raises:
        ProtocolError: ``too_large`` or ``bad_message``.
    """
    if len(text) <= 256 and _is_end(text):
        return End()
    message = p.parse_client_message(text)
    if not isinstance(message, _FROM_THE_PROTOCOL):
        raise p.ProtocolError("bad_message", f"type: '{message.type}' has no place on this socket.")
    return cast(ClientMessage, message)


def _is_end(text: str) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return bool(found == {"type": "end"})
