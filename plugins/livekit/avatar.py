"""`AvatarSession` for LiveKit agents: a face in the agent's own process, or from a server.

::

    avatar = daetalker.plugins.livekit.AvatarSession("mira")                 # in this process
    avatar = daetalker.plugins.livekit.AvatarSession(url="http://host:8080") # a server's
    await avatar.start(session, room=ctx.room)
    await session.start(agent=agent, room=ctx.room)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Literal

import aiohttp
from livekit import api, rtc
from livekit.agents import AgentSession, get_job_context
from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
from livekit.agents.voice.avatar import AvatarSession as BaseAvatarSession
from livekit.agents.voice.avatar import DataStreamAudioOutput, QueueAudioOutput

from daetalker.plugins.livekit.errors import LiveKitError
from daetalker.plugins.livekit.generator import DaetalkerGenerator
from daetalker.plugins.livekit.runner import FaceRunner
from daetalker.streamer import protocol as p
from daetalker.streamer.live import LiveSession, open_avatar

__all__ = ["AvatarSession"]

_HTTP_S = 30.0


class AvatarSession(BaseAvatarSession[Literal["never"]]):
    """A daetalker face for an agent.

    Attributes:
        live: the session in this process, to steer and to watch it; None if it is a server's.
    """

    def __init__(
        self,
        avatar: str | None = None,
        *,
        preset: str | None = None,
        profile: str = "default",
        threads: int = 2,
        url: str | None = None,
        token: str | None = None,
        identity: str = "daetalker-avatar",
        livekit_url: str | None = None,
        livekit_api_key: str | None = None,
        livekit_api_secret: str | None = None,
    ) -> None:
        """Nothing is opened before `start`.

        Args:
            avatar: its name, or in process the folder of a bundle; None for ``mira``, or for the
                server's own.
            preset: pose to begin with.
            profile: ``default`` or ``low_latency``; in process only.
            threads: processor threads for the networks; in process only.
            url: address of a daetalker server with the plugin ``livekit``; None: in process.
            token: that server's ``control_token``.
            identity: of the face in the room, if it comes from a server.
            livekit_url: of the room as that server sees it; None: ``LIVEKIT_URL``.
            livekit_api_key: None: ``LIVEKIT_API_KEY``.
            livekit_api_secret: None: ``LIVEKIT_API_SECRET``.
        """
        super().__init__()
        self.live: LiveSession | None = None
        self._avatar, self._preset = avatar, preset
        self._profile, self._threads = profile, threads
        self._url = None if url is None else url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._identity = identity
        self._livekit_url = livekit_url or os.environ.get("LIVEKIT_URL", "")
        self._key = livekit_api_key or os.environ.get("LIVEKIT_API_KEY", "")
        self._secret = livekit_api_secret or os.environ.get("LIVEKIT_API_SECRET", "")
        self._remote_session = ""
        self._opened = AsyncExitStack()

    @property
    def avatar_identity(self) -> str:
        """Who publishes the face: the agent itself in process, else a participant of its own."""
        if self._url is None and self._room is not None:
            return self._room.local_participant.identity
        return self._identity

    @property
    def provider(self) -> str:
        """Name in LiveKit's metrics."""
        return "daetalker"

    async def start(self, agent_session: AgentSession[Any], room: rtc.Room) -> None:
        """Open the face and give it the agent's voice; call it before `AgentSession.start`.

        Raises:
            LiveKitError: if the server or the room cannot be used.
            BundleError: if there is no such avatar in this process.
        """
        await super().start(agent_session, room)
        try:
            if self._url is None:
                await self._start_here(agent_session, room)
            else:
                await self._start_there(self._url, agent_session, room)
        except BaseException:
            await self.aclose()
            raise

    async def command(self, command: Mapping[str, Any] | p.Command) -> None:
        """Steer the face: any command of the protocol, e.g. ``{"type": "preset", "name": "left"}``.

        Raises:
            ProtocolError: in process, if the command is wrong.
            LiveKitError: if the server refuses it.
        """
        if self.live is not None:
            await self.live.command(command)
        elif self._url is not None and self._remote_session:
            body = dict(command) if isinstance(command, Mapping) else command.model_dump()
            path = f"/api/sessions/{self._remote_session}/command"
            await self._request("POST", self._url + path, body)
        else:
            raise LiveKitError("the avatar has not been started; call start() first")

    async def aclose(self) -> None:
        """Take the face out of the room; may be called again."""
        await self._opened.aclose()
        self.live, self._remote_session = None, ""
        if self._url is None and self._room is not None:
            # The base class removes the face's participant, which is the agent itself here.
            room, self._room = self._room, None
            room.off("connection_state_changed", self._on_connection_state_changed)
        await super().aclose()

    async def _start_here(self, agent_session: AgentSession[Any], room: rtc.Room) -> None:
        avatar = await self._opened.enter_async_context(
            open_avatar(self._avatar or "mira", profile=self._profile, threads=self._threads)
        )
        self.live = await self._opened.enter_async_context(avatar.session())
        if self._preset is not None:
            await self.live.command(p.SelectPreset(name=self._preset))
        voice = QueueAudioOutput(wait_playback_start=True)
        runner = FaceRunner(room, audio_recv=voice, video_gen=DaetalkerGenerator(self.live))
        self._opened.push_async_callback(runner.aclose)
        await runner.start()
        agent_session.output.replace_audio_tail(voice)

    async def _start_there(
        self, url: str, agent_session: AgentSession[Any], room: rtc.Room
    ) -> None:
        body = {
            "livekit_url": self._livekit_url,
            "livekit_token": self._mint(room),
            "avatar": self._avatar,
            "preset": self._preset,
        }
        answer = await self._request("POST", url + "/plugins/livekit/join", body)
        self._remote_session = answer["session"]
        agent_session.output.replace_audio_tail(
            DataStreamAudioOutput(
                room,
                destination_identity=self._identity,
                wait_remote_track=rtc.TrackKind.KIND_VIDEO,
                wait_playback_start=True,
            )
        )

    def _mint(self, room: rtc.Room) -> str:
        """A token with which the server joins this room in the agent's name."""
        if not (self._livekit_url and self._key and self._secret):
            raise LiveKitError(
                "set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or pass livekit_url, "
                "livekit_api_key and livekit_api_secret: the server joins the room with them"
            )
        job = get_job_context(required=False)
        if room.isconnected() or job is None:
            agent = room.local_participant.identity
        else:
            agent = job.local_participant_identity
        return (
            api.AccessToken(self._key, self._secret)
            .with_kind("agent")
            .with_identity(self._identity)
            .with_name("daetalker")
            .with_grants(api.VideoGrants(room_join=True, room=room.name))
            .with_attributes({ATTRIBUTE_PUBLISH_ON_BEHALF: agent})
            .to_jwt()
        )

    async def _request(self, method: str, url: str, body: dict[str, Any]) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=_HTTP_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=self._headers) as http,
                http.request(method, url, json=body) as response,
            ):
                answer = await response.json(content_type=None) if response.content_length else {}
                if response.status >= 400:
                    raise LiveKitError(f"{url}: {answer.get('message', response.reason)}")
                return dict(answer)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise LiveKitError(
                f"no daetalker server with the plugin 'livekit' answers at {url} ({error!r})"
            ) from None
