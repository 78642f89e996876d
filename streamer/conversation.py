"""One client's conversation once it has said hello: offer, control, media, goodbye.

The session lives exactly as long as its socket; a client that only watches leaves it alone.  A
client's mistake is answered by an ``error`` message and the socket lives on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.websockets import WebSocketDisconnect

from daetalker.models.bundle import Manifest, Preset
from daetalker.streamer import protocol as p
from daetalker.streamer.describe import avatar_info, preset_infos
from daetalker.streamer.errors import EngineError
from daetalker.streamer.grants import Grant
from daetalker.streamer.hub import Hub
from daetalker.streamer.ice import ice_servers
from daetalker.streamer.line import Line
from daetalker.streamer.live_session import LiveSession
from daetalker.streamer.peer import TOO_MUCH_AUDIO, Peer, parse_candidate
from daetalker.streamer.presets import PresetError
from daetalker.streamer.session import Session
from daetalker.streamer.steering import as_sentence
from daetalker.streamer.tap import MediaTap

__all__ = ["Client", "Conversation", "End", "edit_presets", "require"]

logger = logging.getLogger(__name__)

OFFER_TIMEOUT_S = 120.0
"""Between hello and offer a person may have to find the browser's microphone question."""

STATE_INTERVAL_S = 0.5

RETRY_S = 1.0
STOPPED_RETRY_S = 3.0
"""A server that is started again needs about that long until it answers."""

MAX_CANDIDATES = 64
"""Of one connection: the server sends checks to each address that a client names."""

MAX_OFFERS = 8
"""Tries that a client has to make an offer that can be used."""


class End(Exception):
    """The conversation is over.

    Attributes:
        reason: a short phrase for the goodbye.
        retry_s: after which the client may come back by itself; None if it should not.
        code: of the closing WebSocket.
    """

    def __init__(self, reason: str, retry_s: float | None = RETRY_S, code: int = 1000) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_s = retry_s
        self.code = code

    @classmethod
    def stopping(cls) -> End:
        """The end of every conversation when the server stops."""
        return cls("the server is stopping", STOPPED_RETRY_S, code=1001)


@dataclass(frozen=True)
class Client:
    """Who is at the other end of the socket.

    Attributes:
        grant: what it may do.
        plugins: tells which plugins run.
        address: where it is, for the log.
    """

    line: Line
    hub: Hub
    grant: Grant
    plugins: Callable[[], list[p.PluginInfo]]
    address: str


class Conversation:
    """A client's control messages, its connection, and its session or the one it watches."""

    def __init__(self, client: Client, live: LiveSession, watches: bool) -> None:
        hub = client.hub
        self._line = client.line
        self._hub = hub
        self._client = client
        self._live = live
        self._watches = watches
        self._session: Session = live.session
        self._peer: Peer | None = None
        self._presets = asyncio.Event()
        log = hub.settings.bench_log
        self._tap = MediaTap(log / live.id) if log and not watches else None
        self._early: list[p.Candidate] = []
        self._candidates = 0
        self._offers = 0
        self._offered = asyncio.Event()

    async def run(self) -> None:
        """Until someone ends it.  Frees peer and session in any case.

        Raises:
            End: the usual way out.
            ProtocolError: what no further message can repair.
            WebSocketDisconnect: the client has gone.
        """
        try:
            with self._hub.told_of_presets(self._presets.set):
                await self._line.send(self._welcome())
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._listen(group), name="signalling listen")
                    group.create_task(self._stream(), name="signalling stream")
                    group.create_task(self._tell_presets(), name="signalling presets")
                    group.create_task(self._stop_with_server(), name="signalling stop")
        except BaseExceptionGroup as group_of_errors:
            # One task ends the others; what it raised says why.
            raise _cause(group_of_errors) from None
        finally:
            if self._peer is not None:
                await self._peer.close()
            if not self._watches:
                await self._session.close()
                await self._save_times()

    def _welcome(self) -> p.Welcome:
        profile, grant = self._hub.profile, self._client.grant
        return p.Welcome(
            session=self._live.id,
            avatar=avatar_info(self._session.bundle.manifest, self._hub.presets),
            mark=self._hub.settings.mark,
            profile=profile.name,
            delay_ms=round(profile.delay_s * 1000, 1),
            ice_servers=[p.IceServer(**server) for server in self._ice_servers()],
            can_edit=grant.operates,
            can_steer=grant.talks,
            plugins=self._client.plugins() if grant.talks else [],
        )

    def _ice_servers(self) -> list[dict[str, Any]]:
        return ice_servers(self._hub.settings, self._live.id, time.time())

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        while True:
            message = await self._line.receive()
            try:
                await self._handle(message, group)
            except p.ProtocolError as error:
                await self._line.complain(error)

    async def _handle(self, message: BaseModel, group: asyncio.TaskGroup) -> None:
        """Act on one message; raises ProtocolError for the client's mistakes."""
        match message:
            case p.Offer():
                await self._accept_offer(message.sdp, group)
            case p.Candidate():
                self._candidates += 1
                if self._candidates > MAX_CANDIDATES:
                    raise p.ProtocolError(
                        "too_many", f"A connection may name {MAX_CANDIDATES} ICE candidates."
                    )
                self._take_candidate(message, group)
            case p.Pose() | p.SelectPreset() | p.Natural() | p.Mute() | p.Interrupt() | p.Say():
                require(self._client.grant.talks)  # who has a link to watch only watches
                await self._live.command(message)
            case p.SavePreset() | p.DeletePreset():
                require(self._client.grant.operates)
                await edit_presets(self._hub, self._session.bundle.manifest, message)
            case p.Ping(id=number):
                await self._line.send(p.Pong(id=number))
            case p.Bye():
                raise End("bye", retry_s=None)
            case _:
                raise p.ProtocolError("bad_message", "type: hello was already said.")

    async def _accept_offer(self, sdp: str, group: asyncio.TaskGroup) -> None:
        if self._peer is not None:
            raise p.ProtocolError(
                "second_offer", "This session has its connection; open a new socket for another."
            )
        self._offers += 1
        if self._offers > MAX_OFFERS:
            raise p.ProtocolError("too_many", f"None of {MAX_OFFERS} offers could be used.")
        peer = Peer(
            self._session,
            ice_servers=await self._hub.turn.first_that_answers(self._ice_servers()),
            lost_after_s=self._hub.settings.lost_after_s,
            tap=self._tap,
            listens=not self._watches,
            metrics=self._hub.metrics,
        )
        try:
            answer = await peer.answer(sdp)
        except BaseException:
            await peer.close()
            raise
        self._peer = peer
        await self._line.send(p.Answer(sdp=answer))
        early, self._early = self._early, []
        for candidate in early:
            self._take_candidate(candidate, group)
        self._offered.set()

    def _take_candidate(self, message: p.Candidate, group: asyncio.TaskGroup) -> None:
        candidate = parse_candidate(message)
        if self._peer is not None:
            # In a task of its own: resolving a candidate's local name may take seconds.
            group.create_task(self._peer.add_candidate(candidate), name="signalling candidate")
        else:  # bounded by MAX_CANDIDATES
            self._early.append(message)

    async def _stream(self) -> None:
        """From the offer on: media, the session, and its state twice a second."""
        try:
            async with asyncio.timeout(OFFER_TIMEOUT_S):
                await self._offered.wait()
        except TimeoutError:
            raise End("no offer came") from None
        assert self._peer is not None
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_peer(self._peer), name="signalling peer")
            # The media timeline starts with the first sound, not while networks are negotiated.
            await self._peer.media_started.wait()
            run = self._run_watched if self._watches else self._run_session
            group.create_task(run(), name="signalling session")
            group.create_task(self._report_state(), name="signalling state")
            group.create_task(self._end_in_time(), name="signalling time limit")

    async def _run_peer(self, peer: Peer) -> None:
        reason = await peer.run()
        if reason == TOO_MUCH_AUDIO:
            self._hub.refusals.note("too_much_audio", self._client.address)
            raise End(reason, retry_s=None, code=1008)
        raise End(reason)

    async def _run_session(self) -> None:
        try:
            await self._hub.run_session(self._session, self._live)
        except EngineError as error:
            logger.error("the engine failed: %s", error)
            raise p.ProtocolError(
                "engine_failed", "The avatar's engine failed; try again."
            ) from None
        raise End("the session ended")

    async def _run_watched(self) -> None:
        await self._session.ended()
        raise End("the session ended")

    async def _end_in_time(self) -> None:
        minutes = self._hub.settings.session_minutes
        if minutes is not None and not self._watches:
            await asyncio.sleep(minutes * 60.0)
            raise End(f"the {minutes:g} minutes of a session are over", retry_s=None)

    async def _tell_presets(self) -> None:
        while True:
            await self._presets.wait()
            self._presets.clear()
            infos = preset_infos(self._session.bundle.manifest, self._hub.presets)
            await self._line.send(p.Presets(presets=infos))

    async def _report_state(self) -> None:
        while True:
            await asyncio.sleep(STATE_INTERVAL_S)
            await self._line.send(self._live.state())

    async def _save_times(self) -> None:
        if self._tap is None:
            return
        stats = self._session.stats()
        numbers = {f"{name}_ms": stage.median_ms for name, stage in stats.stages.items()}
        numbers |= {"late": stats.late, "skipped": stats.skipped, "input_gaps": stats.input_gaps}
        await asyncio.to_thread(self._tap.save, **numbers)

    async def _stop_with_server(self) -> None:
        await self._hub.stopping.wait()
        end = End.stopping()
        # Said before anything is freed: that may take longer than the server has.
        await self._line.goodbye(end.reason, end.retry_s)
        raise end


async def edit_presets(
    hub: Hub, manifest: Manifest, message: p.SavePreset | p.DeletePreset
) -> None:
    """Change the user's file of presets, and tell everybody.

    Raises:
        ProtocolError: ``bad_preset``.
    """
    try:
        if isinstance(message, p.DeletePreset):
            await asyncio.to_thread(hub.presets.delete, manifest, message.name)
        else:
            # What was left out is as in `Preset`.
            given = message.model_dump(exclude={"type"}, exclude_none=True)
            preset = Preset(**{"label": message.name, **given})
            await asyncio.to_thread(hub.presets.save, manifest, preset)
    except PresetError as error:
        raise p.ProtocolError("bad_preset", as_sentence(error)) from None
    hub.presets_changed()


def require(allowed: bool) -> None:
    """Refuse what is not granted.

    Raises:
        ProtocolError: ``not_allowed``.
    """
    if not allowed:
        raise p.ProtocolError(
            "not_allowed",
            "Your link is not for this: only an operator may do it, which is a program on the "
            "server's own machine, or whoever has its control token or an operator's link.",
        )


_WAYS_OUT = (p.ProtocolError, End, WebSocketDisconnect)


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Why a group of tasks ended; a fault of our own is the group itself."""
    leaves = list(_leaves(group))
    if not all(isinstance(leaf, _WAYS_OUT) for leaf in leaves):
        return group
    return next(leaf for kind in _WAYS_OUT for leaf in leaves if isinstance(leaf, kind))


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
