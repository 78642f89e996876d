"""MqttPlugin: sessions on a broker, for home automation and for whatever else speaks MQTT.

::

    sessions --state, once a second--> Outbox --> Link --> broker
    sessions <----- Conduct <------------------- Link <--- broker
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from daetalker.plugins.mqtt.broker import check
from daetalker.plugins.mqtt.conduct import Conduct
from daetalker.plugins.mqtt.discovery import Shown, describe
from daetalker.plugins.mqtt.examine import examine
from daetalker.plugins.mqtt.link import OFFLINE, ONLINE, Link
from daetalker.plugins.mqtt.outbox import Outbox, Post
from daetalker.plugins.mqtt.settings import MqttSettings
from daetalker.plugins.mqtt.topics import Topics, alias_of
from daetalker.streamer.plugin import Finding, Host, LiveSession, Plugin, PluginSettings

__all__ = ["MqttPlugin"]

_SOONEST_S = 0.2
_LOOKS_PER_S = 100.0


class MqttPlugin(Plugin):
    """State out, commands in.  A broker that is away, slow or hostile disturbs no session."""

    name = "mqtt"
    Settings: ClassVar[type[PluginSettings]] = MqttSettings

    def __init__(self, host: Host, settings: MqttSettings) -> None:
        super().__init__(host, settings)
        self._config = settings
        self._topics = Topics(settings.prefix, settings.node, settings.discovery_prefix)
        self._outbox = Outbox()
        self._sessions: dict[str, LiveSession] = {}
        self._conduct = Conduct(host, self._sessions, self._answer)
        self._link = Link(
            settings,
            self._topics,
            self._outbox,
            hear=self._hear,
            farewell=self._farewell,
            log=host.log,
        )
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """See that everything is there to connect with; whether the broker is, `run` finds out."""
        check(self._config)
        if self._config.insecure:
            self.host.log.warning("any broker certificate is accepted (insecure = true)")

    async def run(self) -> None:
        """Keep the link up and the state on it fresh."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish(), name="mqtt: publish")
            group.create_task(self._link.run(), name="mqtt: link")

    async def session(self, session: LiveSession) -> None:
        """Have the session's state on the broker as long as it lives."""
        alias = alias_of(session.id)
        self._sessions[alias] = session
        self._changed.set()
        try:
            await session.ended()
        finally:
            del self._sessions[alias]
            self._conduct.forget(session)
            self._outbox.clear(self._topics.session_state(alias))
            self._changed.set()

    @classmethod
    def examine(cls, settings: MqttSettings) -> Iterable[Finding]:
        """Whether aiomqtt is there, the broker answers and lets us in."""
        return examine(settings)

    async def _publish(self) -> None:
        while True:
            self._changed.clear()
            await self._look()
            self._link.nudge()
            await asyncio.sleep(_SOONEST_S)
            # Every session costs a look: many of them are looked at less often.
            pause_s = max(self._config.state_interval_s, len(self._sessions) / _LOOKS_PER_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s - _SOONEST_S):
                    await self._changed.wait()

    async def _look(self) -> None:
        """Put the present state of everything into the outbox; what has not changed stays there."""
        states: dict[str, dict[str, Any]] = {}
        newest = None
        for alias, session in list(self._sessions.items()):
            newest = session
            states[alias] = self._state_of(alias, session)
        if self._config.discovery:
            # Before the states: Home Assistant knows only the presets that it was told of.
            about = describe(self._topics, await self._shown(newest), self.host.server_url)
            self._outbox.keep(self._topics.discovery, about)
        for alias, state in states.items():
            if alias in self._sessions:  # it may have ended meanwhile
                self._outbox.keep(self._topics.session_state(alias), json.dumps(state))
        self._outbox.keep(self._topics.state, _overall(list(states.values())), repeat=True)
        self._outbox.keep(self._topics.status, ONLINE)

    async def _shown(self, newest: LiveSession | None) -> Shown:
        """The avatar that presets and angles are of: the newest session's, else the server's."""
        if newest is not None:
            return Shown.of(newest.avatar, await newest.presets())
        avatar, *_ = await self.host.avatars()
        return Shown.of(avatar, avatar.presets)

    def _state_of(self, alias: str, session: LiveSession) -> dict[str, Any]:
        state = session.state()
        if state.preset is not None:
            self._conduct.forget(session)  # chosen by whoever it was
        values = state.model_dump(exclude={"type"})
        aim = self._conduct.aim(session)
        return {
            "session": alias,
            "avatar": session.avatar.name,
            **values,
            "fps": round(state.fps, 1),
            "latency_ms": round(state.latency_ms),
            "pose": _tenths(values["pose"]),
            "aim": None if aim is None else _tenths(aim),
        }

    async def _hear(self, topic: str, payload: bytes, retained: bool) -> None:
        address = self._topics.address(topic)
        if address is not None:
            # A retained command is one from before: it must not fire at each new connection.
            if not retained:
                await self._conduct.do(address, topic, payload)
                self._changed.set()
        elif topic == self._topics.status:
            if payload != ONLINE.encode():  # the will of a connection that broke meanwhile
                self._outbox.again(topic)
        elif topic == self._topics.birth:
            if payload == b"online" and not retained:
                self._outbox.again()
        elif retained and payload and self._topics.is_session_state(topic):
            self._clear_unless_alive(topic)
        self._link.nudge()

    def _clear_unless_alive(self, topic: str) -> None:
        """Take back the state of a session that a server which was killed has left there."""
        if topic not in {self._topics.session_state(alias) for alias in self._sessions}:
            self._outbox.clear(topic)

    def _answer(self, error: str) -> None:
        self._outbox.tell(self._topics.error, error)
        self._link.nudge()

    def _farewell(self) -> list[Post]:
        gone = [topic for topic in self._outbox.topics() if self._topics.is_session_state(topic)]
        return [
            Post(self._topics.status, OFFLINE, retain=True),
            Post(self._topics.state, _overall([]), retain=True),
            *(Post(topic, "", retain=True) for topic in gone),
        ]


def _overall(states: list[dict[str, Any]]) -> str:
    """The server's state, JSON: of the newest session, the last one, and of all together."""
    none = dict.fromkeys(
        ("session", "avatar", "fps", "latency_ms", "late", "pose", "aim", "preset"), None
    )
    newest = states[-1] if states else {**none, "muted": False}
    speaking = any(state["speaking"] for state in states)
    return json.dumps({"sessions": len(states), **newest, "speaking": speaking})


def _tenths(angles: Mapping[str, float]) -> dict[str, float]:
    """Angles rounded to what is worth a message; adding 0 makes -0.0 a plain 0.0."""
    return {axis: round(angle, 1) + 0.0 for axis, angle in angles.items()}
