"""A playback stream of PulseAudio or PipeWire whose latency can be read, through libpulse.

`pacat` hides a pipe of its own and says nothing of what waits in it; libpulse tells, for every
sample written, when it will be heard.  No callbacks: states are polled, so no Python code runs in
libpulse's thread.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import time
from ctypes import byref, c_char_p, c_int, c_int64, c_size_t, c_uint8, c_uint32, c_void_p
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.plugins.camera.errors import VoiceOutError
from daetalker.streamer.media import VOICE_RATE

__all__ = ["PulseStream"]

_CONTEXT_READY, _STREAM_READY = 4, 2
_BAD_CONTEXT, _BAD_STREAM = (5, 6), (3, 4)
_NO_AUTOSPAWN = 0x1
# Latency is read between two reports of the server by extrapolation; the sink gets short blocks
# whatever the length of our buffer ("early requests"), so that what is recorded comes in time.
# INTERPOLATE_TIMING | AUTO_TIMING_UPDATE | DONT_MOVE | EARLY_REQUESTS.  Moved to another sink, a
# voice that was meant for a meeting would come out of the loudspeakers.
_FLAGS = 0x2 | 0x8 | 0x200 | 0x4000
_S16LE = 3
_ANY = 0xFFFFFFFF
_BYTES_PER_SAMPLE = 2


class _SampleSpec(ctypes.Structure):
    _fields_ = (("format", c_int), ("rate", c_uint32), ("channels", c_uint8))


class _BufferAttr(ctypes.Structure):
    _fields_ = (
        ("maxlength", c_uint32),
        ("tlength", c_uint32),
        ("prebuf", c_uint32),
        ("minreq", c_uint32),
        ("fragsize", c_uint32),
    )


@lru_cache(maxsize=1)
def _library() -> Any:
    """The library with the types of the functions that we call.

    Raises:
        VoiceOutError: if it is not installed.
    """
    name = ctypes.util.find_library("pulse") or "libpulse.so.0"
    try:
        pulse = ctypes.CDLL(name)
    except OSError:
        raise VoiceOutError(
            "libpulse is not installed, the client library of PulseAudio and PipeWire",
            "sudo apt-get install libpulse0",
        ) from None
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "threaded_mainloop_new": (c_void_p, []),
        "threaded_mainloop_get_api": (c_void_p, [c_void_p]),
        "threaded_mainloop_start": (c_int, [c_void_p]),
        "threaded_mainloop_stop": (None, [c_void_p]),
        "threaded_mainloop_free": (None, [c_void_p]),
        "threaded_mainloop_lock": (None, [c_void_p]),
        "threaded_mainloop_unlock": (None, [c_void_p]),
        "context_new": (c_void_p, [c_void_p, c_char_p]),
        "context_connect": (c_int, [c_void_p, c_char_p, c_int, c_void_p]),
        "context_get_state": (c_int, [c_void_p]),
        "context_errno": (c_int, [c_void_p]),
        "context_disconnect": (None, [c_void_p]),
        "context_unref": (None, [c_void_p]),
        "strerror": (c_char_p, [c_int]),
        "stream_new": (c_void_p, [c_void_p, c_char_p, c_void_p, c_void_p]),
        "stream_connect_playback": (
            c_int,
            [c_void_p, c_char_p, c_void_p, c_int, c_void_p, c_void_p],
        ),
        "stream_get_state": (c_int, [c_void_p]),
        "stream_write": (c_int, [c_void_p, c_void_p, c_size_t, c_void_p, c_int64, c_int]),
        "stream_get_latency": (c_int, [c_void_p, c_void_p, c_void_p]),
        "stream_disconnect": (c_int, [c_void_p]),
        "stream_unref": (None, [c_void_p]),
    }
    for function, (result, arguments) in signatures.items():
        handle = getattr(pulse, f"pa_{function}")
        handle.restype, handle.argtypes = result, arguments
    return pulse


class PulseStream:
    """Mono int16 at 48 kHz into one sink.  Belongs to one thread; `close` may be called again."""

    def __init__(
        self,
        sink: str | None,
        *,
        server: str | None = None,
        block_s: float = 0.01,
        buffer_s: float = 2.0,
        timeout_s: float = 5.0,
    ) -> None:
        """Connect and wait until the stream is ready.

        Args:
            sink: name of the sink; None: the server's default.
            server: address; None: where libpulse finds it.
            block_s: how much the server asks for at a time, 0.005 to 0.1 s.
            buffer_s: the most that may wait to be heard.
            timeout_s: how long the server may take to answer.

        Raises:
            VoiceOutError: if no server answers, or it has no such sink.
        """
        self._pulse = _library()
        self._stream: int | None = None
        self._context: int | None = None
        self._loop: int | None = self._pulse.pa_threaded_mainloop_new()
        self._server_died = False
        try:
            self._connect(server, timeout_s)
            self._open(sink, block_s, buffer_s, timeout_s)
        except BaseException:
            self.close()
            raise

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Append ``[N]`` samples; never waits for the sound to be heard.

        Raises:
            VoiceOutError: if the server or the sink has gone.
        """
        data = np.ascontiguousarray(pcm)
        with _Locked(self._pulse, self._loop):
            self._check()
            code = self._pulse.pa_stream_write(
                self._stream, data.ctypes.data, data.nbytes, None, 0, 0
            )
            if code < 0:
                raise self._error("the sound server takes no more voice")

    def delay_s(self) -> float | None:
        """Seconds until a sample written now is heard; below 0 after an underrun.

        None in the first moments, before the server has told.

        Raises:
            VoiceOutError: if the server or the sink has gone.
        """
        micros, negative = ctypes.c_uint64(), c_int()
        with _Locked(self._pulse, self._loop):
            self._check()
            code = self._pulse.pa_stream_get_latency(self._stream, byref(micros), byref(negative))
        if code < 0:
            return None
        return (-1 if negative.value else 1) * micros.value / 1e6

    def close(self) -> None:
        """Disconnect; what waits to be heard is lost."""
        if self._loop is None:
            return
        loop, self._loop = self._loop, None
        with _Locked(self._pulse, loop):
            if self._stream is not None:
                self._pulse.pa_stream_disconnect(self._stream)
                self._pulse.pa_stream_unref(self._stream)
            if self._context is not None:
                self._pulse.pa_context_disconnect(self._context)
                self._pulse.pa_context_unref(self._context)
            self._stream = self._context = None
        self._pulse.pa_threaded_mainloop_stop(loop)
        self._pulse.pa_threaded_mainloop_free(loop)

    def _connect(self, server: str | None, timeout_s: float) -> None:
        pulse = self._pulse
        api = pulse.pa_threaded_mainloop_get_api(self._loop)
        self._context = pulse.pa_context_new(api, b"daetalker")
        address = server.encode() if server else None
        code = pulse.pa_context_connect(self._context, address, _NO_AUTOSPAWN, None)
        if code < 0 or pulse.pa_threaded_mainloop_start(self._loop) < 0:
            raise self._error("no sound server answers")
        self._wait(
            pulse.pa_context_get_state,
            self._context,
            _CONTEXT_READY,
            _BAD_CONTEXT,
            timeout_s,
            "no sound server answers",
        )

    def _open(self, sink: str | None, block_s: float, buffer_s: float, timeout_s: float) -> None:
        pulse = self._pulse
        spec = _SampleSpec(_S16LE, VOICE_RATE, 1)
        # No pre-buffering: after an underrun the line of time goes on, and what comes too late for
        # it is dropped instead of shifting all that follows.
        attr = _BufferAttr(_ANY, _bytes(buffer_s), 0, _bytes(block_s), _ANY)
        with _Locked(pulse, self._loop):
            self._stream = pulse.pa_stream_new(self._context, b"daetalker voice", byref(spec), None)
            code = pulse.pa_stream_connect_playback(
                self._stream, sink.encode() if sink else None, byref(attr), _FLAGS, None, None
            )
        where = f"the sound server does not open the output '{sink or 'default'}'"
        if code < 0:
            raise self._error(where)
        self._wait(
            pulse.pa_stream_get_state, self._stream, _STREAM_READY, _BAD_STREAM, timeout_s, where
        )

    def _wait(
        self,
        state_of: Any,
        handle: int | None,
        good: int,
        bad: tuple[int, int],
        timeout_s: float,
        problem: str,
    ) -> None:
        end_s = time.monotonic() + timeout_s
        while True:
            with _Locked(self._pulse, self._loop):
                state = state_of(handle)
            if state == good:
                return
            if state in bad or time.monotonic() > end_s:
                raise self._error(problem)
            time.sleep(0.005)

    def _check(self) -> None:
        if self._stream is None or self._loop is None:
            raise VoiceOutError("the voice output is closed")
        if self._pulse.pa_context_get_state(self._context) != _CONTEXT_READY:
            raise VoiceOutError("the sound server has gone")
        if self._pulse.pa_stream_get_state(self._stream) != _STREAM_READY:
            raise VoiceOutError("the sound server has taken the voice output away")

    def _error(self, problem: str) -> VoiceOutError:
        reason = self._pulse.pa_strerror(self._pulse.pa_context_errno(self._context))
        return VoiceOutError(f"{problem} ({reason.decode(errors='replace')})")


class _Locked:
    """libpulse's thread stands still inside the block."""

    def __init__(self, pulse: Any, loop: int | None) -> None:
        self._pulse = pulse
        self._loop = loop

    def __enter__(self) -> None:
        if self._loop is not None:
            self._pulse.pa_threaded_mainloop_lock(self._loop)

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            self._pulse.pa_threaded_mainloop_unlock(self._loop)


def _bytes(seconds: float) -> int:
    return round(seconds * VOICE_RATE) * _BYTES_PER_SAMPLE
