"""The messages on the WebSocket: one typed union a direction, JSON text, one object a message.

``docs/protocol.md`` is the page for people; ``tests/fixtures/protocol`` holds examples that Python
and the browser's tests both read.  Parsing is strict: an unknown field, a number in quotes or a
value that is not finite is an error that names the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from daetalker.streamer.client_messages import (
    Bye,
    Candidate,
    DeletePreset,
    Hello,
    Interrupt,
    Mute,
    Natural,
    Offer,
    Ping,
    Pose,
    SavePreset,
    Say,
    SelectPreset,
)
from daetalker.streamer.messages import (
    MAX_MESSAGE_BYTES,
    PROTOCOL_VERSION,
    ErrorCode,
    ProtocolError,
)
from daetalker.streamer.server_messages import (
    Answer,
    AvatarInfo,
    ConsentInfo,
    Error,
    Goodbye,
    IceServer,
    PluginInfo,
    Pong,
    PoseAngles,
    PoseRange,
    PresetInfo,
    Presets,
    State,
    Welcome,
)

__all__ = [
    "MAX_MESSAGE_BYTES",
    "PROTOCOL_VERSION",
    "Answer",
    "AvatarInfo",
    "Bye",
    "Candidate",
    "ClientMessage",
    "Command",
    "ConsentInfo",
    "DeletePreset",
    "Error",
    "ErrorCode",
    "Goodbye",
    "Hello",
    "IceServer",
    "Interrupt",
    "Mute",
    "Natural",
    "Offer",
    "Ping",
    "PluginInfo",
    "Pong",
    "Pose",
    "PoseAngles",
    "PoseRange",
    "PresetInfo",
    "Presets",
    "ProtocolError",
    "SavePreset",
    "Say",
    "SelectPreset",
    "ServerMessage",
    "State",
    "Welcome",
    "parse_client_message",
    "parse_command",
    "parse_server_message",
    "sentence",
    "to_json",
]

Command = Pose | SelectPreset | Natural | Mute | Interrupt | Say
"""What may be asked of a session, by whatever way it comes: see `steering`."""

ClientMessage = Annotated[
    Hello | Offer | Candidate | Command | SavePreset | DeletePreset | Ping | Bye,
    Field(discriminator="type"),
]

ServerMessage = Annotated[
    Welcome | Answer | State | Presets | Error | Pong | Goodbye, Field(discriminator="type")
]

_client: TypeAdapter[Any] = TypeAdapter(ClientMessage)
_command: TypeAdapter[Any] = TypeAdapter(Annotated[Command, Field(discriminator="type")])
_server: TypeAdapter[Any] = TypeAdapter(ServerMessage)


def parse_client_message(
    text: str,
) -> Hello | Offer | Candidate | Command | SavePreset | DeletePreset | Ping | Bye:
    """Read one message from a client.

    Raises:
        ProtocolError: ``too_large``, ``bad_message`` naming the field, or ``unsupported_protocol``.
    """
    # A character is at least a byte, so the cheap test comes first.
    if len(text) > MAX_MESSAGE_BYTES or len(text.encode(errors="replace")) > MAX_MESSAGE_BYTES:
        raise ProtocolError("too_large", f"A message may have {MAX_MESSAGE_BYTES} bytes at most.")
    try:
        message = _client.validate_json(text)
    except ValidationError as error:
        raise ProtocolError("bad_message", sentence(error)) from None
    if isinstance(message, Hello) and message.protocol != PROTOCOL_VERSION:
        raise ProtocolError(
            "unsupported_protocol",
            f"This server speaks protocol {PROTOCOL_VERSION}, not {message.protocol}; "
            "reload the page.",
        )
    return message  # type: ignore[no-any-return]


def parse_command(document: str | bytes | Mapping[str, Any]) -> Command:
    """Read one command, JSON text or what JSON text stands for.

    Raises:
        ProtocolError: ``too_large`` or ``bad_message`` naming the field.
    """
    try:
        if isinstance(document, str | bytes):
            if len(document) > MAX_MESSAGE_BYTES:
                raise ProtocolError(
                    "too_large", f"A command may have {MAX_MESSAGE_BYTES} bytes at most."
                )
            return _command.validate_json(document)  # type: ignore[no-any-return]
        return _command.validate_python(dict(document))  # type: ignore[no-any-return]
    except ValidationError as error:
        raise ProtocolError("bad_message", sentence(error)) from None


def parse_server_message(
    text: str,
) -> Welcome | Answer | State | Presets | Error | Pong | Goodbye:
    """Read one message from a server, for clients written in Python.

    Raises:
        ProtocolError: ``bad_message`` naming the field.
    """
    try:
        return _server.validate_json(text)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise ProtocolError("bad_message", sentence(error)) from None


def to_json(message: BaseModel) -> str:
    """The JSON text of a message."""
    return message.model_dump_json()


def sentence(error: ValidationError) -> str:
    """The first complaint of a validation, as a sentence that names the field."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind = first["type"]
    if kind == "json_invalid":
        return "The message is not JSON."
    # The name of a field that there is not is the client's own text.
    where = "".join(c if c.isprintable() else "?" for c in ".".join(map(str, first["loc"])))
    where = where if len(where) <= 80 else where[:79] + "…"
    if kind == "union_tag_not_found":
        return "type: every message is an object with a text field 'type'."
    if kind == "union_tag_invalid":
        return "type: there is no such message."
    if not where:
        return "The message is not a JSON object."
    problem = first["msg"].rstrip(".")
    if kind == "extra_forbidden":
        problem = "there is no such field"
    return f"{where}: {problem[0].lower() + problem[1:]}."
