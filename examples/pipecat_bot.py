"""A Pipecat bot with a face.  Runs as it is: no keys, no network, no microphone.

    pip install "daetalker[pipecat]"
    python examples/pipecat_bot.py                  # a synthetic voice; writes bot.mp4
    python examples/pipecat_bot.py speech.wav --avatar mira --output bot.mp4

The bot begins to say the voice, is interrupted in the middle of it, is quiet for a second, turns
its head and says the beginning again.  What it showed and said is in the MP4 file.

To make it a bot of yours, replace what is marked (1) to (3):

    Pipeline([
        transport.input(),      # (1) DailyTransport, SmallWebRTCTransport, LiveKitTransport, ...
        stt, user_aggregator,   #     speech to text, and the context
        llm,
        tts,                    # (2) any Pipecat TTS in place of VoiceFile
        avatar,                 #     stays
        transport.output(),     # (3) in place of Audience: TransportParams(**video_out("mira"))
        assistant_aggregator,
    ])

and leave the interruptions to the transport's voice detection.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

import numpy as np
from loguru import logger
from numpy.typing import NDArray
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    SpeechOutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from daetalker.models.bundle import BundleError
from daetalker.plugins.pipecat import (
    DaetalkerUpdateSettingsFrame,
    DaetalkerVideoService,
    DaetalkerVideoSettings,
    video_out,
)
from daetalker.plugins.recorder import record
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.media import VOICE_RATE
from daetalker.streamer.voice_file import read_voice

RATE = VOICE_RATE


class VoiceFile(FrameProcessor):
    """Stands where a TTS would: says a file instead of the text, far faster than real time."""

    def __init__(self, pcm: NDArray[np.int16]) -> None:
        super().__init__()
        self._pcm = pcm

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, TTSSpeakFrame):
            await self.push_frame(frame, direction)
            return
        seconds = float(frame.text)
        await self.push_frame(TTSStartedFrame())
        for piece in np.array_split(self._pcm[: round(seconds * RATE)], max(1, int(seconds * 10))):
            await self.push_frame(TTSAudioRawFrame(piece.tobytes(), RATE, 1))
        await self.push_frame(TTSStoppedFrame())


class Audience(FrameProcessor):
    """Stands where an output transport would: counts what reaches the listener."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.stopped = asyncio.Event()
        self.images = 0
        self.voice_s = 0.0
        self._start_s = time.monotonic()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputImageRawFrame):
            self.images += 1
            self.began.set()
        elif isinstance(frame, SpeechOutputAudioRawFrame):
            self.voice_s += 0.04 if any(frame.audio) else 0.0
        elif isinstance(frame, StartFrame):
            self._start_s = time.monotonic()
        elif isinstance(frame, TTSStartedFrame | TTSStoppedFrame | InterruptionFrame | EndFrame):
            self.report(type(frame).__name__)
            if isinstance(frame, TTSStoppedFrame):
                self.stopped.set()
        await self.push_frame(frame, direction)

    def report(self, what: str) -> None:
        at_s = time.monotonic() - self._start_s
        print(f"{at_s:6.2f} s  {self.images:4d} images  {self.voice_s:5.2f} s of voice  {what}")


async def main(voice: Path | None, avatar_name: str, output: Path) -> None:
    """One short conversation, from the first image to the end of the pipeline."""
    size = video_out(avatar_name)["video_out_width"]
    print(f"{avatar_name}: {size}x{size} pixels")
    pcm = read_voice(voice) if voice else synthetic_voice(6.0)
    length_s = pcm.size / RATE
    avatar = DaetalkerVideoService(avatar=avatar_name)
    audience = Audience()
    worker = PipelineWorker(Pipeline([VoiceFile(pcm), avatar, audience]), enable_rtvi=False)
    runner = WorkerRunner()
    await runner.add_workers(worker)

    async def conversation() -> None:
        async with asyncio.timeout(60):
            await audience.began.wait()
        assert avatar.session is not None
        async with record(avatar.session, output):
            await worker.queue_frame(TTSSpeakFrame(str(length_s)))
            await asyncio.sleep(min(3.0, 0.6 * length_s))
            await worker.queue_frame(InterruptionFrame())  # somebody talks over the bot
            await asyncio.sleep(1.0)
            look = DaetalkerVideoSettings(preset="left")
            await worker.queue_frame(DaetalkerUpdateSettingsFrame(delta=look))
            await worker.queue_frame(TTSSpeakFrame(str(min(2.0, length_s))))
            await audience.stopped.wait()
            await asyncio.sleep(0.5)
        await worker.queue_frame(EndFrame())
        print(f"wrote {output}")

    await asyncio.gather(runner.run(), conversation())


def synthetic_voice(seconds: float) -> NDArray[np.int16]:
    """Vowels of a buzz, four syllables a second, ``[N]`` int16 at 48 kHz."""
    at_s = np.arange(round(seconds * RATE)) / RATE
    pitch = 130 + 25 * np.sin(2 * np.pi * 0.7 * at_s)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formant = 600 + 250 * np.sin(2 * np.pi * 2.3 * at_s)
    voice = sum(
        np.exp(-(((n * pitch - formant) / 300) ** 2)) * np.sin(n * phase) for n in range(1, 26)
    )
    syllables = np.clip(0.4 + np.sin(2 * np.pi * 4 * at_s), 0, 1)
    loudest = float(np.abs(voice).max())
    return np.asarray(np.rint(8000 * voice * syllables / loudest), np.int16)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A Pipecat bot with a face.")
    parser.add_argument("voice", nargs="?", type=Path, help="what it says; any audio file")
    parser.add_argument("--avatar", default="mira", help="name, or folder of a bundle")
    parser.add_argument("--output", default="bot.mp4", type=Path, help="MP4 file to write")
    arguments = parser.parse_args()
    logger.remove()  # Pipecat tells everything it does
    try:
        asyncio.run(main(arguments.voice, arguments.avatar, arguments.output))
    except (BundleError, StreamerError) as error:
        raise SystemExit(f"pipecat_bot: {error}") from None
