"""A client that sees everything on a broker, and a wire that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import aiomqtt

from tests.plugins.serving import PATIENCE_S


class Seen(NamedTuple):
    topic: str
    text: str
    retained: bool


class Watcher:
    """Keeps every message since it came."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.seen: list[Seen] = []
        self._client = client
        self._news = asyncio.Condition()

    async def collect(self) -> None:
        async for message in self._client.messages:
            assert isinstance(message.payload, bytes)
            text = message.payload.decode(errors="replace")
            async with self._news:
                self.seen.append(Seen(message.topic.value, text, message.retain))
                self._news.notify_all()

    async def say(
        self, topic: str, payload: str | bytes = "", retain: bool = False, qos: int = 1
    ) -> None:
        await self._client.publish(topic, payload, qos, retain)

    async def until(self, wanted: Callable[[Seen], Any], after: int = 0) -> Seen:
        """The first message from number ``after`` on that is wanted, however long ago it came."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            while True:
                for message in self.seen[after:]:
                    if wanted(message):
                        return message
                await self._news.wait()

    async def until_text(self, topic: str, text: str, after: int = 0) -> Seen:
        return await self.until(lambda seen: seen.topic == topic and seen.text == text, after)

    async def until_json(
        self, topic: str, wanted: Callable[[dict[str, Any]], Any] = bool, after: int = 0
    ) -> dict[str, Any]:
        def fits(seen: Seen) -> bool:
            return seen.topic == topic and bool(seen.text) and bool(wanted(json.loads(seen.text)))

        found: dict[str, Any] = json.loads((await self.until(fits, after)).text)
        return found

    def last(self, topic: str) -> str | None:
        return next((seen.text for seen in reversed(self.seen) if seen.topic == topic), None)


@contextlib.asynccontextmanager
async def watching(
    port: int,
    *,
    user: str | None = None,
    password: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Watcher]:
    """Watch the broker on this port of this machine."""
    client = aiomqtt.Client(
        "localhost", port, username=user, password=password, tls_context=tls, timeout=PATIENCE_S
    )
    async with client:
        watcher = Watcher(client)
        collecting = asyncio.create_task(watcher.collect())
        await client.subscribe("#", qos=1)
        try:
            yield watcher
        finally:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)


class Wire:
    """A TCP proxy whose connections can be cut, as a network does it: without a goodbye."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._pairs: list[asyncio.StreamWriter] = []
        self._pumps: set[asyncio.Task[None]] = set()
        self.port = 0

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._pairs += [writer, there_writer]
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            pump = asyncio.create_task(_pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    def cut(self) -> None:
        pairs, self._pairs = self._pairs, []
        for writer in pairs:
            writer.transport.abort()

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Wire]:
        wire = cls(port)
        server = await asyncio.start_server(wire._carry, "127.0.0.1", 0)
        wire.port = server.sockets[0].getsockname()[1]
        try:
            yield wire
        finally:
            server.close()
            wire.cut()
            await asyncio.gather(*wire._pumps)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()
