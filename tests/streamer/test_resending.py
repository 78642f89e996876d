from __future__ import annotations

import asyncio

from aiortc import RTCPeerConnection

from daetalker.streamer.resending import (
    AGAIN_S,
    BURST,
    KEYFRAME_S,
    PACKETS_PER_S,
    TIMES,
    Answer,
    Resending,
    limit_resending,
)


class Time:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def test_what_is_on_its_way_is_not_sent_again() -> None:
    now = Time()
    resending = Resending(now)
    assert resending.packet(7) is Answer.AGAIN
    assert resending.packet(7) is Answer.ON_ITS_WAY
    assert resending.packet(8) is Answer.AGAIN
    now.s += AGAIN_S + 0.01
    assert resending.packet(7) is Answer.AGAIN


def test_the_second_wish_of_a_browser_is_heard() -> None:
    """It comes after 100 ms; a picture that waits longer is frozen, by the browser's own count."""
    now = Time()
    resending = Resending(now)
    for _ in range(TIMES):
        assert resending.packet(7) is Answer.AGAIN
        now.s += 0.1


def test_a_packet_is_given_up_after_four_times_and_one_complete_picture_helps() -> None:
    now = Time()
    resending = Resending(now)
    answers = []
    for _ in range(20):
        answers.append(resending.packet(7))
        if answers[-1] is Answer.GIVEN_UP:
            assert resending.picture() == 0.0
        now.s += 0.2
    expected = [Answer.AGAIN] * 4 + [Answer.GIVEN_UP] + [Answer.ON_ITS_WAY] * 15
    assert answers == expected
    resending.packet(8)
    for _ in range(4):
        now.s += 0.2
        last = resending.packet(8)
    assert last is Answer.GIVEN_UP, "it was first missed after that picture"


def test_a_storm_of_wishes_is_answered_at_a_steady_rate() -> None:
    """As a client asks on a full line: for all that it misses, with every packet that it misses."""
    now = Time()
    resending = Resending(now)
    sent = pictures = 0
    for moment in range(1000):  # ten seconds
        for sequence in range(moment, moment + 100):
            answer = resending.packet(sequence)
            sent += answer is Answer.AGAIN
            if answer is Answer.GIVEN_UP:
                pictures += resending.picture() is not None
        now.s += 0.01
    assert sent <= BURST + 10 * PACKETS_PER_S + 1
    assert 3 <= pictures <= 10 / KEYFRAME_S + 2


def test_losses_of_one_in_ten_are_all_made_good() -> None:
    now = Time()
    resending = Resending(now)
    for sequence in range(0, 3000, 10):  # 75 packets a second
        assert resending.packet(sequence % 65_536) is Answer.AGAIN
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


async def test_what_is_given_up_brings_a_complete_picture() -> None:
    connection = RTCPeerConnection()
    try:
        sender = connection.addTransceiver("video").sender
        now = Time()
        assert limit_resending(sender, Resending(now))
        for _ in range(TIMES):
            await sender._retransmit(5)
            now.s += 0.2
        await asyncio.sleep(0.01)
        assert not sender._RTCRtpSender__force_keyframe  # type: ignore[attr-defined]
        await sender._retransmit(5)
        await asyncio.sleep(0.01)
        assert sender._RTCRtpSender__force_keyframe  # type: ignore[attr-defined]
    finally:
        await connection.close()
