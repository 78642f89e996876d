from __future__ import annotations

import itertools
import random

from daetalker.streamer.jitter import JitterBuffer, Loss, Packet

STEP = 960


def positions(items: list[Packet | Loss]) -> list[int]:
    return [item.position // STEP for item in items if isinstance(item, Packet)]


def losses(items: list[Packet | Loss]) -> int:
    return sum(item.packets for item in items if isinstance(item, Loss))


class Network:
    """Sends numbered packets, 20 ms apart, from any start of the counters."""

    def __init__(self, sequence: int = 65_530, timestamp: int = 2**32 - 5 * STEP) -> None:
        self.buffer = JitterBuffer()
        self._sequence, self._timestamp = sequence, timestamp

    def deliver(self, n: int, at_s: float) -> list[Packet | Loss]:
        items = self.buffer.push(
            (self._sequence + n) % 2**16, (self._timestamp + n * STEP) % 2**32, b"%d" % n, at_s
        )
        base = self._timestamp
        return [
            Packet(item.position - base, item.data) if isinstance(item, Packet) else item
            for item in items
        ]


def test_packets_in_order_are_heard_at_once_across_the_wrap_of_both_counters() -> None:
    network = Network()
    for n in range(40):
        items = network.deliver(n, n * 0.02)
        assert items == [Packet(n * STEP, b"%d" % n)]
    assert (network.buffer.lost, network.buffer.late) == (0, 0)


def test_two_packets_that_overtake_each_other_are_put_in_order() -> None:
    network = Network()
    network.deliver(0, 0.0)
    assert network.deliver(2, 0.030) == []
    assert positions(network.deliver(1, 0.035)) == [1, 2]
    assert network.buffer.lost == 0


def test_a_lost_packet_holds_the_others_for_one_packet_only() -> None:
    network = Network()
    network.deliver(0, 0.0)
    assert network.deliver(2, 0.04) == []
    items = network.deliver(3, 0.06)
    assert items[0] == Loss(1)
    assert positions(items) == [2, 3]
    assert network.buffer.lost == 1


def test_several_losses_in_a_row_are_counted() -> None:
    network = Network()
    network.deliver(0, 0.0)
    network.deliver(5, 0.10)
    items = network.deliver(6, 0.12)
    assert (losses(items), positions(items)) == (4, [5, 6])


def test_patience_grows_where_packets_come_late_and_is_forgotten_where_not() -> None:
    network = Network()
    network.deliver(0, 0.0)
    network.deliver(2, 0.04)
    network.deliver(3, 0.06)  # 1 is given up, 20 ms after it was missed
    assert network.deliver(1, 0.08) == []
    assert network.buffer.late == 1
    network.deliver(4, 0.081)
    assert network.deliver(6, 0.12) == []
    assert network.deliver(7, 0.14) == [], "now it waits longer"
    assert positions(network.deliver(5, 0.155)) == [5, 6, 7]
    for n in range(8, 1500):
        network.deliver(n, n * 0.02)
    network.deliver(1501, 1501 * 0.02)
    assert losses(network.deliver(1502, 1502 * 0.02)) == 1


def test_a_packet_sent_twice_is_heard_once() -> None:
    network = Network()
    assert positions(network.deliver(0, 0.0)) == [0]
    assert network.deliver(0, 0.001) == []
    assert positions(network.deliver(1, 0.02)) == [1]


def test_a_new_stream_goes_on_at_once() -> None:
    buffer = JitterBuffer()
    buffer.push(10, 1000, b"a", 0.0)
    assert [item for item in buffer.push(30_000, 5_000_000, b"b", 0.02)] == [
        Packet(5_000_000, b"b")
    ]


def test_whatever_the_network_does_every_packet_is_heard_once_or_lost_once() -> None:
    for seed in range(30):
        rng = random.Random(seed)
        network = Network(rng.randrange(2**16), rng.randrange(2**32))
        arrivals = sorted(
            (n * 0.02 + rng.expovariate(1 / 0.02), n) for n in range(400) if rng.random() > 0.05
        )
        arrivals += [(20.0 + n * 0.02, 1000 + n) for n in range(8)]
        # The first packet to come starts the line; ones sent before it are late by definition.
        first = arrivals[0][1]
        items = list(
            itertools.chain.from_iterable(network.deliver(n, at_s) for at_s, n in arrivals)
        )
        heard = positions(items)
        assert heard == sorted(set(heard))
        assert len(heard) + losses(items) == 1008 - first
        assert len(network.buffer._held) <= 32
