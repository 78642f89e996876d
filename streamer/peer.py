"""One client's WebRTC connection: its microphone in, the avatar's frames and the voice out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.sdp import SessionDescription, candidate_from_sdp
from numpy.typing import NDArray

from daetalker.streamer.media import VOICE_RATE
from daetalker.streamer.metrics import Metrics
from daetalker.streamer.offer_limits import check_secured, check_size
from daetalker.streamer.protocol import Candidate, ProtocolError
from daetalker.streamer.resending import Resending, limit_resending
from daetalker.streamer.session import Session
from daetalker.streamer.tap import MediaTap
from daetalker.streamer.tracks import Departures, VideoTrack, VoiceTrack
from daetalker.streamer.voice_receiver import VoiceReceiver

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 20.0
"""How long a client may take from our answer to the first media."""

NO_VOICE_AFTER_S = 1.0
"""The face comes alive this long after connecting, even if no sound has arrived."""

TOO_MUCH_AUDIO = "far too many packets of sound"
MAX_MEDIA_SECTIONS = 8
MAX_GAP_SAMPLES = VOICE_RATE
"""A jump of the client's timestamps over a second is a new timeline, not a gap to fill."""


class Peer:
    """The server's end of one connection.

    Use: ``answer`` once, ``add_candidate`` any time, ``run`` until the client is gone, ``close``.
    """

    def __init__(
        self,
        session: Session,
        *,
        ice_servers: Sequence[dict[str, Any]] = (),
        lost_after_s: float = 12.0,
        tap: MediaTap | None = None,
        listens: bool = True,
        metrics: Metrics | None = None,
    ) -> None:
        """A peer of a session; one that does not listen only watches it."""
        metrics = metrics or Metrics()
        self._departures = Departures(metrics)
        self.media_started = asyncio.Event()
        """Set when sound arrives, or soon after connecting where none does."""
        self._session = session
        self._listens = listens
        self._lost_after_s = lost_after_s
        self._tap = tap
        # Two names for one outlet: both tracks read the same subscriber, each its own queue.
        self._outlet = session.outlet()
        self._outlet.__enter__()
        # An explicit list: with None the library would ask a public STUN server of its choice.
        servers = [RTCIceServer(**server) for server in ice_servers]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._connected = asyncio.Event()
        self._microphone: asyncio.Future[MediaStreamTrack] = (
            asyncio.get_running_loop().create_future()
        )
        self._voice = VoiceReceiver(
            self._hear, metrics, too_much=lambda: self._lose(TOO_MUCH_AUDIO)
        )
        self._expected, self._shift = 0, 0
        self._closed = False

    async def answer(self, offer_sdp: str) -> str:
        """Accept the client's offer.

        Returns:
            SDP of the answer, with every local candidate in it.

        Raises:
            ProtocolError: ``bad_sdp`` or ``no_audio``; the connection is of no more use then.
        """
        check_offer(offer_sdp, needs_audio=self._listens)
        self._connection.on("connectionstatechange", self._on_state)
        self._connection.on("track", self._on_track)
        # Added before the offer is read, so that both are matched to its sections and share the
        # connection's one stream id: that is what makes a browser play them in sync.
        audio = self._connection.addTransceiver(
            VoiceTrack(self._outlet, self._tap, self._departures), direction="sendrecv"
        )
        audio.setCodecPreferences(_opus_only())
        video = self._connection.addTransceiver(
            VideoTrack(self._outlet, self._tap, self._departures), direction="sendonly"
        )
        video.setCodecPreferences(_vp8_first())
        limit_resending(video.sender, Resending())
        try:
            await self._connection.setRemoteDescription(
                RTCSessionDescription(sdp=offer_sdp, type="offer")
            )
            await self._connection.setLocalDescription()
        # SDP is another program's text: whatever the library trips over is the offer's fault.
        except Exception as error:
            # Its text may quote the offer, which belongs into no log.
            logger.info("offer refused: %s", type(error).__name__)
            raise ProtocolError("bad_sdp", "The offer cannot be used: " + _reason(error)) from None
        return str(self._connection.localDescription.sdp)

    async def add_candidate(self, candidate: RTCIceCandidate | None) -> None:
        """Take one of the client's ICE candidates after its offer; None says there are no more."""
        # Name resolution of a candidate may fail; another candidate may still do.
        # What else the library trips over is the candidate's fault too.
        with suppress(Exception):
            await self._connection.addIceCandidate(candidate)

    async def run(self) -> str:
        """Carry media until the client is gone.

        Returns:
            Why it ended, a short phrase.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._follow_microphone(), name="peer microphone"),
                group.create_task(self._watch_connecting(), name="peer connecting"),
                group.create_task(self._watch_network(), name="peer network"),
            ]
            reason = await self._lost
            for task in tasks:
                task.cancel()
        return reason

    async def close(self) -> None:
        """Free the connection, its sockets and the outlet.  May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._lose("closed")
        await self._connection.close()
        self._outlet.__exit__(None, None, None)

    def _lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)

    def _on_state(self) -> None:
        state = self._connection.connectionState
        logger.debug("connection is %s", state)
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self._lose("the connection was lost")

    def _on_track(self, track: MediaStreamTrack) -> None:
        if not self._listens or track.kind != "audio" or self._microphone.done():
            return
        for transceiver in self._connection.getTransceivers():
            if transceiver.receiver.track is track:
                self._voice.attach(transceiver.receiver)
        self._microphone.set_result(track)

    async def _follow_microphone(self) -> None:
        await self._voice.follow(await self._microphone)
        self._lose("the microphone ended")

    def _hear(self, pcm: NDArray[np.int16], position: int) -> None:
        """Voice -> session, with positions on one timeline whatever the client's clock does."""
        pts = position + self._shift
        if abs(pts - self._expected) > MAX_GAP_SAMPLES:
            self._shift += self._expected - pts
            pts = self._expected
        self._expected = pts + pcm.size
        if self._tap is not None:
            self._tap.heard(pts, pcm)
        self._session.push_voice(pcm, pts)
        self.media_started.set()

    async def _watch_connecting(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._connected.wait()
        except TimeoutError:
            self._lose("no network path was found")
            return
        await asyncio.sleep(NO_VOICE_AFTER_S)
        self.media_started.set()

    async def _watch_network(self) -> None:
        """A client that vanishes says nothing; its packets stop.

        Browsers report on the received video about once a second even when muted.  The library's
        own check (consent to send) needs 30 s, twice what we promise.
        """
        await self._connected.wait()
        loop = asyncio.get_running_loop()
        received, since = -1, loop.time()
        while True:
            count = await self._bytes_received()
            if count != received:
                received, since = count, loop.time()
            elif loop.time() - since > self._lost_after_s:
                self._lose("the client fell silent")
                return
            await asyncio.sleep(1.0)

    async def _bytes_received(self) -> int:
        report = await self._connection.getStats()
        return sum(s.bytesReceived for s in report.values() if s.type == "transport")


def check_offer(sdp: str, needs_audio: bool = True) -> None:
    """Refuse an offer that cannot become a conversation, before any socket is opened for it.

    Raises:
        ProtocolError: ``bad_sdp`` or ``no_audio``.
    """
    check_size(sdp)
    try:
        description = SessionDescription.parse(sdp)
        kinds = [(media.kind, media.direction) for media in description.media]
    except Exception as error:  # the parser has no exception of its own
        raise ProtocolError("bad_sdp", "The offer is not SDP: " + _reason(error)) from None
    if not kinds or len(kinds) > MAX_MEDIA_SECTIONS:
        raise ProtocolError(
            "bad_sdp", f"The offer must have 1 to {MAX_MEDIA_SECTIONS} media sections."
        )
    check_secured(description)
    if not needs_audio:
        return
    if not any(kind == "audio" and way in ("sendrecv", "sendonly", None) for kind, way in kinds):
        raise ProtocolError("no_audio", "The offer sends no audio: add the microphone's track.")


def parse_candidate(message: Candidate) -> RTCIceCandidate | None:
    """The candidate in a message; None for the empty one, which says there are no more.

    Raises:
        ProtocolError: ``bad_message`` if it is not a candidate.
    """
    if not message.candidate:
        return None
    if message.sdpMid is None and message.sdpMLineIndex is None:
        raise ProtocolError("bad_message", "candidate.sdpMid: it or sdpMLineIndex must be given.")
    try:
        parsed = candidate_from_sdp(message.candidate.removeprefix("candidate:"))
    except (ValueError, AssertionError, IndexError):
        raise ProtocolError(
            "bad_message", "candidate.candidate: this is not an ICE candidate."
        ) from None
    parsed.sdpMid, parsed.sdpMLineIndex = message.sdpMid, message.sdpMLineIndex
    return parsed


def _vp8_first() -> list[Any]:
    """Codecs by preference: VP8 costs half of what H.264 does, and every browser has it."""
    codecs = RTCRtpSender.getCapabilities("video").codecs
    return sorted(codecs, key=lambda codec: codec.mimeType.lower() != "video/vp8")


def _opus_only() -> list[Any]:
    codecs = RTCRtpSender.getCapabilities("audio").codecs
    return [codec for codec in codecs if codec.mimeType.lower() == "audio/opus"]


def _reason(error: Exception) -> str:
    """What the library says, which may quote a line of any length."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return (clean if len(clean) <= 120 else clean[:119] + "…").rstrip(".") + "."
