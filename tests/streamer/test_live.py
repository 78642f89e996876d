"""An avatar in one's own program: speaking, steering, watching, interrupting."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from daetalker.streamer.errors import SessionClosed
from daetalker.streamer.live import LiveAvatar, LiveSession, Moment, open_avatar
from daetalker.streamer.media import VOICE_PER_FRAME
from daetalker.streamer.protocol import ProtocolError
from daetalker.streamer.voice_file import read_voice
from tests.streamer.serving import PATIENCE_S, buzz


@pytest_asyncio.fixture
async def avatar(bundle: Path) -> AsyncIterator[LiveAvatar]:
    async with open_avatar(str(bundle), threads=1) as avatar:
        yield avatar


@pytest_asyncio.fixture
async def session(avatar: LiveAvatar) -> AsyncIterator[LiveSession]:
    async with avatar.session() as session:
        yield session


async def until(session: LiveSession, enough: object, seen: list[Moment]) -> None:
    """Collect moments until ``enough(moment)``."""
    assert callable(enough)
    async with asyncio.timeout(PATIENCE_S), contextlib.aclosing(session.moments()) as moments:
        async for moment in moments:
            seen.append(moment)
            if enough(moment):
                return


async def test_what_is_spoken_comes_out_with_its_pictures(session: LiveSession) -> None:
    voice = buzz(0.7)
    seen: list[Moment] = []
    watching = asyncio.create_task(until(session, lambda m: m.last, seen))
    await session.speak(voice, 48_000)
    spoken = await session.end_utterance()
    assert spoken is not None and spoken.number == 1
    await watching
    playback = await asyncio.wait_for(spoken.done(), PATIENCE_S)
    assert playback.position_s == pytest.approx(0.7) and not playback.interrupted
    said = [m for m in seen if m.utterance == 1]
    assert len(said) == 18, "0.7 s are seventeen and a half frames"
    heard = np.concatenate([m.pcm for m in said])
    assert np.array_equal(heard[: voice.size], voice)
    assert not any(m.pcm.any() for m in seen if m.utterance is None), "idle is silent"
    indices = [m.index for m in seen]
    assert indices == list(range(indices[0], indices[0] + len(indices)))
    assert all(m.pcm.size == VOICE_PER_FRAME and m.rgb.shape[2] == 3 for m in seen)
    assert any(m.speaking for m in said)


async def test_faster_than_real_time_waits_instead_of_piling_up(session: LiveSession) -> None:
    speaking = asyncio.create_task(session.speak(buzz(30.0), 48_000))
    await asyncio.sleep(1.0)
    assert not speaking.done()
    assert session.session._feed.waiting <= 3.1 * 48_000
    await session.interrupt()
    await asyncio.wait_for(speaking, PATIENCE_S)
    assert await session.end_utterance() is None, "the interruption ended it"


async def test_slower_than_real_time_leaves_silence_between(session: LiveSession) -> None:
    seen: list[Moment] = []
    watching = asyncio.create_task(until(session, lambda m: m.last, seen))
    voice = buzz(0.2)
    for _ in range(3):
        await session.speak(voice, 48_000)
        await asyncio.sleep(0.5)
    await session.end_utterance()
    await watching
    said = [m for m in seen if m.utterance == 1]
    assert len(said) in (15, 16), "fifteen of voice, and one for an end that came late"
    assert np.array_equal(
        np.concatenate([m.pcm for m in said])[: 3 * voice.size], np.tile(voice, 3)
    )
    assert len([m for m in seen if m.utterance is None]) > 10


async def test_an_interruption_silences_and_tells_how_far_it_got(session: LiveSession) -> None:
    seen: list[Moment] = []
    watching = asyncio.create_task(until(session, lambda m: m.index > 60, seen))
    await session.speak(buzz(2.0), 48_000)
    spoken = await session.end_utterance()
    assert spoken is not None
    await asyncio.sleep(1.0)
    await session.interrupt()
    playback = await asyncio.wait_for(spoken.done(), PATIENCE_S)
    assert playback.interrupted and 0.2 < playback.position_s < 1.5
    await watching
    said = [m.index for m in seen if m.utterance == 1]
    after = [m for m in seen if m.index > said[-1] + 1]
    assert after and not any(m.pcm.any() or m.speaking for m in after[1:])
    await session.speak(buzz(0.2), 48_000)
    again = await session.end_utterance()
    assert again is not None and again.number == 2
    assert not (await asyncio.wait_for(again.done(), PATIENCE_S)).interrupted


async def test_commands_are_one_language(session: LiveSession, avatar: LiveAvatar) -> None:
    name = avatar.info.presets[0].name
    await session.command({"type": "preset", "name": name})
    assert session.state().preset == name
    await session.command('{"type": "natural"}')
    assert session.state().preset is None
    cases: list[tuple[dict[str, Any] | str, str]] = [
        ({"type": "preset", "name": "nowhere"}, "unknown_preset"),
        ({"type": "pose", "yaw": 1}, "bad_message"),
        ({"type": "hello", "protocol": 1}, "bad_message"),
        ("[]", "bad_message"),
        ({"type": "say", "file": "a.wav"}, "unknown_voice"),
    ]
    for wrong, code in cases:
        with pytest.raises(ProtocolError) as caught:
            await session.command(wrong)
        assert caught.value.code == code, caught.value


async def test_a_file_is_said_by_name_only(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    folder = tmp_path / "voices"
    folder.mkdir()
    with av.open(str(folder / "hello.wav"), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(buzz(0.4).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 48_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    (tmp_path / "secret.wav").write_bytes((folder / "hello.wav").read_bytes())
    monkeypatch.setenv("DAETALKER_VOICE_FOLDER", str(folder))
    async with open_avatar(str(bundle), threads=1) as avatar, avatar.session() as session:
        for wrong in ("../secret.wav", str(tmp_path / "secret.wav"), "nothing.wav", "."):
            with pytest.raises(ProtocolError, match=r"there are: hello\.wav"):
                await session.command({"type": "say", "file": wrong})
        seen: list[Moment] = []
        watching = asyncio.create_task(until(session, lambda m: m.last, seen))
        await session.command({"type": "say", "file": "hello.wav"})
        await watching
    heard = np.concatenate([m.pcm for m in seen if m.utterance == 1])
    assert np.array_equal(heard[:19_200], read_voice(folder / "hello.wav"))


async def test_another_threads_loop_may_use_it(session: LiveSession) -> None:
    seen: list[Moment] = []
    playbacks = []

    async def elsewhere() -> None:
        watching = asyncio.create_task(until(session, lambda m: m.last, seen))
        await session.command({"type": "pose", "yaw": 5.0, "pitch": 0.0, "roll": 0.0})
        await session.speak(buzz(0.3), 48_000)
        spoken = await session.end_utterance()
        assert spoken is not None
        playbacks.append(await spoken.done())
        await watching

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    await asyncio.to_thread(thread.join, PATIENCE_S)
    assert not thread.is_alive()
    assert playbacks[0].position_s == pytest.approx(0.3)
    assert len([m for m in seen if m.utterance == 1]) == 8


async def test_the_end_is_told_to_everybody(avatar: LiveAvatar) -> None:
    session = await avatar.hub.open_session()
    speaking = asyncio.create_task(session.speak(buzz(10.0), 48_000))
    seen: list[Moment] = []
    watching = asyncio.create_task(until(session, lambda _: False, seen))
    await asyncio.sleep(0.5)
    await session.close()
    await asyncio.wait_for(session.ended(), PATIENCE_S)
    await asyncio.wait_for(watching, PATIENCE_S)
    with pytest.raises(SessionClosed):
        await asyncio.wait_for(speaking, PATIENCE_S)
    assert avatar.hub.sessions == 0 and avatar.hub.live_sessions() == []


async def test_places_run_out(bundle: Path) -> None:
    async with open_avatar(str(bundle), threads=1, max_sessions=1) as avatar:
        async with avatar.session():
            with pytest.raises(ProtocolError, match="place is taken"):
                await avatar.hub.open_session()
        async with avatar.session():
            pass
