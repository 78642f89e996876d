"""The remote worker: one room in which a session is the face of an agent elsewhere."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from livekit import rtc
from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
from livekit.agents.voice.avatar import DataStreamAudioReceiver

from daetalker.plugins.livekit.errors import LiveKitError
from daetalker.plugins.livekit.generator import DaetalkerGenerator
from daetalker.plugins.livekit.runner import FaceRunner
from daetalker.streamer.live_session import LiveSession

__all__ = ["Worker"]

CONNECT_S = 15.0
AGENT_S = 60.0
"""How long an agent that has asked for a face may take to be in the room."""


class Worker:
    """`join`, then `run` until it returns; `leave` ends it from outside."""

    def __init__(self, session: LiveSession) -> None:
        """The session stays the caller's."""
        self.session = session
        self._room = rtc.Room()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._agent = ""
        self._room.on("disconnected", self._on_disconnected)
        self._room.on("participant_disconnected", self._on_participant_disconnected)

    @property
    def room_name(self) -> str:
        """As LiveKit calls it; empty before `join`."""
        return self._room.name

    @property
    def identity(self) -> str:
        """The face's own identity in the room."""
        return self._room.local_participant.identity

    @property
    def agent(self) -> str:
        """Identity of the agent that speaks; empty if the token does not say."""
        return self._agent

    async def join(self, url: str, token: str) -> None:
        """Enter the room.

        Raises:
            LiveKitError: if that cannot be done.
        """
        options = rtc.RoomOptions(auto_subscribe=False)
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._room.connect(url, token, options)
        except (rtc.ConnectError, TimeoutError) as error:
            why = str(error).splitlines()[0] if str(error) else f"no answer in {CONNECT_S:.0f} s"
            raise LiveKitError(
                f"the LiveKit room at {url} cannot be joined ({why}); check livekit_url as this "
                "server sees it, and that the token is of the same project"
            ) from None
        attributes = self._room.local_participant.attributes
        self._agent = attributes.get(ATTRIBUTE_PUBLISH_ON_BEHALF, "")

    async def run(self) -> str:
        """Be the agent's face until one of both leaves; returns why it ended."""
        receiver = DataStreamAudioReceiver(self._room, sender_identity=self._agent or None)
        runner = FaceRunner(
            self._room, audio_recv=receiver, video_gen=DaetalkerGenerator(self.session)
        )
        serving = asyncio.create_task(self._serve(runner), name="livekit runner")
        ended = asyncio.create_task(self.session.ended(), name="livekit session")
        try:
            waited: set[asyncio.Future[Any]] = {serving, ended, self._over}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                return self._over.result()
            if ended.done():
                return "the session ended"
            return serving.result()
        finally:
            for task in (serving, ended):
                task.cancel()
            await asyncio.wait({serving, ended})
            await runner.aclose()
            _forget_agent(self._agent)
            await self.disconnect()

    async def disconnect(self) -> None:
        """Leave the room; may be called again, and if there was none."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await self._room.disconnect()

    def leave(self, reason: str) -> None:
        """Make `run` return this reason."""
        if not self._over.done():
            self._over.set_result(reason)

    async def _serve(self, runner: FaceRunner) -> str:
        try:
            async with asyncio.timeout(AGENT_S):
                await runner.start()
        except TimeoutError:
            return f"the agent did not come within {AGENT_S:.0f} s"
        await runner.wait_for_complete()
        return "the runner ended"

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self.leave(f"disconnected from the room ({rtc.DisconnectReason.Name(reason).lower()})")

    def _on_participant_disconnected(self, participant: rtc.RemoteParticipant) -> None:
        is_agent = participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        if participant.identity == self._agent or (not self._agent and is_agent):
            self.leave("the agent left")


def _forget_agent(identity: str) -> None:
    """LiveKit keeps a handler, and with it the whole runner, for every agent there ever was."""
    handlers = getattr(DataStreamAudioReceiver, "_clear_buffer_handlers", {})
    handlers.pop(identity, None)
