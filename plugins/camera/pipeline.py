"""Pipeline: moments in, camera and virtual microphone out, both by one clock.

Two threads: the voice's keeps the sound device filled and notes when each position of the
programme is heard; the picture's sends every picture at the moment its voice is heard.  Neither
the session nor the event loop ever waits for a device.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from daetalker.plugins.camera.errors import CameraError, VoiceOutError
from daetalker.plugins.camera.heard_line import HeardLine
from daetalker.plugins.camera.letterbox import Letterbox
from daetalker.plugins.camera.programme import Programme
from daetalker.plugins.camera.shelf import Shelf
from daetalker.plugins.camera.speaker import Speaker
from daetalker.plugins.camera.voice_out import NoVoice, VoiceOut
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.pairing import Moment

__all__ = ["Figures", "PictureOut", "Pipeline"]

_POLL_S = 0.01
_LOW_S = 0.025
"""With less than this waiting to be heard, silence goes in: more than a block of the server, less
than a moment."""

_RETRY_S = 2.0
_SHARE = 0.04


class PictureOut(Protocol):
    """What shows frames; `VirtualCamera` is one."""

    device: str

    def send(self, frame: NDArray[np.uint8]) -> None:
        """Show it now.

        Raises:
            CameraError: if the device has gone.
        """

    def close(self) -> None:
        """Free it; may be called again."""


@dataclass
class Figures:
    """How it is going.  Written by the threads, read by anybody.

    Attributes:
        pictures: frames sent to the camera.
        skipped: frames left out because the next one was due already.
        offset_s: how much later than their voice pictures leave, as far as the sound device tells;
            a running mean over about a second.
        buffer_s: how much voice waits to be heard.
        correction: by how much the voice is shortened just now, to follow the device's clock.
        starved: times the voice ran dry.
        cut_s, padded_s: voice left out and silence put in to stay in time.
        lost: moments that nobody took in time.
    """

    pictures: int = 0
    skipped: int = 0
    offset_s: float = 0.0
    buffer_s: float = 0.0
    correction: float = 0.0
    starved: int = 0
    cut_s: float = 0.0
    padded_s: float = 0.0
    lost: int = 0


class _Arrived(NamedTuple):
    moment: Moment | None
    source: object
    arrived_s: float


class Pipeline:
    """Open from the start of its ``with`` block to the end; `put` moments from any thread."""

    def __init__(
        self,
        open_camera: Callable[[], PictureOut],
        open_voice: Callable[[], VoiceOut],
        letterbox: Letterbox,
        *,
        fps: int,
        buffer_s: float = 0.08,
        say: Callable[[str], None],
    ) -> None:
        """A pipeline that is not open yet; ``camera_name`` and ``voice_name`` say what it opened.

        Args:
            open_camera, open_voice: open the devices; called again when one has gone.
            letterbox: makes the camera's frames; for the picture's thread from now on.
            fps: the camera's frames a second.
            buffer_s: voice to keep waiting, against hiccups.
            say: takes messages for the user, in any thread.
        """
        self.figures = Figures()
        self.camera_name = self.voice_name = ""
        self._open_camera = open_camera
        self._open_voice = open_voice
        self._letterbox = letterbox
        self._fps = fps
        self._say = say
        # Full at 1 s: the moment that comes is lost and counted; the voice's thread hangs.
        self._inbox: queue.Queue[_Arrived] = queue.Queue(25)
        self._programme = Programme(buffer_s)
        self._shelf = Shelf(fps)
        self._line = HeardLine()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failure: Exception | None = None
        # For the pictures' thread.
        self._camera: PictureOut | None = None
        self._retry_camera_s = 0.0

    def __enter__(self) -> Pipeline:
        """Open both devices.

        Raises:
            CameraError: if there is no camera.
            VoiceOutError: if the voice cannot be given out.
            MissingExtra: if a package is missing.
        """
        voice = self._open_voice()
        try:
            camera = self._open_camera()
        except BaseException:
            voice.close()
            raise
        self.camera_name, self.voice_name = camera.device, voice.name
        self._start("camera voice", lambda: self._run_voice(voice))
        self._start("camera pictures", lambda: self._run_pictures(camera))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(5.0)

    def put(self, moment: Moment, source: object) -> None:
        """Show and say a moment in its turn; never blocks.

        Args:
            source: whose it is; a new one starts a new line of time.
        """
        try:
            self._inbox.put_nowait(_Arrived(moment, source, time.monotonic()))
        except queue.Full:
            self.figures.lost += 1

    def check(self) -> None:
        """Raise what has ended a thread, which nothing ought to."""
        if self._failure is not None:
            raise self._failure

    def leave(self) -> None:
        """No more moments of this source; the last picture stays, silent, until another comes."""
        try:
            self._inbox.put_nowait(_Arrived(None, None, 0.0))
        except queue.Full:
            self.figures.lost += 1

    def _start(self, name: str, run: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                run()
            except Exception as error:  # told to whoever looks, see `check`
                self._failure = error
                self._stopping.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    # The voice's thread.

    def _run_voice(self, voice: VoiceOut) -> None:
        with closing(Speaker(voice, self._line, self._shelf)) as speaker:
            retry_s = float("inf")
            while not self._stopping.is_set():
                try:
                    self._serve(speaker)
                except VoiceOutError as error:
                    self._say(f"{error}; the picture goes on without voice, and I keep trying")
                    speaker.change(NoVoice())
                    retry_s = time.monotonic() + _RETRY_S
                if time.monotonic() > retry_s:
                    retry_s = self._open_again(speaker)

    def _open_again(self, speaker: Speaker) -> float:
        """Try to get the voice output back; returns when to try next."""
        try:
            speaker.change(self._open_voice())
        except StreamerError:
            return time.monotonic() + _RETRY_S
        self._say("the voice output is back")
        return float("inf")

    def _serve(self, speaker: Speaker) -> None:
        """One turn: a moment, or silence where none comes."""
        try:
            arrived = self._inbox.get(timeout=_POLL_S)
        except queue.Empty:
            arrived = None
        heard_s = speaker.next_heard_s()
        if heard_s is None:
            # The device cannot tell yet; it begins to when it gets something to play.
            speaker.prime(_LOW_S)
            return
        if arrived is not None and arrived.moment is None:
            self._programme.leave()
        elif arrived is not None and arrived.moment is not None:
            for piece in self._programme.admit(
                arrived.moment, arrived.source, arrived.arrived_s, heard_s
            ):
                speaker.play(piece, self._programme.error_s)
        elif heard_s - time.monotonic() < _LOW_S:
            speaker.play(self._programme.fill(), 0.0)
        programme, figures = self._programme, self.figures
        figures.buffer_s = heard_s - time.monotonic()
        figures.correction = speaker.correction
        figures.starved = programme.starved
        figures.cut_s, figures.padded_s = programme.cut_s, programme.padded_s

    # The picture's thread.

    def _run_pictures(self, camera: PictureOut) -> None:
        self._camera = camera
        shown_s = -1.0 / self._fps
        try:
            while not self._stopping.is_set():
                following = self._shelf.next(shown_s)
                due_s = None if following is None else self._line.heard_s(following.position_s)
                if following is None or due_s is None:
                    self._stopping.wait(_POLL_S / 2)
                    continue
                shown_s = following.position_s
                if time.monotonic() - due_s > 1.0 / self._fps and self._shelf.next(shown_s):
                    self.figures.skipped += 1  # its turn is over; the next one is due already
                    continue
                frame = self._letterbox.frame(following.rgb)
                due_s = self._wait_until_heard(shown_s, due_s)
                if self._send(frame):
                    late_s = time.monotonic() - due_s
                    self.figures.offset_s += _SHARE * (late_s - self.figures.offset_s)
        finally:
            if self._camera is not None:
                self._camera.close()

    def _wait_until_heard(self, position_s: float, due_s: float) -> float:
        """Wait for a position's time, which is ``due_s`` as things stand; returns what it was."""
        while (left_s := due_s - time.monotonic()) > 0 and not self._stopping.is_set():
            # The line may move while we wait, so look again before the time has come.
            self._stopping.wait(min(left_s, 2 * _POLL_S))
            due_s = self._line.heard_s(position_s) or due_s
        return due_s

    def _send(self, frame: NDArray[np.uint8]) -> bool:
        """Show a frame; False if there is no camera."""
        if self._camera is None and time.monotonic() > self._retry_camera_s:
            self._camera = self._reopen()
        if self._camera is None:
            return False
        try:
            self._camera.send(frame)
        except CameraError as error:
            self._say(f"{error}; the voice goes on, and I keep trying")
            self._camera.close()
            self._camera, self._retry_camera_s = None, time.monotonic() + _RETRY_S
            return False
        self.figures.pictures += 1
        return True

    def _reopen(self) -> PictureOut | None:
        self._retry_camera_s = time.monotonic() + _RETRY_S
        try:
            camera = self._open_camera()
        except StreamerError:
            return None
        self._say("the virtual camera is back")
        return camera
