"""`daetalker camera`: the local microphone speaks through an avatar in your meeting tool."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from daetalker.plugins.camera import listing
from daetalker.plugins.camera.attach import media_url, watch
from daetalker.plugins.camera.microphone import Microphone, find_microphone, keep_listening
from daetalker.plugins.camera.pipeline import Pipeline
from daetalker.plugins.camera.settings import CameraSettings, open_pipeline
from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.live import LiveSession, Moment, open_avatar
from daetalker.streamer.profile import PROFILES
from daetalker.streamer.protocol import SelectPreset
from daetalker.streamer.settings import SettingsError

__all__ = ["main"]

_STATUS_S = 2.0


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code 0, also when ended with Ctrl-C.

    Raises:
        StreamerError: a mistake of the user, or a device that is missing; one sentence.
        BundleError: if there is no such avatar.
    """
    options = _parser().parse_args(argv)
    if options.list_devices:
        print("\n".join(listing.devices()))
        return 0
    settings = _settings(options)
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_run(options, settings))
    if sys.stderr.isatty():
        print(file=sys.stderr)  # below the line of status
    return 0


async def _run(options: argparse.Namespace, settings: CameraSettings) -> None:
    """Until Ctrl-C, SIGTERM, or the end of ``--seconds``."""
    this = asyncio.current_task()
    assert this is not None
    with contextlib.suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    try:
        async with asyncio.timeout(options.seconds):
            if options.attach is not None:
                await _attach(options, settings)
            else:
                await _speak(options, settings)
    except TimeoutError:
        return


async def _speak(options: argparse.Namespace, settings: CameraSettings) -> None:
    """The local microphone through a session of our own."""
    microphone = await asyncio.to_thread(find_microphone, options.mic)
    if microphone.ours:
        _say("warning: that microphone is our own voice output, so you will hear an echo for ever")
    # The devices first: what is missing is told at once, and the meeting sees a camera meanwhile.
    with open_pipeline(settings, _say) as pipeline:
        async with (
            open_avatar(options.avatar, profile=options.profile, threads=options.threads) as avatar,
            avatar.session() as session,
        ):
            if options.preset is not None:
                await session.command(SelectPreset(name=options.preset))
            _welcome(settings, pipeline, microphone.label)
            await _run_both(
                keep_listening(_finder(options, microphone), session.session.push_voice, _say),
                _show(_moments_of(session), pipeline),
            )
    raise SessionClosed("the session has ended because its networks failed")


async def _run_both(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run them until one ends, which neither does unless something is wrong; raise its error."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _attach(options: argparse.Namespace, settings: CameraSettings) -> None:
    """A session of a running server."""
    url = media_url(options.attach, options.session, options.token)
    with open_pipeline(settings, _say) as pipeline:
        _welcome(settings, pipeline, None)
        await _show(watch(url, _say), pipeline)


async def _show(moments: AsyncGenerator[Moment | None, None], pipeline: Pipeline) -> None:
    status = _Status(pipeline)
    source = object()
    async with contextlib.aclosing(moments):
        async for moment in moments:
            pipeline.check()
            if moment is None:
                pipeline.leave()
                source = object()
            else:
                pipeline.put(moment, source)
                status.note(moment)


async def _moments_of(session: LiveSession) -> AsyncGenerator[Moment | None, None]:
    async with contextlib.aclosing(session.moments()) as moments:
        async for moment in moments:
            yield moment


def _finder(options: argparse.Namespace, found: Microphone) -> Callable[[], Microphone]:
    """The microphone that was found, at first; later the one that is there then."""
    waiting = [found]
    return lambda: waiting.pop() if waiting else find_microphone(options.mic)


class _Status:
    """A line every two seconds, where somebody watches."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._peak = 0
        self._pictures = pipeline.figures.pictures
        self._told_s = time.monotonic()

    def note(self, moment: Moment) -> None:
        self._peak = max(self._peak, int(np.abs(moment.pcm.astype(np.int32)).max()))
        passed_s = time.monotonic() - self._told_s
        if passed_s < _STATUS_S:
            return
        figures = self._pipeline.figures
        if sys.stderr.isatty():
            fps = (figures.pictures - self._pictures) / passed_s
            level = 20 * np.log10(max(self._peak, 1) / 32768)
            print(
                f"\r{fps:5.1f} frames/s   offset {1000 * figures.offset_s:+5.1f} ms   "
                f"buffer {1000 * figures.buffer_s:4.0f} ms   voice {level:4.0f} dB ",
                end="",
                file=sys.stderr,
                flush=True,
            )
        self._peak, self._pictures, self._told_s = 0, figures.pictures, time.monotonic()


def _welcome(settings: CameraSettings, pipeline: Pipeline, microphone: str | None) -> None:
    if microphone is not None:
        _say(f"microphone: {microphone}")
    size = f"{settings.width}x{settings.height}, {settings.fps} frames a second"
    _say(f"camera: {pipeline.camera_name}, {size}")
    _say(f"voice: {pipeline.voice_name}")
    _say("Choose these two as camera and microphone in your meeting.  Ctrl-C ends.")


def _say(message: str) -> None:
    clear = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{clear}{message}", file=sys.stderr, flush=True)


def _settings(options: argparse.Namespace) -> CameraSettings:
    given = {
        name: value
        for name in CameraSettings.model_fields
        if (value := getattr(options, name, None)) is not None
    }
    try:
        return CameraSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        problem = first["msg"].removeprefix("Value error, ").removeprefix(f"{flag} ")
        raise SettingsError(f"{flag}: {problem[0].lower() + problem[1:]}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="daetalker camera",
        description="Your microphone speaks through an avatar, on a virtual camera and a virtual "
        "microphone that every meeting tool can choose.",
    )
    parser.add_argument("--mic", metavar="DEVICE", help="name, part of a name, or number")
    parser.add_argument("--avatar", default="mira", help="name or folder (%(default)s)")
    parser.add_argument("--preset", metavar="NAME", help="hold the head as this preset says")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="default")
    parser.add_argument("--threads", type=int, default=2, help="for a network (%(default)s)")
    for name, info in CameraSettings.model_fields.items():
        kind: Any = info.annotation if info.annotation in (int, float) else str
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=kind,
            help=f"{info.description}" + (f" ({info.default})" if info.default is not None else ""),
        )
    parser.add_argument(
        "--attach",
        metavar="URL",
        help="show a session of the server there, which runs with --plugins agent; no microphone",
    )
    parser.add_argument("--session", default="latest", help="which session there (%(default)s)")
    parser.add_argument("--token", help="the server's control_token, if it is another machine")
    parser.add_argument("--list-devices", action="store_true", help="list them and end")
    parser.add_argument("--seconds", type=float, help="end after so many seconds")
    return parser
