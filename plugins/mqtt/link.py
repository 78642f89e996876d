"""Link: the connection to the broker, made again whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from daetalker.plugins.mqtt.broker import Trouble, connected, trouble_of
from daetalker.plugins.mqtt.outbox import Outbox, Post
from daetalker.plugins.mqtt.settings import MqttSettings
from daetalker.plugins.mqtt.topics import Topics

if TYPE_CHECKING:
    import aiomqtt

__all__ = ["OFFLINE", "ONLINE", "Backoff", "Link"]

ONLINE, OFFLINE = "online", "offline"

_STABLE_S = 10.0
_SWEEP_S = 2.0
_FAREWELL_S = 0.5


class Backoff:
    """Seconds to wait before the next try: doubling from 1 to 60, each spread downwards by half."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._next_s = 1.0

    def reset(self) -> None:
        """Begin at a second again."""
        self._next_s = 1.0

    def wait_s(self) -> float:
        """The next wait, 1 to 60 s."""
        wait_s, self._next_s = self._next_s, min(2.0 * self._next_s, 60.0)
        return max(1.0, wait_s * self._rng.uniform(0.5, 1.0))


class Link:
    """Runs until cancelled; then says a farewell and leaves."""

    def __init__(
        self,
        settings: MqttSettings,
        topics: Topics,
        outbox: Outbox,
        *,
        hear: Callable[[str, bytes, bool], Awaitable[None]],
        farewell: Callable[[], Sequence[Post]],
        log: logging.Logger,
    ) -> None:
        """A link that has not connected yet.

        Args:
            outbox: what to publish; shared with whoever fills it and says `nudge`.
            hear: takes each message's topic, payload and whether it was retained, in order.
            farewell: what to publish last when the server stops.
        """
        self._settings = settings
        self._topics = topics
        self._outbox = outbox
        self._hear = hear
        self._farewell = farewell
        self._log = log
        self._backoff = Backoff(random.Random())
        self._changed = asyncio.Event()
        self._reported: set[str] = set()

    def nudge(self) -> None:
        """The outbox has something new."""
        self._changed.set()

    async def run(self) -> None:
        """Connect, serve, and begin again when the broker goes; never returns by itself."""
        import aiomqtt

        loop = asyncio.get_running_loop()
        while True:
            up_s = math.inf
            try:
                async with self._connection() as client, asyncio.TaskGroup() as group:
                    up_s = loop.time()
                    group.create_task(self._read(client), name="mqtt: read")
                    group.create_task(self._write(client), name="mqtt: write")
                    group.create_task(self._sweep(client), name="mqtt: sweep")
            except* (aiomqtt.MqttError, OSError) as failures:
                # A connection that another client keeps ending must not be made every second.
                if loop.time() - up_s > _STABLE_S:
                    self._backoff.reset()
                self._report(trouble_of(failures, self._settings))
            await asyncio.sleep(self._backoff.wait_s())

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiomqtt.Client]:
        """A connection that hears commands; it leaves with the farewell when it is cancelled."""
        import aiomqtt

        will = Post(self._topics.status, OFFLINE, retain=True)
        async with connected(self._settings, self._settings.client_name, will) as client:
            topics = [*self._topics.commands, self._topics.status]
            if self._settings.discovery:
                topics.append(self._topics.birth)
            for topic in topics:
                codes = await client.subscribe(topic, qos=1)
                if any(getattr(code, "is_failure", False) for code in codes):
                    self._log.warning("the broker does not let us read %s: see its ACL", topic)
            self._log.info("connected to the broker at %s", self._settings.broker)
            self._reported.clear()
            # Whatever the broker knew of us, its will or a restart may have changed.
            self._outbox.again()
            try:
                yield client
            except asyncio.CancelledError:
                with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                    async with asyncio.timeout(_FAREWELL_S):
                        for post in self._farewell():
                            await client.publish(post.topic, post.payload, 1, post.retain)
                raise

    async def _read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            await self._hear(message.topic.value, payload, message.retain)

    async def _write(self, client: aiomqtt.Client) -> None:
        """One message at a time, each confirmed: a slow broker delays, and nothing piles up."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            post = self._outbox.next(loop.time())
            if post is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._outbox.wait_s(loop.time())):
                        await self._changed.wait()
                continue
            await client.publish(post.topic, post.payload, 1, post.retain)
            self._outbox.done(post, loop.time())

    async def _sweep(self, client: aiomqtt.Client) -> None:
        """Hear what a server that was killed has left of its sessions, so that it can be cleared.

        Retained messages follow the subscription at once; afterwards it would only be our echo.
        """
        await client.subscribe(self._topics.session_states, qos=1)
        await asyncio.sleep(_SWEEP_S)
        await client.unsubscribe(self._topics.session_states)

    def _report(self, trouble: Trouble) -> None:
        """Say why, each kind once between two connections: trying again fills no log."""
        if trouble.kind not in self._reported:
            self._reported.add(trouble.kind)
            self._log.warning("no broker: %s; trying again, at least once a minute", trouble.text)
