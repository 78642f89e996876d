"""What the server says, message by message; docs/protocol.md has the table."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, SerializerFunctionWrapHandler, model_serializer

from daetalker.streamer.messages import PROTOCOL_VERSION, ErrorCode, Message

__all__ = [
    "Answer",
    "AvatarInfo",
    "ConsentInfo",
    "Error",
    "Goodbye",
    "IceServer",
    "PluginInfo",
    "Pong",
    "PoseAngles",
    "PoseRange",
    "PresetInfo",
    "Presets",
    "State",
    "Welcome",
]


class PresetInfo(Message):
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


class PoseRange(Message):
    """Smallest and largest angle of each axis, in degrees."""

    yaw: Range
    pitch: Range
    roll: Range


class ConsentInfo(Message):
    """Who is shown by an avatar, and who agreed to what; texts may be empty."""

    person: str
    agreed_by: str
    statement: str
    uses: list[str]
    date: str


class AvatarInfo(Message):
    """What a client needs to know of an avatar.  ``size`` is the frame's side in pixels.

    ``synthetic`` is true where nobody's likeness is shown; ``consent`` says who agreed, or why
    nobody had to.
    """

    name: str
    label: str
    size: int
    fps: int
    synthetic: bool
    consent: ConsentInfo
    pose_range: PoseRange
    presets: list[PresetInfo]


class IceServer(Message):
    """A STUN or TURN server, in the shape of the browser's ``RTCIceServer``."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None

    @model_serializer(mode="wrap")
    def _leave_out_absent(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Browsers refuse a server whose credential is null.
        return {name: value for name, value in write(self).items() if value is not None}


class PluginInfo(Message):
    """A plugin of the server; ``script`` is the module that a page imports for it, if any."""

    name: str
    script: str | None


class Welcome(Message):
    """Answer to ``hello``.  ``delay_ms`` is how long the voice and the video are held back.

    ``can_edit`` says whether this client may save presets, ``can_steer`` whether it may turn the
    head and interrupt: who has a link to watch may not.  ``synthetic`` is true of every session
    there is: its pictures are generated, whoever they show.  ``mark`` is the text drawn into them,
    empty for none.
    """

    type: Literal["welcome"] = "welcome"
    protocol: int = PROTOCOL_VERSION
    session: str
    avatar: AvatarInfo
    synthetic: Literal[True] = True
    mark: str
    profile: str
    delay_ms: FiniteFloat
    ice_servers: list[IceServer]
    can_edit: bool
    can_steer: bool
    plugins: list[PluginInfo]


class Answer(Message):
    """SDP with all of the server's candidates in it."""

    type: Literal["answer"] = "answer"
    sdp: str


class PoseAngles(Message):
    """Where the head is, in degrees."""

    yaw: FiniteFloat
    pitch: FiniteFloat
    roll: FiniteFloat


class State(Message):
    """How the session is doing, twice a second.  ``late`` counts frames that missed their time.

    ``load``: ``reduced`` while some frames are left out, ``overloaded`` while fewer than 15 a
    second are shown.
    """

    type: Literal["state"] = "state"
    speaking: bool
    fps: FiniteFloat
    latency_ms: FiniteFloat
    late: int
    pose: PoseAngles
    preset: str | None
    muted: bool
    load: Literal["ok", "reduced", "overloaded"]


class Presets(Message):
    """The avatar's presets have changed, by whoever's hand."""

    type: Literal["presets"] = "presets"
    presets: list[PresetInfo]


class Error(Message):
    """Something the client did, or the server could not do.  The socket closes only if fatal."""

    type: Literal["error"] = "error"
    code: ErrorCode
    message: str
    fatal: bool = False


class Pong(Message):
    """Answer to ``ping``."""

    type: Literal["pong"] = "pong"
    id: int


class Goodbye(Message):
    """Last message before the server closes the socket; ``message`` is a short phrase.

    ``retry_s``: seconds after which the client may come back by itself; null: it should not.
    """

    type: Literal["goodbye"] = "goodbye"
    message: str
    retry_s: FiniteFloat | None
