"""The messages on the WebSocket: one typed union a direction, JSON text, one object a message.

``docs/protocol.md`` is the page for people; ``tests/fixtures/protocol`` holds examples that Python
and the browser's tests both read.  Parsing is strict: an unknown field, a number in quotes or a
value that is not finite is an error that names the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from daetalker.streamer.errors import StreamerError

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


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# --- client to server ---------------------------------------------------------------------------


class Hello(_Message):
    """First message: the version spoken, and the avatar wanted (left out: the server's own).

    With ``watch`` the client wants to see and hear a session that is there already: its id, or
    ``latest``.
    """

    type: Literal["hello"] = "hello"
    protocol: int
    avatar: str | None = Field(default=None, max_length=256)
    watch: str | None = Field(default=None, max_length=64)


class Offer(_Message):
    """SDP of a connection that sends one audio track and receives one video and one audio track."""

    type: Literal["offer"] = "offer"
    sdp: str


class Candidate(_Message):
    """One ICE candidate as the browser gives it; an empty ``candidate`` says there are no more."""

    type: Literal["candidate"] = "candidate"
    candidate: str = Field(max_length=1024)
    sdpMid: str | None
    sdpMLineIndex: int | None = Field(ge=0, le=255)


class Pose(_Message):
    """Turn the head to these angles in degrees within ``ease_s`` seconds; clamped to the range.

    ``natural`` is the share of the speech-driven movement kept around them.
    """

    type: Literal["pose"] = "pose"
    yaw: FiniteFloat
    pitch: FiniteFloat
    roll: FiniteFloat
    ease_s: Annotated[FiniteFloat, Field(ge=0.05, le=60.0)] | None = None
    natural: Annotated[FiniteFloat, Field(ge=0.0, le=1.0)] | None = None


class SelectPreset(_Message):
    """Turn the head to one of the avatar's named poses."""

    type: Literal["preset"] = "preset"
    name: str = Field(max_length=256)


class Natural(_Message):
    """Let speech move the head again."""

    type: Literal["natural"] = "natural"


class Mute(_Message):
    """Treat the microphone as silent, or stop doing so."""

    type: Literal["mute"] = "mute"
    on: bool


class Interrupt(_Message):
    """Stop speaking: what was heard but not yet given out is dropped, the mouth closes."""

    type: Literal["interrupt"] = "interrupt"


class Say(_Message):
    """Speak a file of the server's folder of voices; the microphone is not heard meanwhile."""

    type: Literal["say"] = "say"
    file: str = Field(min_length=1, max_length=256)


class SavePreset(_Message):
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


class DeletePreset(_Message):
    """Take a preset out of the server's file, or hide one of the avatar's own."""

    type: Literal["delete_preset"] = "delete_preset"
    name: str = Field(max_length=64)


class Ping(_Message):
    """Ask for a ``pong`` with the same id."""

    type: Literal["ping"] = "ping"
    id: int


class Bye(_Message):
    """The client leaves."""

    type: Literal["bye"] = "bye"


Command = Pose | SelectPreset | Natural | Mute | Interrupt | Say
"""What may be asked of a session, by whatever way it comes: see `steering`."""

ClientMessage = Annotated[
    Hello | Offer | Candidate | Command | SavePreset | DeletePreset | Ping | Bye,
    Field(discriminator="type"),
]


# --- server to client ---------------------------------------------------------------------------


class PresetInfo(_Message):
    """A named head pose; angles in degrees, times in seconds.

    ``hold_s`` is how long it is held before the speech moves the head again, null for good;
    ``own`` is true if it comes from the user's file.
    """

    name: str
    label: str
    yaw: FiniteFloat
    pitch: FiniteFloat
    roll: FiniteFloat
    ease_s: FiniteFloat
    natural: FiniteFloat
    hold_s: FiniteFloat | None
    own: bool


Range = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]


class PoseRange(_Message):
    """Smallest and largest angle of each axis, in degrees."""

    yaw: Range
    pitch: Range
    roll: Range


class AvatarInfo(_Message):
    """What a client needs to know of an avatar.  ``size`` is the frame's side in pixels."""

    name: str
    label: str
    size: int
    fps: int
    synthetic: bool
    pose_range: PoseRange
    presets: list[PresetInfo]


class IceServer(_Message):
    """A STUN or TURN server, in the shape of the browser's ``RTCIceServer``."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None

    @model_serializer(mode="wrap")
    def _leave_out_absent(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Browsers refuse a server whose credential is null.
        return {name: value for name, value in write(self).items() if value is not None}


class PluginInfo(_Message):
    """A plugin of the server; ``script`` is the module that a page imports for it, if any."""

    name: str
    script: str | None


class Welcome(_Message):
    """Answer to ``hello``.  ``delay_ms`` is how long the voice and the video are held back.

    ``can_edit`` says whether this client may save presets.
    """

    type: Literal["welcome"] = "welcome"
    protocol: int = PROTOCOL_VERSION
    session: str
    avatar: AvatarInfo
    profile: str
    delay_ms: FiniteFloat
    ice_servers: list[IceServer]
    can_edit: bool
    plugins: list[PluginInfo]


class Answer(_Message):
    """SDP with all of the server's candidates in it."""

    type: Literal["answer"] = "answer"
    sdp: str


class PoseAngles(_Message):
    """Where the head is, in degrees."""

    yaw: FiniteFloat
    pitch: FiniteFloat
    roll: FiniteFloat


class State(_Message):
    """How the session is doing, twice a second.  ``late`` counts frames that missed their time."""

    type: Literal["state"] = "state"
    speaking: bool
    fps: FiniteFloat
    latency_ms: FiniteFloat
    late: int
    pose: PoseAngles
    preset: str | None
    muted: bool


class Presets(_Message):
    """The avatar's presets have changed, by whoever's hand."""

    type: Literal["presets"] = "presets"
    presets: list[PresetInfo]


class Error(_Message):
    """Something the client did, or the server could not do.  The socket closes only if fatal."""

    type: Literal["error"] = "error"
    code: ErrorCode
    message: str
    fatal: bool = False


class Pong(_Message):
    """Answer to ``ping``."""

    type: Literal["pong"] = "pong"
    id: int


class Goodbye(_Message):
    """Last message before the server closes the socket; ``reason`` is a short phrase."""

    type: Literal["goodbye"] = "goodbye"
    reason: str


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
    where = ".".join(str(part) for part in first["loc"])
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
