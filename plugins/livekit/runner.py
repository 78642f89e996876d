"""LiveKit's `AvatarRunner`, publishing as a face wants it.

Its own `_publish_track` asks for VP8 with simulcast at the default rate, which looks poor, and
waits for a listener before there is any picture.  There is no public way to change either, so two
private methods are overridden here; `check` says so clearly should they ever change.
"""

from __future__ import annotations

import asyncio
import inspect
from importlib import metadata

from livekit import rtc
from livekit.agents.voice.avatar import AudioReceiver, AvatarRunner

from daetalker.plugins.livekit.errors import LiveKitError
from daetalker.plugins.livekit.generator import DaetalkerGenerator
from daetalker.streamer.media import FPS

__all__ = ["VIDEO_BIT_S", "FaceRunner", "check"]

VIDEO_BIT_S = 2_000_000

_QUEUE_MS = 200
"""Room for the reserve of voice that the generator keeps, and a frame more."""

_METHODS = ("_publish_track", "_on_clear_buffer")
_ATTRIBUTES = (
    "_audio_publication",
    "_audio_source",
    "_lock",
    "_playback_position",
    "_room_connected_fut",
    "_video_publication",
    "_video_source",
)


def check() -> None:
    """Make sure that the installed `AvatarRunner` is one we know.

    Raises:
        LiveKitError: naming what is missing.
    """
    source = inspect.getsource(AvatarRunner)
    missing = [name for name in _METHODS if not hasattr(AvatarRunner, name)]
    missing += {"_queue_size_ms"} - inspect.signature(AvatarRunner).parameters.keys()
    missing += [name for name in _ATTRIBUTES if f"self.{name}" not in source]
    if missing:
        version = metadata.version("livekit-agents")
        raise LiveKitError(
            f"AvatarRunner of livekit-agents {version} has no {', '.join(missing)} any more: "
            'pip install "daetalker[livekit]" for a version that works'
        )


class FaceRunner(AvatarRunner):
    """H.264 at 25 frames and 2 Mbit a second without simulcast; the idle face shows at once.

    What the agent says waits until somebody is subscribed to the voice, so that a greeting is
    heard; the picture does not wait.
    """

    def __init__(
        self, room: rtc.Room, *, audio_recv: AudioReceiver, video_gen: DaetalkerGenerator
    ) -> None:
        check()
        super().__init__(
            room,
            audio_recv=audio_recv,
            video_gen=video_gen,
            options=video_gen.options,
            _queue_size_ms=_QUEUE_MS,
        )
        # Its own aclose() asks for this before start() has set it.
        self.__dict__.setdefault("_read_audio_atask", None)
        self._face = video_gen
        self._face.hold()
        self._awaiting_listener: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Stop publishing."""
        if self._awaiting_listener is not None:
            self._awaiting_listener.cancel()
        self._face.release()
        await super().aclose()

    async def _publish_track(self) -> None:
        async with self._lock:
            if self._video_publication is not None:
                return
            await self._room_connected_fut
            voice = rtc.LocalAudioTrack.create_audio_track("avatar_audio", self._audio_source)
            audio = await self._room.local_participant.publish_track(
                voice, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            )
            face = rtc.LocalVideoTrack.create_video_track("avatar_video", self._video_source)
            self._audio_publication = audio
            self._video_publication = await self._room.local_participant.publish_track(
                face,
                rtc.TrackPublishOptions(
                    source=rtc.TrackSource.SOURCE_CAMERA,
                    video_codec=rtc.VideoCodec.H264,
                    video_encoding=rtc.VideoEncoding(
                        max_bitrate=VIDEO_BIT_S, max_framerate=float(FPS)
                    ),
                    simulcast=False,
                ),
            )
            self._awaiting_listener = asyncio.create_task(self._await_listener(audio))

    async def _await_listener(self, audio: rtc.LocalTrackPublication) -> None:
        await audio.wait_for_subscription()
        self._face.release()

    def _on_clear_buffer(self) -> None:
        # What waits to be sent would still be heard, and is counted as heard already.
        unheard_s = self._audio_source.queued_duration
        self._audio_source.clear_queue()
        self._playback_position = max(0.0, self._playback_position - unheard_s)
        super()._on_clear_buffer()
