"""Conduct: does what commands on topics ask of the sessions, and answers those it cannot do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from daetalker.plugins.mqtt.commands import AXES, lacks_angles, read_command
from daetalker.plugins.mqtt.topics import Address
from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.line import RateLimit
from daetalker.streamer.plugin import Host, LiveSession
from daetalker.streamer.protocol import ProtocolError

__all__ = ["Conduct"]

COMMANDS_PER_S = 50.0
_BURST = 100.0
_PATIENCE_S = 5.0


class Conduct:
    """Commands in, one after the other."""

    def __init__(
        self,
        host: Host,
        sessions: Mapping[str, LiveSession],
        answer: Callable[[str], None],
    ) -> None:
        """Nothing asked for yet.

        Args:
            sessions: the sessions that run, by alias; kept up to date by its owner.
            answer: takes the JSON of each error.
        """
        self._host = host
        self._sessions = sessions
        self._answer = answer
        self._allowed = RateLimit(COMMANDS_PER_S, time.monotonic, _BURST)
        # One answer a second: an answer to each would only be more of the same.
        self._complained = RateLimit(1.0, time.monotonic)
        self._aims: dict[str, dict[str, float]] = {}

    def aim(self, session: LiveSession) -> dict[str, float] | None:
        """Yaw, pitch and roll last asked for here, in degrees; None after a preset or natural."""
        return self._aims.get(session.id)

    def forget(self, session: LiveSession) -> None:
        """The session is over, or somebody else has turned its head."""
        self._aims.pop(session.id, None)

    async def do(self, address: Address, topic: str, payload: bytes) -> None:
        """Do a command; what is wrong with it is answered, never raised."""
        count = len(self._sessions) if address.which == "all" else 1
        if not self._allowed.take(max(count, 1)):
            if self._complained.take():
                rate = f"More than {COMMANDS_PER_S:.0f} commands a second are not done."
                self._tell(topic, "too_fast", rate)
            return
        try:
            command = read_command(address.kind, payload)
            for session in await self._addressed(address.which):
                async with asyncio.timeout(_PATIENCE_S):
                    await self._command(session, command)
        except ProtocolError as error:
            self._tell(topic, error.code, error.message)
        except SessionClosed:
            self._tell(topic, "unknown_session", "That session has just ended.")
        except TimeoutError:
            self._tell(topic, "engine_failed", "The session did not answer within 5 s.")

    async def _addressed(self, which: str) -> list[LiveSession]:
        if which == "latest":
            return [await self._host.find()]
        found = [session for alias, session in self._sessions.items() if which in ("all", alias)]
        if not found:
            raise ProtocolError("unknown_session", "There is no such session.")
        return found

    async def _command(self, session: LiveSession, command: Mapping[str, Any]) -> None:
        whole = dict(command)
        if lacks_angles(command):
            pose = session.state().pose
            here = {"yaw": pose.yaw, "pitch": pose.pitch, "roll": pose.roll}
            whole = self._aims.get(session.id, here) | whole
        await session.command(whole)
        if whole["type"] == "pose":
            limits = session.avatar.pose_range.model_dump()
            self._aims[session.id] = {
                axis: min(max(float(whole[axis]), limits[axis][0]), limits[axis][1])
                for axis in AXES
            }
        elif whole["type"] in ("preset", "natural"):
            self.forget(session)

    def _tell(self, topic: str, code: str, message: str) -> None:
        self._answer(json.dumps({"topic": topic, "code": code, "message": message}))
