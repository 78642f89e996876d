"""Who is let in: the arithmetic of measured costs, on made-up readings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from daetalker.streamer import machine
from daetalker.streamer.admission import LOOK_S, STREAM_CORES, Admission, Readings
from daetalker.streamer.job_times import JobTimes
from daetalker.streamer.places import Places, ServerFull
from daetalker.streamer.profile import Profile

PROFILE = Profile("test", hop_frames=4, lookahead_frames=3)
AT_FIRST = {"speech": 0.02, "latents": 0.004, "frame": 0.01}
# 6.25 hops a second of 25 ms, and 25 frames of 10 ms.
TALK = 6.25 * (0.02 + 1.25 * 0.004) + 0.25


@dataclass
class Fate:
    """A machine whose figures are what the test says."""

    at_s: float = 0.0
    own: float = 0.0
    used: float = 0.0
    tells: bool = True

    def readings(self) -> Readings:
        return Readings(
            lambda: self.at_s, lambda: self.own, lambda: self.used if self.tells else None
        )


class Server:
    def __init__(self, cores: float = 2.0, workers: int = 2) -> None:
        self.fate = Fate()
        self.engine = JobTimes(workers, AT_FIRST)
        self.admission = Admission(cores, PROFILE, self.fate.readings())

    def live(
        self,
        seconds: float,
        streams: int,
        *,
        stream: float = 0.2,
        others: float = 0.0,
        talk: float = TALK,
        troubled: bool = False,
        lag_s: float = 0.0,
    ) -> None:
        """Let time pass while so many people talk, at these costs in cores."""
        for _ in range(round(seconds / LOOK_S)):
            self.fate.at_s += LOOK_S
            engine = streams * talk * LOOK_S
            self.engine.own_s += engine
            self.engine.busy_s += engine
            self.fate.own += engine + streams * stream * LOOK_S
            self.fate.used += engine + (streams * stream + others) * LOOK_S
            self.admission.look([self.engine], streams, troubled=troubled, lag_s=lag_s)

    def why(self, people: int, watchers: int = 0, *, watches: bool = False) -> str:
        return self.admission.refusal(self.engine, people, watchers, watches=watches)


def test_before_anything_is_measured_the_warm_up_decides() -> None:
    server = Server()
    costs = server.admission.costs(server.engine)
    assert costs.engine == pytest.approx(TALK) and costs.stream == STREAM_CORES
    # 0.61 cores each: two take 1.21 of the 1.8 that may be promised, three 1.82.
    assert not server.why(1)
    assert "1.8 of 2.0 cores" in server.why(2)
    assert not Server(cores=4.0, workers=4).why(4)
    assert Server(cores=4.0, workers=4).why(5)


def test_the_first_is_always_let_in() -> None:
    server = Server(cores=0.1)
    server.live(6.0, 1, others=5.0, troubled=True, lag_s=1.0)
    assert not server.why(0) and server.why(1)


def test_what_was_measured_takes_the_place_of_what_was_assumed() -> None:
    server = Server()
    for _ in range(60):  # the machine is twice as fast as at warm-up
        for kind, took_s in AT_FIRST.items():
            server.engine.note(kind, took_s / 2, took_s / 2, alone=False)
    server.live(6.0, 2, stream=0.05, talk=TALK / 2)
    costs = server.admission.costs(server.engine)
    assert costs.engine == pytest.approx(TALK / 2)
    assert costs.stream == pytest.approx(0.05, rel=1e-6)
    assert not server.why(6) and server.why(7)  # 0.25 cores each


def test_other_programs_take_their_part_but_not_for_a_moment() -> None:
    server = Server()
    server.live(5.0, 1)
    server.live(1.0, 1, others=2.0)
    assert not server.why(1), "a second of it is a hiccup"
    server.live(4.0, 1, others=1.0)
    assert server.admission.others() == pytest.approx(1.0)
    assert server.why(1)
    server.live(4.0, 1)
    assert not server.why(1)


def test_who_is_silent_may_speak_at_any_time() -> None:
    server = Server()
    server.live(6.0, 2, talk=0.1)
    assert server.why(2)


def test_a_watcher_costs_its_encoding() -> None:
    server = Server(cores=2.0)
    assert not server.why(1, 0, watches=True)
    # One talks (0.41), 0.2 for each stream: seven streams are 1.81.
    assert not server.why(1, 4, watches=True) and server.why(1, 5, watches=True)
    assert server.why(1, 4), "whoever talks is refused sooner"


def test_whoever_is_in_trouble_already_gets_no_company() -> None:
    server = Server(cores=8.0, workers=8)
    server.live(6.0, 1)
    assert not server.why(1)
    server.live(4.0, 1, troubled=True)
    assert "miss frames" in server.why(1)
    server.live(4.0, 1, lag_s=0.2)
    assert "event loop" in server.why(1)
    server.live(6.0, 1)
    assert not server.why(1)


def test_the_clock_counts_where_a_machine_is_crowded() -> None:
    server = Server()
    for kind, took_s in AT_FIRST.items():  # the processor does little while the clock runs
        server.engine.note(kind, took_s * 2.5, took_s, alone=False)
    assert "busy" in server.why(1)
    assert not server.why(1, watches=True)


def test_load_is_that_of_the_last_half_second() -> None:
    server = Server()
    assert server.admission.load(2) == 0.0
    server.live(5.0, 2)
    assert server.admission.load(2) == pytest.approx(TALK)


def test_without_the_machines_figures_it_goes_by_its_own() -> None:
    server = Server()
    server.fate.tells = False
    server.live(6.0, 1, others=2.0)
    assert server.admission.others() == 0.0 and not server.why(1)


async def test_places_are_counted_and_given_back() -> None:
    engine = JobTimes(2, AT_FIRST)
    places = Places(2, None)
    with places.seat(engine), places.seat(engine), places.watching(engine):
        assert (places.taken, places.watchers) == (2, 1)
        with pytest.raises(ServerFull, match=r"All 2 places are taken.*max_clients") as caught:
            places.check(engine)
        assert caught.value.detail == "max_clients=2"
    assert (places.taken, places.watchers) == (0, 0)
    await places.empty()

    measured = Places(None, Admission(1.0, PROFILE, Fate().readings()))
    with measured.seat(engine):
        with pytest.raises(
            ServerFull, match=r"from the one who is here.*--admission off"
        ) as caught:
            measured.check(engine)
        assert "cores" in caught.value.detail


def test_the_machine_tells_cores_and_processor_time(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    assert machine.cores(quota) >= 1
    quota.write_text("max 100000\n")
    assert machine.cores(quota) >= 1
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 10 50 9999 77 5 5 30 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert machine.used_s(stat, quota) == pytest.approx(2.0)
    quota.write_text("50000 100000\n")
    assert machine.cores(quota) == 0.5
    assert machine.used_s(stat, quota) is None
    assert machine.used_s(tmp_path / "none", tmp_path / "none") is None
