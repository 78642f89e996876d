"""The file of a recording: H.264 and AAC in fragmented MP4, playable up to where it breaks off.

A fragment holds a second of picture and sound and stands on its own.  What tells a player how to
read them goes out with the first fragment, not before it: only then is it known by how much AAC
runs ahead (1024 samples), and the edit list can say so.  Without it every sound would come 21 ms
late.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.errors import StreamerError
from daetalker.streamer.media import FPS, VOICE_PER_FRAME, VOICE_RATE
from daetalker.streamer.provenance import UNNAMED, Provenance

__all__ = ["FragmentedMp4", "RecorderError", "missing_codecs", "to_plain_mp4"]

VIDEO_CODEC, AUDIO_CODEC = "libx264", "aac"
FRAGMENT_FRAMES = FPS
AUDIO_BIT_S = 128_000

_CONTAINER = {
    "movflags": "+frag_keyframe+delay_moov+default_base_moof",
    "flush_packets": "1",
}
# No look-ahead and no B-frames: a picture is in the file with its fragment, and none is late.  One
# thread, because the networks of the live sessions need the others.
_PICTURES = {
    "preset": "veryfast",
    "tune": "zerolatency",
    "threads": "1",
    "g": str(FRAGMENT_FRAMES),
    "keyint_min": str(FRAGMENT_FRAMES),
    "sc_threshold": "0",
}


class RecorderError(StreamerError):
    """A recording cannot begin, or cannot go on."""


class FragmentedMp4:
    """Write with `add`, end with `close`; for one thread at a time, and not the event loop's.

    Attributes:
        frames: pictures taken so far; the file is ``frames / 25`` seconds long.
        bytes: size of the file so far.
    """

    def __init__(self, path: Path, size: int, *, crf: int, about: Provenance = UNNAMED) -> None:
        """Open the file; one that is there is replaced.

        Args:
            path: the file.
            size: side of the pictures in pixels, even.
            crf: H.264 quality, 0 best to 51 worst.
            about: what the file says of itself: its tags from the first fragment on, the rest
                when it is closed.

        Raises:
            RecorderError: if the file cannot be opened.
        """
        self.path = path
        self.frames = 0
        try:
            self._disk = _Disk(path)
        except OSError as error:
            raise RecorderError(sentence(path, error)) from error
        self._about = about
        self._movie = av.open(self._disk, "w", format="mp4", options=_CONTAINER)
        self._movie.metadata.update(about.tags())
        video = self._movie.add_stream(
            VIDEO_CODEC, rate=FPS, options={**_PICTURES, "crf": str(crf)}
        )
        audio = self._movie.add_stream(
            AUDIO_CODEC, rate=VOICE_RATE, layout="mono", bit_rate=AUDIO_BIT_S
        )
        assert isinstance(video, av.VideoStream) and isinstance(audio, av.AudioStream)
        video.width = video.height = size
        video.pix_fmt = "yuv420p"
        self._video, self._audio = video, audio
        self._closed = self._broken = False

    @property
    def bytes(self) -> int:
        """Size of the file so far."""
        return self._disk.bytes

    def add(self, rgb: NDArray[np.uint8], pcm: NDArray[np.int16]) -> None:
        """Append a picture ``[S, S, 3]`` and its 40 ms of voice ``[1920]``.

        Raises:
            RecorderError: if the file cannot take it, for example on a full disk.
        """
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        picture.pts, picture.time_base = self.frames, Fraction(1, FPS)
        sound = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        sound.sample_rate = VOICE_RATE
        sound.pts, sound.time_base = self.frames * VOICE_PER_FRAME, Fraction(1, VOICE_RATE)
        try:
            self._movie.mux(self._video.encode(picture))
            self._movie.mux(self._audio.encode(sound))
            self._disk.commit()
        except (av.error.FFmpegError, OSError) as error:
            self._broken = True
            raise RecorderError(sentence(self.path, error)) from error
        self.frames += 1

    def close(self) -> None:
        """Write what is still inside, and close the file; may be called again.

        Raises:
            RecorderError: if the end cannot be written; what came before is kept.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self.frames and not self._broken:
                self._movie.mux(self._video.encode(None))
                self._movie.mux(self._audio.encode(None))
            self._movie.close()
            if not self._broken:
                self._disk.insert_before_index(self._about.xmp_box())
                self._disk.commit()
        except (av.error.FFmpegError, OSError) as error:
            if not self._broken:  # else `add` has said so
                raise RecorderError(sentence(self.path, error)) from error
        finally:
            self._disk.close()

    def __enter__(self) -> FragmentedMp4:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Disk:
    """A file that grows by whole fragments, so that whatever is in it stays good.

    FFmpeg writes into memory; `commit` puts that on the disk with one call, which a killed process
    has made or not, and which is taken back if the disk cannot take all of it.  There is no
    ``seek``: a format that wanted to go back and change its head would be refused.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.bytes = 0
        self._waiting = bytearray()
        self._file = path.open("wb", buffering=0)

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def insert_before_index(self, box: bytes) -> None:
        """Put a box before the table of fragments at the end, if that is what waits last.

        The table counts from the start of the file and ends with its own length, so whatever
        looks for it there still finds it right.
        """
        if self._waiting[-12:-8] == b"mfro":
            length = int.from_bytes(self._waiting[-4:], "big")
            self._waiting[-length:-length] = box

    def commit(self) -> None:
        """Write what waits, all or nothing.

        Raises:
            OSError: if the disk is full or fails.
        """
        rest = memoryview(bytes(self._waiting))
        self._waiting.clear()
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with suppress(OSError):  # a device has no length
                os.ftruncate(self._file.fileno(), self.bytes)
            raise
        self.bytes = self._file.tell()

    def close(self) -> None:
        self._file.close()


def to_plain_mp4(path: Path, about: Provenance = UNNAMED) -> None:
    """Turn a finished fragmented file into an ordinary one, its index at the front, in place.

    Some editors read only those.  Nothing is encoded again, and times stay as they are.

    Raises:
        RecorderError: if there is no room for it; the fragmented file is kept.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with (
            av.open(str(path)) as source,
            av.open(str(partial), "w", options={"movflags": "+faststart"}, format="mp4") as plain,
        ):
            plain.metadata.update(about.tags())
            streams = {
                stream.index: plain.add_stream_from_template(stream) for stream in source.streams
            }
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    plain.mux(packet)
        with partial.open("ab") as file:
            file.write(about.xmp_box())
        partial.replace(path)
    except (av.error.FFmpegError, OSError) as error:
        raise RecorderError(sentence(path, error)) from error
    finally:
        partial.unlink(missing_ok=True)


def missing_codecs() -> list[str]:
    """Names of the encoders that this FFmpeg lacks; empty if recording is possible."""
    return [name for name in (VIDEO_CODEC, AUDIO_CODEC) if name not in av.codecs_available]


def sentence(path: Path, error: Exception) -> str:
    """What went wrong with a file, for a person."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: {path} cannot grow; free some space or choose another folder"
    if number == errno.ENOENT:
        return f"there is no folder {path.parent}; create it or choose another"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} may not be written; choose another folder or change its permissions"
    why = os.strerror(number) if isinstance(number, int) and number > 0 else str(error)
    return f"{path} cannot be written: {why}"
