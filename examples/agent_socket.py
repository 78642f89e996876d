"""Let a WAV file speak through a running server, as a voice agent would.

::

    daetalker serve --plugins agent
    python examples/agent_socket.py speech.wav

Open the address that it prints to watch.  The whole file is sent at once, far faster than real
time, as speech synthesis arrives; press Enter to interrupt.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import time
import wave

import numpy as np

from daetalker.plugins.agent.client import AgentClient, AgentError


async def speak(arguments: argparse.Namespace) -> None:
    """Send the file, print what comes back."""
    with wave.open(arguments.speech) as file:
        if file.getsampwidth() != 2:
            raise SystemExit(f"{arguments.speech}: 16 bits a sample are needed")
        rate, channels = file.getframerate(), file.getnchannels()
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")

    async with AgentClient(
        arguments.url,
        avatar=arguments.avatar,
        rate=rate,
        channels=channels,
        token=arguments.token,
    ) as agent:
        print(f"watch {agent.watch}")
        began_s = time.monotonic()

        def note(text: str) -> None:
            print(f"{time.monotonic() - began_s:6.2f} s  {text}", flush=True)

        async def tell() -> None:
            async for event in agent.events():
                if event["type"] != "state":
                    note(", ".join(f"{name} {value}" for name, value in event.items()))

        async def interrupt_on_enter() -> None:
            await enter_pressed()
            note("Enter: interrupting")
            await agent.interrupt()

        telling = asyncio.create_task(tell())
        interrupting = asyncio.create_task(interrupt_on_enter())
        note(f"sending {pcm.size / rate / channels:.1f} s of voice at {rate} Hz")
        await agent.say(pcm)  # waits while the server has enough
        if not interrupting.done():
            await agent.end()
        await agent.finished(1)
        await asyncio.sleep(0.1)
        interrupting.cancel()
        telling.cancel()


async def enter_pressed() -> None:
    """Wait for a line on standard input; without one, for ever."""
    loop, pressed = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        if sys.stdin.readline():
            loop.call_soon_threadsafe(pressed.set)

    threading.Thread(target=read, daemon=True).start()
    await pressed.wait()


def main() -> None:
    """Read the arguments; a mistake is one sentence."""
    parser = argparse.ArgumentParser(description="Let a WAV file speak, as a voice agent would.")
    parser.add_argument("speech", help="WAV file, 16 bits, any rate, mono or stereo")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the daetalker server")
    parser.add_argument("--avatar", help="name of an avatar; default: the server's own")
    parser.add_argument("--token", help="the server's control_token, if it has one")
    try:
        asyncio.run(speak(parser.parse_args()))
    except (AgentError, OSError, wave.Error) as error:
        raise SystemExit(str(error)) from None
    except EOFError:
        raise SystemExit("the file is no WAV file") from None
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
