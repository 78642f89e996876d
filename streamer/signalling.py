"""The conversation on one WebSocket: hello, offer, control, goodbye.

``converse`` is the whole story from top to bottom.  A client's mistake is answered by an ``error``
message and the socket lives on; only what cannot be repaired by another message is fatal.  The
session lives exactly as long as its socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace

from pydantic import BaseModel
from starlette.websockets import WebSocket, WebSocketDisconnect

from daetalker.models.bundle import BundleError
from daetalker.streamer import protocol as p
from daetalker.streamer.control import Control
from daetalker.streamer.errors import EngineError
from daetalker.streamer.hub import Avatar, Hub, avatar_info
from daetalker.streamer.line import Line
from daetalker.streamer.peer import Peer, parse_candidate
from daetalker.streamer.session import Session
from daetalker.streamer.tap import MediaTap

logger = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 15.0
OFFER_TIMEOUT_S = 120.0
"""Between hello and offer a person may have to find the browser's microphone question."""

STATE_INTERVAL_S = 0.5
MAX_EARLY_CANDIDATES = 64
DEFAULT_EASE_S = 0.5
POSE_NATURAL = 0.15
"""Share of the speech-driven movement kept around a pose set by hand, as in the presets."""


class End(Exception):
    """The conversation is over; ``reason`` goes into the goodbye."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def converse(socket: WebSocket, hub: Hub) -> None:
    """Serve one client from its first message to the last.  Returns when the socket is closed."""
    await socket.accept()
    line = Line(socket)
    reason = "the client left"
    try:
        avatar = await _wait_for_hello(line, hub)
        with hub.seat() as session_id:
            logger.info("session %s: %s", session_id, avatar.bundle.manifest.name)
            await line.send(_welcome(hub, avatar, session_id))
            try:
                await Conversation(line, hub, avatar, session_id).run()
            finally:
                logger.info("session %s: ended", session_id)
    except End as end:
        reason = end.reason
    except p.ProtocolError as error:  # what reaches here cannot be repaired
        reason = error.message
        await line.send(p.Error(code=error.code, message=error.message, fatal=True))
    except WebSocketDisconnect:
        pass
    except Exception:  # a fault of ours ends one conversation, not the server
        logger.exception("a conversation failed")
        reason = "an internal error"
    finally:
        await line.close(reason)


async def _wait_for_hello(line: Line, hub: Hub) -> Avatar:
    """The avatar of the first good ``hello``."""
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            while True:
                message = await line.receive()
                if isinstance(message, p.Hello):
                    try:
                        return await hub.avatar(message.avatar)
                    except p.ProtocolError as error:
                        await line.complain(error)
                elif isinstance(message, p.Ping):
                    await line.send(p.Pong(id=message.id))
                elif isinstance(message, p.Bye):
                    raise End("bye")
                else:
                    await line.complain(p.ProtocolError("hello_first", "Send hello first."))
    except TimeoutError:
        raise End("no hello came") from None


def _welcome(hub: Hub, avatar: Avatar, session_id: str) -> p.Welcome:
    return p.Welcome(
        session=session_id,
        avatar=avatar_info(avatar.bundle.manifest),
        profile=hub.profile.name,
        delay_ms=round(hub.profile.delay_s * 1000, 1),
        ice_servers=[p.IceServer(**server) for server in hub.settings.ice_servers],
    )


class Conversation:
    """A client that has a place: its control messages, its connection and its session."""

    def __init__(self, line: Line, hub: Hub, avatar: Avatar, session_id: str) -> None:
        self._line = line
        self._hub = hub
        self._avatar = avatar
        self._session: Session = hub.open_session(avatar, session_id)
        self._peer: Peer | None = None
        self._tap = MediaTap() if hub.settings.bench_log else None
        self._early: list[p.Candidate] = []
        self._offered = asyncio.Event()

    async def run(self) -> None:
        """Until someone ends it.  Frees peer and session in any case.

        Raises:
            End: the usual way out.
            ProtocolError: what no further message can repair.
            WebSocketDisconnect: the client has gone.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(group), name="signalling listen")
                group.create_task(self._stream(), name="signalling stream")
                group.create_task(self._stop_with_server(), name="signalling stop")
        except BaseExceptionGroup as group_of_errors:
            # One task ends the others; what it raised says why.
            raise _cause(group_of_errors) from None
        finally:
            if self._peer is not None:
                await self._peer.close()
            await self._session.close()
            await self._save_times()

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        while True:
            message = await self._line.receive()
            try:
                await self._handle(message, group)
            except p.ProtocolError as error:
                await self._line.complain(error)

    async def _handle(self, message: BaseModel, group: asyncio.TaskGroup) -> None:
        """Act on one message; raises ProtocolError for the client's mistakes."""
        muted = self._session.control.muted
        match message:
            case p.Offer():
                await self._accept_offer(message.sdp, group)
            case p.Candidate():
                self._take_candidate(message, group)
            case p.Pose(yaw=yaw, pitch=pitch, roll=roll, ease_s=ease_s):
                ease_s = DEFAULT_EASE_S if ease_s is None else ease_s
                pose = Control((yaw, pitch, roll), POSE_NATURAL, ease_s, muted=muted)
                self._session.set_control(pose)
            case p.SelectPreset(name=name):
                try:
                    preset = self._avatar.bundle.preset(name)
                except BundleError as error:
                    text = str(error)
                    raise p.ProtocolError(
                        "unknown_preset", text[0].upper() + text[1:] + "."
                    ) from None
                self._session.set_control(Control.of(preset, muted))
            case p.Natural():
                self._session.set_control(Control(muted=muted))
            case p.Mute(on=on):
                self._session.set_control(replace(self._session.control, muted=on))
            case p.Ping(id=number):
                await self._line.send(p.Pong(id=number))
            case p.Bye():
                raise End("bye")
            case _:
                raise p.ProtocolError("bad_message", "type: hello was already said.")

    async def _accept_offer(self, sdp: str, group: asyncio.TaskGroup) -> None:
        if self._peer is not None:
            raise p.ProtocolError(
                "second_offer", "This session has its connection; open a new socket for another."
            )
        peer = Peer(
            self._session,
            ice_servers=self._hub.settings.ice_servers,
            lost_after_s=self._hub.settings.lost_after_s,
            tap=self._tap,
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
        elif len(self._early) < MAX_EARLY_CANDIDATES:  # bound; further ones are dropped
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
            group.create_task(self._run_session(), name="signalling session")
            group.create_task(self._report_state(), name="signalling state")

    async def _run_peer(self, peer: Peer) -> None:
        raise End(await peer.run())

    async def _run_session(self) -> None:
        try:
            await self._session.run()
        except EngineError as error:
            logger.error("the engine failed: %s", error)
            raise p.ProtocolError(
                "engine_failed", "The avatar's engine failed; try again."
            ) from None
        raise End("the session ended")

    async def _report_state(self) -> None:
        while True:
            await asyncio.sleep(STATE_INTERVAL_S)
            await self._line.send(state_of(self._session))

    async def _save_times(self) -> None:
        path = self._hub.settings.bench_log
        if self._tap is None or path is None:
            return
        stats = self._session.stats()
        numbers = {f"{name}_ms": stage.median_ms for name, stage in stats.stages.items()}
        numbers |= {"late": stats.late, "skipped": stats.skipped, "input_gaps": stats.input_gaps}
        await asyncio.to_thread(self._tap.save, path, **numbers)

    async def _stop_with_server(self) -> None:
        await self._hub.stopping.wait()
        raise End("the server is stopping")


def state_of(session: Session) -> p.State:
    """The session's state as clients are told it."""
    stats, control = session.stats(), session.control
    yaw, pitch, roll = (round(float(angle), 2) for angle in stats.pose)
    return p.State(
        speaking=stats.speaking,
        fps=round(stats.fps, 2),
        latency_ms=round(stats.delay_s * 1000, 1),
        late=stats.late,
        pose=p.PoseAngles(yaw=yaw, pitch=pitch, roll=roll),
        preset=control.preset,
        muted=control.muted,
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
