from __future__ import annotations

import asyncio

from aiortc import RTCPeerConnection

from daetalker.streamer.resending import BURST, PACKETS_PER_S, Resending, limit_resending


class Time:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def test_what_is_on_its_way_is_not_sent_again() -> None:
    now = Time()
    resending = Resending(now)
    assert resending.packet(7)
    assert not resending.packet(7)
    assert resending.packet(8)
    now.s += 0.16
    assert resending.packet(7)


def test_a_packet_is_given_up_after_four_times() -> None:
    now = Time()
    resending = Resending(now)
    sent = 0
    for _ in range(20):
        sent += resending.packet(7)
        now.s += 0.2
    assert sent == 4


def test_a_storm_of_wishes_is_answered_at_a_steady_rate() -> None:
    """As a client asks on a full line: for all that it misses, with every packet that it misses."""
    now = Time()
    resending = Resending(now)
    sent = 0
    for moment in range(1000):  # ten seconds
        sent += sum(resending.packet(sequence) for sequence in range(moment, moment + 100))
        now.s += 0.01
    assert sent <= BURST + 10 * PACKETS_PER_S + 1


def test_losses_of_one_in_ten_are_all_made_good() -> None:
    now = Time()
    resending = Resending(now)
    for sequence in range(0, 3000, 10):  # 75 packets a second
        assert resending.packet(sequence % 65_536)
        now.s += 10 / 75


def test_complete_pictures_keep_their_distance_and_none_is_forgotten() -> None:
    now = Time()
    resending = Resending(now)
    assert resending.picture() == 0.0
    now.s += 0.2
    wait_s = resending.picture()
    assert wait_s is not None and 0.4 < wait_s < 0.6
    assert resending.picture() is None, "one is coming"
    now.s += 0.6
    assert resending.picture() is not None


async def test_the_library_s_sender_asks_first() -> None:
    """Else the members have new names."""
    connection = RTCPeerConnection()
    try:
        sender = connection.addTransceiver("video").sender
        assert limit_resending(sender, Resending())
        sender._send_keyframe()
        await asyncio.sleep(0.01)
        assert sender._RTCRtpSender__force_keyframe  # type: ignore[attr-defined]
        await sender._retransmit(5)  # nothing of that number: nothing
    finally:
        await connection.close()
