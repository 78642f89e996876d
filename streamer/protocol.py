"""The messages on the WebSocket: one typed union a direction, JSON text, one object a message.

``docs/protocol.md`` is the page for people; ``tests/fixtures/protocol`` holds examples that Python
and the browser's tests both read.  Parsing is strict: an unknown field, a number in quotes or a
value that is not finite is an error that names the field.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

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
    """First message: the version spoken, and the avatar wanted (left out: the server's own)."""

    type: Literal["hello"] = "hello"
    protocol: int
    avatar: str | None = Field(None, max_length=256)


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
    """Turn the head to these angles in degrees within ``ease_s`` seconds; clamped to the range."""

    type: Literal["pose"] = "pose"
    yaw: FiniteFloat
    pitch: FiniteFloat
    roll: FiniteFloat
    ease_s: Annotated[FiniteFloat, Field(ge=0.05, le=5.0)] | None = None


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


class Ping(_Message):
    """Ask for a ``pong`` with the same id."""

    type: Literal["ping"] = "ping"
    id: int


class Bye(_Message):
    """The client leaves."""

    type: Literal["bye"] = "bye"


ClientMessage = Annotated[
    Hello | Offer | Candidate | Pose | SelectPreset | Natural | Mute | Ping | Bye,
    Field(discriminator="type"),
]


# --- server to client ---------------------------------------------------------------------------


class PresetInfo(_Message):
    """A named head pose; angles in degrees."""

    name: str
    label: str
    yaw: FiniteFloat
    pitch: FiniteFloat
    roll: FiniteFloat


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


class Welcome(_Message):
    """Answer to ``hello``.  ``delay_ms`` is how long the voice and the video are held back."""

    type: Literal["welcome"] = "welcome"
    protocol: int = PROTOCOL_VERSION
    session: str
    avatar: AvatarInfo
    profile: str
    delay_ms: FiniteFloat
    ice_servers: list[IceServer]


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
    Welcome | Answer | State | Error | Pong | Goodbye, Field(discriminator="type")
]

_client: TypeAdapter[Any] = TypeAdapter(ClientMessage)
_server: TypeAdapter[Any] = TypeAdapter(ServerMessage)


def parse_client_message(
    text: str,
) -> Hello | Offer | Candidate | Pose | SelectPreset | Natural | Mute | Ping | Bye:
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
        raise ProtocolError("bad_message", _sentence(error)) from None
    if isinstance(message, Hello) and message.protocol != PROTOCOL_VERSION:
        raise ProtocolError(
            "unsupported_protocol",
            f"This server speaks protocol {PROTOCOL_VERSION}, not {message.protocol}; "
            "reload the page.",
        )
    return message  # type: ignore[no-any-return]


def parse_server_message(text: str) -> Welcome | Answer | State | Error | Pong | Goodbye:
    """Read one message from a server, for clients written in Python.

    Raises:
        ProtocolError: ``bad_message`` naming the field.
    """
    try:
        return _server.validate_json(text)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise ProtocolError("bad_message", _sentence(error)) from None


def to_json(message: BaseModel) -> str:
    """The JSON text of a message.  A server without credentials has no such fields in it."""
    # `welcome` is the only message with fields that may be absent; nulls elsewhere have a meaning.
    return message.model_dump_json(exclude_none=isinstance(message, Welcome))


def _sentence(error: ValidationError) -> str:
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
