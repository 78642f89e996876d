"""A LiveKit voice agent with a face.

Without a LiveKit server, to see that it works: a file speaks, is interrupted, speaks again, and
what would be published is written to a film::

    python examples/livekit_agent.py --dry-run speech.wav --film published.mp4

With one (LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET set; the models below are those of
LiveKit's own inference service, exchange them for any plugin)::

    python examples/livekit_agent.py dev

The face is opened in the agent's process.  With DAETALKER_URL set, e.g. to http://faces:8080, it
comes from a server there, started by ``daetalker serve --plugins livekit``; its ``control_token``
goes into DAETALKER_TOKEN.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

import numpy as np
from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.agents.voice.avatar import AudioSegmentEnd
from numpy.typing import NDArray

from daetalker.plugins.livekit import AvatarSession, DaetalkerGenerator
from daetalker.streamer.live import open_avatar
from daetalker.streamer.media import VideoFrame
from daetalker.streamer.movie import write_mp4
from daetalker.streamer.voice_file import VoiceFileError, read_voice

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """One conversation."""
    await ctx.connect()
    session: AgentSession[None] = AgentSession(
        stt="deepgram/nova-3",
        llm="openai/gpt-4.1-mini",
        tts="cartesia/sonic-3",
        # A face cannot pause in mid-word; left on, LiveKit warns and ignores it.
        turn_handling={"interruption": {"resume_false_interruption": False}},
    )
    avatar = AvatarSession(
        os.environ.get("DAETALKER_AVATAR"),
        url=os.environ.get("DAETALKER_URL"),
        token=os.environ.get("DAETALKER_TOKEN"),
    )
    await avatar.start(session, room=ctx.room)  # before the session: it takes over the voice
    await session.start(Agent(instructions="You are friendly and brief."), room=ctx.room)
    await session.generate_reply(instructions="Greet the user.")


class Publisher:
    """Stands in for LiveKit's runner: notes what it would publish, and when."""

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.pictures: list[VideoFrame] = []
        self.voice: list[tuple[int, NDArray[np.int16]]] = []
        self.heard_s = 0.0
        self.ended = asyncio.Event()
        self._place = 0

    def note(self, text: str) -> None:
        """Print it with the time."""
        print(f"{time.monotonic() - self.began_s:6.2f} s  {text}", flush=True)

    async def publish(self, generator: DaetalkerGenerator) -> None:
        """Read the generator until cancelled."""
        async for item in generator:
            if isinstance(item, rtc.VideoFrame):
                rgb = np.frombuffer(item.data, np.uint8).reshape(item.height, item.width, 3)
                nothing = np.zeros(0, np.float32)
                self.pictures.append(VideoFrame(len(self.pictures), rgb, (0, 0, 0), False, nothing))
            elif isinstance(item, rtc.AudioFrame):
                if not self.heard_s:
                    self.note("first voice: LiveKit hears playback_started")
                    self._place = (len(self.pictures) - 1) * 1920
                self.voice.append((self._place, np.frombuffer(item.data, np.int16)))
                self._place += 1920
                self.heard_s += item.duration
            elif isinstance(item, AudioSegmentEnd):
                self.note(f"AudioSegmentEnd: playback_finished after {self.heard_s:.2f} s")
                self.heard_s = 0.0
                self.ended.set()

    def save(self, film: Path) -> None:
        """Write what was published."""
        line = np.zeros(1920 * len(self.pictures), np.int16)
        for place, pcm in self.voice:
            room = line[place : place + pcm.size]
            room[:] = pcm[: room.size]
        count = write_mp4(film, self.pictures, line)
        self.note(f"{film}: {count} pictures, {line.size / 48_000:.2f} s")


async def dry_run(speech: Path, film: Path | None, avatar: str) -> None:
    """What would be published if this file were the agent's voice."""
    pcm = read_voice(speech)[: 20 * 48_000]
    whole = rtc.AudioFrame(pcm.tobytes(), 48_000, 1, pcm.size)
    async with open_avatar(avatar) as loaded, loaded.session() as session:
        generator, publisher = DaetalkerGenerator(session), Publisher()
        print(generator.options)
        publishing = asyncio.create_task(publisher.publish(generator))
        await asyncio.sleep(1.5)
        publisher.note(f"{len(publisher.pictures)} pictures and no voice: idle")

        publisher.note(f"the agent says {whole.duration:.2f} s at once")
        await generator.push_audio(whole)
        await generator.push_audio(AudioSegmentEnd())
        await publisher.ended.wait()

        publisher.note("the agent says it again")
        saying = asyncio.create_task(generator.push_audio(whole))
        while publisher.heard_s < 1.0:
            await asyncio.sleep(0.01)
        publisher.note("the user interrupts: clear_buffer()")
        await generator.clear_buffer()
        await saying
        publisher.note(f"silent; playback_finished after {publisher.heard_s:.2f} s, interrupted")
        publisher.heard_s = 0.0
        await asyncio.sleep(1.0)
        publishing.cancel()
    if film is not None:
        publisher.save(film)


def main() -> None:
    """The dry run, or LiveKit's own command line."""
    if "--dry-run" not in sys.argv:
        cli.run_app(server)
        return
    parser = argparse.ArgumentParser(description="What would be published, without a room.")
    parser.add_argument("--dry-run", type=Path, required=True, metavar="SPEECH")
    parser.add_argument("--film", type=Path, help="MP4 file to write")
    parser.add_argument("--avatar", default="mira", help="name, or folder of a bundle")
    arguments = parser.parse_args()
    try:
        asyncio.run(dry_run(arguments.dry_run, arguments.film, arguments.avatar))
    except VoiceFileError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
