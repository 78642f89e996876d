"""What every message of the protocol is built on, and the error that breaking it raises."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from daetalker.streamer.errors import StreamerError

__all__ = ["MAX_MESSAGE_BYTES", "PROTOCOL_VERSION", "ErrorCode", "Message", "ProtocolError"]

PROTOCOL_VERSION = 1
MAX_MESSAGE_BYTES = 64 * 1024

ErrorCode = Literal[
    "bad_message",
    "unsupported_protocol",
    "hello_first",
    "unknown_avatar",
    "unknown_preset",
    "bad_sdp",
    "second_offer",
    "no_audio",
    "server_full",
    "engine_failed",
    "unknown_session",
    "bad_preset",
    "not_allowed",
    "unknown_voice",
    "buffer_full",
    "too_large",
    "too_fast",
    "too_many",
]


class ProtocolError(StreamerError):
    """The client broke the protocol.

    Attributes:
        code: what kind of error, for programs.
        message: one sentence, for people.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message


class Message(BaseModel):
    """Parsed strictly: no unknown fields, no numbers in quotes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
