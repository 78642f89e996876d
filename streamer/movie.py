"""Writing a video file: H.264 and AAC in MP4."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from daetalker.streamer.errors import MovieError
from daetalker.streamer.media import FPS, VOICE_PER_FRAME, VOICE_RATE, VideoFrame
from daetalker.streamer.provenance import UNNAMED, Provenance

__all__ = ["MovieError", "write_mp4"]


def write_mp4(
    path: Path,
    frames: Iterable[VideoFrame],
    voice: NDArray[np.int16],
    *,
    crf: int = 18,
    about: Provenance = UNNAMED,
    sign: Callable[[Path], None] | None = None,
) -> int:
    """Write frames and voice, both from time 0; returns the number of frames.

    Args:
        path: the file to write; one that is there is replaced, and nothing is left of a failure.
        frames: taken one by one, so a generator needs no memory.
        voice: ``[N]`` int16, mono at 48 kHz; cut where the frames end.
        crf: H.264 quality, 0 best to 51 worst; 18 is hard to tell from the original.
        about: what the file says of itself.
        sign: called with the finished file before it takes its place, and may change it.

    Raises:
        MovieError: if the file cannot be written or there are no frames.
    """
    partial = path.with_name(f".{path.name}.part")
    count = 0
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as movie:
            movie.metadata.update(about.tags())
            for count, frame in enumerate(frames, start=1):
                if count == 1:
                    video = _video_stream(movie, frame.rgb.shape[0], crf)
                    audio = movie.add_stream("aac", rate=VOICE_RATE, layout="mono", bit_rate=96_000)
                movie.mux(video.encode(_picture(frame, count - 1)))
                place = (count - 1) * VOICE_PER_FRAME
                for sound in _sounds(voice[place : place + VOICE_PER_FRAME], place):
                    movie.mux(audio.encode(sound))
            if not count:
                raise MovieError(f"{path}: there are no frames to write")
            movie.mux(video.encode(None))
            movie.mux(audio.encode(None))
        with partial.open("ab") as file:
            file.write(about.xmp_box())
        if sign is not None:
            sign(partial)
        partial.replace(path)
    except (av.error.FFmpegError, OSError) as error:
        raise MovieError(f"{path} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _video_stream(movie: Any, size: int, crf: int) -> Any:
    stream = movie.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "medium"})
    stream.width = stream.height = size
    stream.pix_fmt = "yuv420p"
    return stream


def _picture(frame: VideoFrame, index: int) -> av.VideoFrame:
    picture = av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")
    picture.pts = index
    picture.time_base = Fraction(1, FPS)
    return picture


def _sounds(pcm: NDArray[np.int16], start: int) -> Iterator[av.AudioFrame]:
    if pcm.size:
        sound = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        sound.sample_rate = VOICE_RATE
        sound.pts = start
        sound.time_base = Fraction(1, VOICE_RATE)
        yield sound
