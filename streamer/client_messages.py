"""What a client may say, message by message; docs/protocol.md has the table."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from daetalker.streamer.messages import Message

__all__ = [
    "Bye",
    "Candidate",
    "DeletePreset",
    "Hello",
    "Interrupt",
    "Mute",
    "Natural",
    "Offer",
    "Ping",
    "Pose",
    "SavePreset",
    "Say",
    "SelectPreset",
]


class Hello(Message):
    """First message: the version spoken, and the avatar wanted (left out: the server's own).

    With ``watch`` the client wants to see and hear a session that is there already: its id, or
    ``latest``.
    """

    type: Literal["hello"] = "hello"
    protocol: int
    avatar: str | None = Field(default=None, max_length=256)
    watch: str | None = Field(default=None, max_length=64)


class Offer(Message):
    """SDP of a connection that sends one audio track and receives one video and one audio track."""

    type: Literal["offer"] = "offer"
    sdp: str


class Candidate(Message):
    """One ICE candidate as the browser gives it; an empty ``candidate`` says there are no more."""

    type: Literal["candidate"] = "candidate"
    candidate: str = Field(max_length=1024)
    sdpMid: str | None
    sdpMLineIndex: int | None = Field(ge=0, le=255)


class Pose(Message):
    """Turn the head to these angles in degrees within ``ease_s`` seconds; clamped to the range.

    ``natural`` is the share of the speech-driven movement kept around them.
    """

    type: Literal["pose"] = "pose"
    yaw: FiniteFloat
    pitch: FiniteFloat
    roll: FiniteFloat
    ease_s: Annotated[FiniteFloat, Field(ge=0.05, le=60.0)] | None = None
    natural: Annotated[FiniteFloat, Field(ge=0.0, le=1.0)] | None = None


class SelectPreset(Message):
    """Turn the head to one of the avatar's named poses."""

    type: Literal["preset"] = "preset"
    name: str = Field(max_length=256)


class Natural(Message):
    """Let speech move the head again."""

    type: Literal["natural"] = "natural"


class Mute(Message):
    """Treat the microphone as silent, or stop doing so."""

    type: Literal["mute"] = "mute"
    on: bool


class Interrupt(Message):
    """Stop speaking: what was heard but not yet given out is dropped, the mouth closes."""

    type: Literal["interrupt"] = "interrupt"


class Say(Message):
    """Speak a file of the server's folder of voices; the microphone is not heard meanwhile."""

    type: Literal["say"] = "say"
    file: str = Field(min_length=1, max_length=256)


class SavePreset(Message):
    """Add a preset to the server's file, or change it; angles in degrees, times in seconds."""

    type: Literal["save_preset"] = "save_preset"
    name: str = Field(max_length=64)
    label: str | None = Field(default=None, max_length=80)
    yaw: FiniteFloat
    pitch: FiniteFloat
    roll: FiniteFloat
    ease_s: FiniteFloat | None = None
    natural: FiniteFloat | None = None
    hold_s: FiniteFloat | None = None


class DeletePreset(Message):
    """Take a preset out of the server's file, or hide one of the avatar's own."""

    type: Literal["delete_preset"] = "delete_preset"
    name: str = Field(max_length=64)


class Ping(Message):
    """Ask for a ``pong`` with the same id."""

    type: Literal["ping"] = "ping"
    id: int


class Bye(Message):
    """The client leaves."""

    type: Literal["bye"] = "bye"
