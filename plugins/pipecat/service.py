"""A Pipecat service that gives a bot a face, in the bot's own process.

::

    TTS -> process_frame -> Speaker -> session -> moments -> _show -> images and voice -> transport
                              |                                        ^
                              +------- frames that keep their place ---+
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    OutputTransportReadyFrame,
    ServiceUpdateSettingsFrame,
    SpeechOutputAudioRawFrame,
    StartFrame,
    SystemFrame,
    TTSStartedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.services.ai_service import AIService
from pipecat.services.settings import ServiceSettings

from daetalker.plugins.pipecat.settings import DaetalkerVideoSettings, command_of
from daetalker.plugins.pipecat.speaker import Speaker
from daetalker.plugins.pipecat.transport import has_transport
from daetalker.streamer.errors import SessionClosed, StreamerError
from daetalker.streamer.live import LiveSession, Moment, open_avatar
from daetalker.streamer.media import FPS, VOICE_PER_FRAME, VOICE_RATE
from daetalker.streamer.protocol import Command

__all__ = ["DaetalkerVideoService"]

MAX_BEHIND = FPS // 2
"""Images that may wait in a processor downstream; more are not sent until it has caught up."""

TAIL_FRAMES = 15
"""Silence sent after the voice, 0.6 s at most: output transports take a bot for silent when they
have heard 0.35 s of silence, and only after 3 s if they hear nothing."""

_SILENCE = bytes(2 * VOICE_PER_FRAME)


class DaetalkerVideoService(AIService):  # type: ignore[misc, unused-ignore]
    """Takes the voice of a TTS, gives out the same voice with a face that says it.

    Put it between the TTS and ``transport.output()``.  It gives 25 images a second from the start,
    and while the bot speaks after each image exactly its 40 ms of voice.  Other frames keep their
    place in the voice, as they do in an output transport.  If the avatar fails, an error goes
    upstream and the voice goes on without a face.
    """

    Settings = DaetalkerVideoSettings
    _settings: DaetalkerVideoSettings

    def __init__(
        self,
        *,
        avatar: str = "mira",
        profile: str = "default",
        threads: int = 2,
        session: LiveSession | None = None,
        settings: DaetalkerVideoSettings | None = None,
        **kwargs: Any,
    ) -> None:
        """A service that loads its avatar while the pipeline is set up.

        Args:
            avatar: a name, or the folder of a bundle.
            profile: ``default`` (steadier) or ``low_latency`` (sooner).
            threads: processor threads that a network may use.
            session: a session that is there already, instead of these three; it is not closed.
            settings: where the head looks at first.
            **kwargs: for the parent.
        """
        default = DaetalkerVideoSettings(
            model=None, preset=None, pose=None, ease_s=None, natural=None
        )
        if settings is not None:
            default.apply_update(settings)
        super().__init__(settings=default, **kwargs)
        self._open = {"avatar": avatar, "profile": profile, "threads": threads}
        self._given = session
        self._session: LiveSession | None = None
        self._resources = contextlib.AsyncExitStack()
        self._speaker: Speaker | None = None
        self._transport_ready = False
        self._face_shown = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._behind = 0
        self._tail = 0
        self._measuring = False

    def can_generate_metrics(self) -> bool:
        """True: the time from the TTS's start to the first voice that goes out with its image."""
        return True

    @property
    def session(self) -> LiveSession | None:
        """The avatar's session while the pipeline runs."""
        return self._session

    async def command(self, command: Command | Mapping[str, Any]) -> None:
        """Send a command of the protocol, now: ``{"type": "pose", "yaw": 10, ...}`` and so on.

        Raises:
            ProtocolError: if it is none, or names what is not there.
            SessionClosed: if the pipeline does not run.
        """
        if self._session is None:
            raise SessionClosed("the pipeline does not run yet, or the avatar could not be opened")
        await self._session.command(command)

    async def set_preset(self, name: str) -> None:
        """Turn the head to a preset, now; see `DaetalkerUpdateSettingsFrame` for in its place.

        Raises:
            ProtocolError: ``unknown_preset``.
            SessionClosed: if the pipeline does not run.
        """
        await self.command({"type": "preset", "name": name})

    # Life cycle.

    async def setup(  # type: ignore[override, unused-ignore]
        self, setup: FrameProcessorSetup
    ) -> None:
        """Load the avatar, beside the set-up of the other processors.

        Raises:
            StreamerError, BundleError: Pipecat turns them into an error frame.
        """
        await super().setup(setup)
        if self._given is not None:
            self._session = self._given
            return
        avatar = await self._resources.enter_async_context(open_avatar(**self._open))  # type: ignore[arg-type]
        self._session = await self._resources.enter_async_context(avatar.session())

    async def start(self, frame: StartFrame) -> None:
        """Turn the head to where it should look at first."""
        await super().start(frame)
        if self._session is None:
            return
        if self._settings.preset is not None or self._settings.pose is not None:
            await self._steer(self._session)
        # Where there is a transport, its OutputTransportReadyFrame says that somebody is there.
        self._transport_ready = not has_transport(self.next)
        # The first word waits for the first image: what comes before it would go unheard.
        self._speaker = Speaker(self._session, self._face_shown, self._pass_on)

    def _begin_tasks(self) -> None:
        """Show the face at once: nobody should have to wait for the first word."""
        if self._session is not None and self._speaker is not None:
            self._tasks = [
                self.create_task(self._speak(self._speaker), "speak"),
                self.create_task(self._show(self._session, self._speaker), "show"),
            ]

    async def stop(self, frame: EndFrame) -> None:
        """Let the bot finish what it is saying."""
        await super().stop(frame)
        if self._speaker is not None:
            await self._speaker.flush()
        await self._end_tasks()

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop now."""
        await super().cancel(frame)
        await self._end_tasks()

    async def cleanup(self) -> None:
        """Close what was opened."""
        await super().cleanup()  # type: ignore[no-untyped-call, unused-ignore]
        await self._end_tasks()
        self._session = None
        await self._resources.aclose()

    async def _end_tasks(self) -> None:
        tasks, self._tasks, self._speaker = self._tasks, [], None
        for task in tasks:
            await self.cancel_task(task)

    # Frames.

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Voice in; everything else goes on when the voice before it has been heard."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            if self._speaker is not None:
                self._tail, self._measuring = 0, False
                await self._speaker.interrupt()
        elif isinstance(frame, OutputTransportReadyFrame):
            self._transport_ready = True
        elif isinstance(frame, BotStoppedSpeakingFrame):
            self._tail = 0
        elif isinstance(frame, TTSStartedFrame) and self._speaker is not None:
            await self.start_ttfb_metrics()
            self._measuring = True

        at_once = isinstance(frame, SystemFrame | EndFrame) or direction == FrameDirection.UPSTREAM
        if at_once or self._speaker is None:
            await self.push_frame(frame, direction)
        else:
            await self._speaker.take(frame)
        if isinstance(frame, StartFrame):  # it goes before all others
            self._begin_tasks()

    async def _pass_on(self, frame: Frame) -> None:
        """A frame's place in the voice has been reached."""
        if isinstance(frame, ServiceUpdateSettingsFrame) and self._is_mine(frame):
            assert isinstance(frame.delta, DaetalkerVideoSettings)
            await self._update_settings(frame.delta)
        else:
            await self.push_frame(frame)

    def _is_mine(self, frame: ServiceUpdateSettingsFrame) -> bool:
        return isinstance(frame.delta, DaetalkerVideoSettings) and frame.service in (None, self)

    async def _update_settings(self, delta: ServiceSettings) -> dict[str, Any]:
        if "preset" in delta.given_fields():
            self._settings.pose = None
        elif "pose" in delta.given_fields():
            self._settings.preset = None
        changed = await super()._update_settings(delta)
        if self._session is not None:
            await self._steer(self._session)
        return changed

    async def _steer(self, session: LiveSession) -> None:
        try:
            await session.command(command_of(self._settings))
        except StreamerError as error:
            await self.push_error(f"The head stays where it is: {error}")

    # Tasks.

    async def _speak(self, speaker: Speaker) -> None:
        while True:
            try:
                await speaker.run()
            except ValueError as error:
                await self.push_error(f"The avatar cannot say this voice: {error}.")
            except SessionClosed:
                await self._lose(speaker)
                return

    async def _show(self, session: LiveSession, speaker: Speaker) -> None:
        """Give out each moment of the session: an image, and its voice if the bot speaks."""
        async with contextlib.aclosing(session.moments()) as moments:
            async for moment in moments:
                if self._transport_ready:
                    await self._give_out(moment, session.size, speaker)
        await self._lose(speaker)

    async def _give_out(self, moment: Moment, size: int, speaker: Speaker) -> None:
        if not self._downstream_is_behind():
            image = OutputImageRawFrame(moment.rgb.tobytes(), (size, size), "RGB")
            await self.push_frame(image)
        self._face_shown.set()
        heard = speaker.hears(moment)
        if heard:
            self._tail = TAIL_FRAMES
            await self._push_voice(moment.pcm.tobytes())
            if self._measuring:
                self._measuring = False
                await self.stop_ttfb_metrics()
        await speaker.was_shown(moment, heard)
        if not heard and self._tail:
            self._tail -= 1
            await self._push_voice(_SILENCE)

    async def _push_voice(self, pcm: bytes) -> None:
        await self.push_frame(SpeechOutputAudioRawFrame(pcm, VOICE_RATE, 1))

    def _downstream_is_behind(self) -> bool:
        """Whether images pile up in a processor that is slower than 25 a second.

        Its queue knows no bound, so this one has to: old images are of no use to anybody.
        """
        processor: FrameProcessor | None = self.next
        while processor is not None:
            if processor.has_queued_frame(OutputImageRawFrame):
                self._behind += 1
                return self._behind > MAX_BEHIND
            processor = processor.next
        self._behind = 0
        return False

    async def _lose(self, speaker: Speaker) -> None:
        """The session ended before the pipeline: from now on the voice goes without a face."""
        if self._speaker is not speaker:
            return
        await speaker.give_up()
        self._speaker = None
        logger.warning(f"{self}: the avatar's session has ended")
        await self.push_error("The avatar's session has ended.", force_treat_as_permanent=True)
