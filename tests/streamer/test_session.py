"""The live session on a simulated clock; `fakes.FakeEngine` makes computing cost simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle
from daetalker.streamer.async_engine import AsyncEngine
from daetalker.streamer.clock import SimulatedClock
from daetalker.streamer.control import Control
from daetalker.streamer.engine import Engine, EngineError
from daetalker.streamer.media import CHUNK_SAMPLES, VideoFrame, VoiceChunk
from daetalker.streamer.outlet import Outlet
from daetalker.streamer.profile import PROFILES, Profile
from daetalker.streamer.session import Session, SessionClosed
from tests.fakes import FakeEngine
from tests.tiny import tiny_speech, to_pcm

PROFILE = PROFILES["default"]
SPEECH = to_pcm(tiny_speech(4.0, rate=48_000))
QUIET = np.zeros(4 * 48_000, np.int16)


class Stage:
    """A running session with its clock, fed in chunks of 20 ms."""

    def __init__(self, session: Session, clock: SimulatedClock, engine: AsyncEngine) -> None:
        self.session, self.clock, self.engine = session, clock, engine
        self.recorder = session.outlet(frames=1000)
        self.chunks: list[VoiceChunk] = []
        self.fed = 0

    async def play(self, seconds: float, voice: NDArray[np.int16] | None = None) -> None:
        """Let time pass while ``voice`` arrives, repeated if needed; None: nothing arrives."""
        for _ in range(round(seconds / 0.02)):
            if voice is not None:
                at = self.fed % (voice.size - CHUNK_SAMPLES)
                self.session.push_voice(voice[at : at + CHUNK_SAMPLES])
                self.fed += CHUNK_SAMPLES
            await self.clock.advance(0.02)
            self.chunks += self.recorder.waiting_voice()

    def frames(self) -> list[VideoFrame]:
        return self.recorder.waiting_video()


@asynccontextmanager
async def staged(
    bundle: AvatarBundle, profile: Profile = PROFILE, **costs_s: float
) -> AsyncIterator[Stage]:
    clock = SimulatedClock(100.0)
    engine = FakeEngine(clock, **costs_s)
    session = Session(bundle, engine, clock, profile=profile, session_id="test")
    async with asyncio.TaskGroup() as group:
        group.create_task(session.run())
        await session.settle()
        yield Stage(session, clock, engine)
        await session.close()


def indices(frames: list[VideoFrame]) -> list[int]:
    return [frame.index for frame in frames]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
async def test_voice_and_frames_come_in_step_with_the_same_delay(
    tiny_bundle: AvatarBundle, profile: Profile
) -> None:
    async with staged(tiny_bundle, profile, speech_s=0.03, latents_s=0.01, frame_s=0.01) as stage:
        shown: list[tuple[int, float]] = []
        heard: list[tuple[int, float]] = []

        async def watch(outlet: Outlet) -> None:
            while True:
                shown.append(((await outlet.video()).index, stage.clock.now()))

        async def listen(outlet: Outlet) -> None:
            while True:
                heard.append(((await outlet.voice()).start, stage.clock.now()))

        with stage.session.outlet() as outlet:
            readers = [asyncio.create_task(read(outlet)) for read in (watch, listen)]
            await stage.play(2.0, SPEECH)
            for reader in readers:
                reader.cancel()
        assert len(shown) > 35
        for index, at_s in shown:
            assert at_s == pytest.approx(100.0 + index * 0.04 + profile.delay_s, abs=1e-6)
        for start, at_s in heard:
            assert at_s == pytest.approx(100.0 + start / 48_000 + profile.delay_s, abs=1e-6)
        stats = stage.session.stats()
        assert (stats.late, stats.skipped, stats.input_gaps) == (0, 0, 0)


async def test_the_voice_passes_unchanged(tiny_bundle: AvatarBundle) -> None:
    async with staged(tiny_bundle) as stage:
        await stage.play(1.0, SPEECH)
        heard = np.concatenate([chunk.pcm for chunk in stage.chunks])
        np.testing.assert_array_equal(heard, SPEECH[: heard.size])
        assert heard.size >= 0.6 * 48_000


async def test_a_face_is_alive_before_anyone_speaks_and_blinks_through_droughts(
    tiny_bundle: AvatarBundle,
) -> None:
    async with staged(tiny_bundle, frame_s=0.01, latents_s=0.01) as stage:
        await stage.play(1.0)
        await stage.play(1.0, SPEECH)
        await stage.play(1.0)
        await stage.play(1.0, SPEECH)
        frames = stage.frames()
        assert indices(frames) == list(range(len(frames))) and len(frames) >= 88
        stats = stage.session.stats()
        assert (stats.input_gaps, stats.skipped, stats.input_surplus_s) == (1, 0, 0.0)
        assert stats.fps == pytest.approx(25.0, abs=0.5)


async def test_surplus_is_dropped_and_latency_stays(tiny_bundle: AvatarBundle) -> None:
    async with staged(tiny_bundle) as stage:
        stage.session.push_voice(SPEECH[:48_000])
        assert stage.session.stats().input_surplus_s == pytest.approx(0.8)
        await stage.play(2.0, SPEECH)
        frames = stage.frames()
        assert indices(frames) == list(range(len(frames)))
        assert stage.clock.now() - 100.0 - PROFILE.delay_s - frames[-1].index * 0.04 < 0.041


async def test_lips_follow_the_gate_and_the_nets_rest_in_silence(
    tiny_bundle: AvatarBundle,
) -> None:
    async with staged(tiny_bundle) as stage:
        await stage.play(1.0, QUIET)
        assert isinstance(stage.engine, FakeEngine) and stage.engine.calls["speech"] == 0
        await stage.play(1.0, SPEECH)
        await stage.play(2.0, QUIET)
        frames = stage.frames()
        openness = np.array([f.latent[0] for f in frames])
        assert not np.any(openness[:21]) and np.all(openness[25:50] == 1.0)
        assert not np.any(openness[65:])
        assert np.abs(np.diff(openness)).max() <= 1 / 3 + 1e-6
        assert [f.speaking for f in frames] == (openness > 0.5).tolist()


async def test_muted_the_voice_is_zero_and_the_gate_shut(tiny_bundle: AvatarBundle) -> None:
    async with staged(tiny_bundle) as stage:
        await stage.play(1.0, SPEECH)
        stage.session.set_control(Control(muted=True))
        await stage.play(1.0, SPEECH)
        stage.session.set_control(Control(muted=False))
        await stage.play(1.0, SPEECH)
        heard = np.concatenate([chunk.pcm for chunk in stage.chunks])
        assert np.any(heard[47_000:48_000]), "what was said before is still heard"
        assert not np.any(heard[48_000:96_000]), "nothing said while muted ever is"
        assert np.any(heard[96_000:97_000])
        frames = stage.frames()
        assert all(f.latent[0] == 0.0 for f in frames[29:45])
        assert all(f.latent[0] == 1.0 for f in frames[10:24])
        assert frames[55].speaking


async def test_a_control_takes_effect_at_the_next_window(tiny_bundle: AvatarBundle) -> None:
    async with staged(tiny_bundle) as stage:
        await stage.play(1.0, SPEECH)
        first = stage.session.next_window_frame
        stage.session.set_control(Control((20.0, 0.0, 0.0), natural=0.0, preset="left"))
        await stage.play(2.5, SPEECH)
        yaw = np.array([f.pose[0] for f in stage.frames()])
        assert abs(yaw[first - 1]) < 1.5
        assert yaw[first + 4] > yaw[first - 1] + 0.5
        assert yaw[-1] == pytest.approx(20.0, abs=0.01)
        assert stage.session.control.preset == "left"
        assert stage.session.stats().pose[0] == pytest.approx(20.0, abs=0.01)


async def test_a_hold_ends_by_itself_and_is_told(tiny_bundle: AvatarBundle) -> None:
    async with staged(tiny_bundle) as stage:
        await stage.play(0.5, QUIET)
        wanted = Control((8.0, 0.0, 0.0), 0.0, 0.4, preset="left", muted=True, hold_s=1.0)
        stage.session.set_control(wanted)
        await stage.play(1.2, QUIET)
        assert stage.session.control.preset == "left"
        await stage.play(3.0, QUIET)
        assert stage.session.control == Control(muted=True), "muted as before"
        yaw = np.array([f.pose[0] for f in stage.frames()])
        assert yaw.max() == pytest.approx(8.0, abs=0.01)
        assert abs(yaw[-1]) < 2.0


async def test_interrupted_it_falls_silent_at_once_and_time_goes_on(
    tiny_bundle: AvatarBundle,
) -> None:
    async with staged(tiny_bundle, latents_s=0.005, frame_s=0.01, speech_s=0.02) as stage:
        await stage.play(2.0, SPEECH)
        before = stage.frames()
        last, chunks = before[-1].index, len(stage.chunks)
        assert before[-1].latent[0] == 1.0
        stage.session.interrupt()
        await stage.play(1.0, QUIET)
        after = stage.frames()
        assert indices(after)[:20] == list(range(last + 1, last + 21))
        assert stage.session.stats().late == 0, "what was drawn before holds nobody up"
        openness = {f.index: float(f.latent[0]) for f in after}
        assert openness[last + 1] < 0.5
        assert all(level == 0.0 for index, level in openness.items() if index >= last + 2)
        fading, *silent = stage.chunks[chunks:]
        assert np.any(fading.pcm[:240]) and not np.any(fading.pcm[480:])
        assert np.abs(np.diff(fading.pcm.astype(int))).max() < 6000, "no click"
        assert not any(np.any(chunk.pcm) for chunk in silent)
        starts = [chunk.start for chunk in stage.chunks]
        assert starts == list(range(0, len(starts) * CHUNK_SAMPLES, CHUNK_SAMPLES))
        yaw = np.array([f.pose[0] for f in before + after])
        assert np.abs(np.diff(yaw)).max() < 0.15, "the head moves on as it did"
        await stage.play(1.0, SPEECH)
        assert stage.frames()[-1].latent[0] == 1.0


async def test_a_slow_outlet_delays_nobody(tiny_bundle: AvatarBundle) -> None:
    async with staged(tiny_bundle) as stage:
        with stage.session.outlet() as slow:
            await stage.play(3.0, SPEECH)
            frames = stage.frames()
            assert indices(frames) == list(range(len(frames)))
            assert (await slow.video()).index == frames[-1].index
            assert slow.dropped_frames == len(frames) - 1
            assert slow.dropped_chunks == len(stage.chunks) - 100
            assert stage.session.stats().late == 0


async def test_overload_skips_frames_but_never_voice(tiny_bundle: AvatarBundle) -> None:
    async with staged(tiny_bundle, frame_s=0.09, latents_s=0.02, speech_s=0.05) as stage:
        await stage.play(4.0, SPEECH)
        frames, stats = stage.frames(), stage.session.stats()
        assert indices(frames) == sorted(set(indices(frames)))
        assert stats.skipped > 20 and stats.frames == len(frames) >= 15
        assert stats.fps < 20
        behind_s = stage.clock.now() - 100.0 - PROFILE.delay_s - frames[-1].index * 0.04
        assert behind_s < 0.7, "the delay does not grow"
        heard = np.concatenate([chunk.pcm for chunk in stage.chunks])
        np.testing.assert_array_equal(heard, np.resize(SPEECH[:-CHUNK_SAMPLES], heard.size))


async def test_hopeless_overload_stays_bounded(tiny_bundle: AvatarBundle) -> None:
    async with staged(tiny_bundle, frame_s=0.5, latents_s=0.3, speech_s=0.5) as stage:
        await stage.play(10.0, SPEECH)
        frames = stage.frames()
        assert len(frames) >= 5
        behind_s = stage.clock.now() - 100.0 - PROFILE.delay_s - frames[-1].index * 0.04
        assert behind_s < 4.0


async def test_a_hops_networks_do_not_starve_the_frames_before(tiny_bundle: AvatarBundle) -> None:
    """One worker: 30 ms of networks a hop and 20 ms a frame fit into the default allowance."""
    async with staged(tiny_bundle, frame_s=0.02, latents_s=0.01, speech_s=0.03) as stage:
        await stage.play(4.0, SPEECH)
        stats = stage.session.stats()
        assert (stats.late, stats.skipped) == (0, 0)
        assert stats.stages["speech"].p95_ms <= 50.0
        assert stats.stages["frame"].p95_ms <= 50.0


async def test_a_held_picture_is_not_decoded_again(tiny_bundle: AvatarBundle) -> None:
    async with staged(tiny_bundle) as stage:
        stage.session.set_control(Control((0.0, 0.0, 0.0), natural=0.0))
        await stage.play(2.0, QUIET)
        assert isinstance(stage.engine, FakeEngine)
        assert stage.engine.calls["frame"] == 1
        assert len({id(f.rgb) for f in stage.frames()}) == 1


async def test_close_is_idempotent_and_leaves_nothing(tiny_bundle: AvatarBundle) -> None:
    before = asyncio.all_tasks()
    clock = SimulatedClock()
    session = Session(tiny_bundle, FakeEngine(clock), clock, profile=PROFILE, session_id="closing")
    running = asyncio.create_task(session.run())
    outlet = session.outlet()
    await session.settle()
    session.push_voice(SPEECH[:9600])
    reader = asyncio.create_task(outlet.video())
    await clock.advance(0.1)
    await asyncio.gather(session.close(), session.close())
    await session.close()
    await running
    with pytest.raises(SessionClosed):
        await reader
    with pytest.raises(SessionClosed):
        await session.outlet().video()
    session.push_voice(SPEECH[:960])
    session.interrupt()
    await session.settle()
    assert asyncio.all_tasks() == before
    with pytest.raises(RuntimeError, match="runs once"):
        await session.run()


async def test_closing_before_running(tiny_bundle: AvatarBundle) -> None:
    clock = SimulatedClock()
    session = Session(tiny_bundle, FakeEngine(clock), clock, profile=PROFILE, session_id="early")
    outlet = session.outlet()
    session.push_voice(SPEECH[:960])
    await session.close()
    with pytest.raises(SessionClosed):
        await outlet.voice()
    await asyncio.wait_for(session.run(), 1.0)
    await session.settle()


async def test_cancelling_is_as_good_as_closing(tiny_bundle: AvatarBundle) -> None:
    before = asyncio.all_tasks()
    clock = SimulatedClock()
    session = Session(tiny_bundle, FakeEngine(clock), clock, profile=PROFILE, session_id="cancel")
    outlet = session.outlet()
    running = asyncio.create_task(session.run())
    await session.settle()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(SessionClosed):
        await outlet.video()
    await session.close()
    assert asyncio.all_tasks() == before


async def test_a_failing_network_ends_the_session_with_its_own_error(
    tiny_bundle: AvatarBundle,
) -> None:
    clock = SimulatedClock()
    engine = FakeEngine(clock)
    session = Session(tiny_bundle, engine, clock, profile=PROFILE, session_id="failing")
    outlet = session.outlet()
    running = asyncio.create_task(session.run())
    await session.settle()
    engine.failure = EngineError("network 'student' failed")
    session.push_voice(SPEECH[:9600])
    await clock.advance(1.0)
    with pytest.raises(EngineError, match="student"):
        await running
    with pytest.raises(SessionClosed):
        await outlet.video()
    await session.close()


async def test_several_sessions_share_one_engine(
    tiny_bundle: AvatarBundle, tiny_engine: Engine
) -> None:
    """Each gets the frames it would get alone, on the real networks."""

    async def record(count: int) -> list[list[bytes]]:
        clock, engine = SimulatedClock(), AsyncEngine(tiny_engine)
        sessions = [
            Session(tiny_bundle, engine, clock, profile=PROFILE, session_id=str(n))
            for n in range(count)
        ]
        recorders = [session.outlet(frames=100) for session in sessions]
        voices = [to_pcm(tiny_speech(0.5, seed=n, rate=48_000)) for n in range(count)]
        async with asyncio.TaskGroup() as group:
            for session in sessions:
                group.create_task(session.run())
            for at in range(0, voices[0].size, CHUNK_SAMPLES):
                for session, voice in zip(sessions, voices, strict=True):
                    await session.settle()
                    session.push_voice(voice[at : at + CHUNK_SAMPLES])
                for session in sessions:
                    await session.settle()
                await clock.advance(0.02)
            await clock.advance(0.09)
            for session in sessions:
                await session.close()
        await engine.close()
        return [[f.rgb.tobytes() for f in r.waiting_video()] for r in recorders]

    together, alone = await record(3), await record(1)
    assert [len(frames) for frames in together] == [len(alone[0])] * 3
    assert len(alone[0]) >= 4
    assert together[0] == alone[0]
    assert together[1] != alone[0]


@pytest.mark.parametrize(
    "spoil", [lambda v: v.astype(np.float32), lambda v: v.reshape(2, -1)], ids=["float", "stereo"]
)
async def test_voice_of_the_wrong_kind_is_refused(
    tiny_bundle: AvatarBundle, spoil: Callable[[NDArray[np.int16]], NDArray[np.int16]]
) -> None:
    clock = SimulatedClock()
    session = Session(tiny_bundle, FakeEngine(clock), clock, profile=PROFILE, session_id="bad")
    with pytest.raises(ValueError, match="int16"):
        session.push_voice(spoil(SPEECH[:960]))
