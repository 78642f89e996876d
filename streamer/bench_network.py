"""Poor networks by name, for `daetalker bench live --network NAME`.

Everything holds for each direction by itself, so a delay of 100 ms is a round trip of 200 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

from daetalker.streamer.errors import StreamerError

__all__ = ["NETWORKS", "Network", "NetworkError", "find_network"]


class NetworkError(StreamerError):
    """There is no such network, or this machine cannot make one; the message says why."""


@dataclass(frozen=True)
class Network:
    """What happens to packets, in each direction.

    Attributes:
        loss: share of packets that are lost, each by itself, 0 to 1.
        delay_ms: time that every packet takes.
        jitter_ms: the delay varies evenly by so much to either side; packets keep their order, as
            they do in the queues that jitter comes from.
        rate_kbit_s: capacity; None for no limit.
        queue_ms: packets that would wait longer than this for the capacity are dropped.
    """

    name: str
    text: str
    loss: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    rate_kbit_s: int | None = None
    queue_ms: float = 300.0

    def __post_init__(self) -> None:
        if not 0 <= self.loss < 1 or not 0 <= self.jitter_ms <= self.delay_ms:
            raise ValueError("network: loss must be 0 to 1, and no jitter larger than the delay")


NETWORKS = {
    network.name: network
    for network in (
        Network("loss1", "1 % of the packets are lost", loss=0.01),
        Network("loss5", "5 % of the packets are lost", loss=0.05),
        Network("loss10", "10 % of the packets are lost", loss=0.10),
        Network("delay100", "every packet takes 100 ms", delay_ms=100.0),
        Network("jitter30", "packets take 0 to 60 ms, in order", delay_ms=30.0, jitter_ms=30.0),
        Network("rate300", "300 kbit/s with a queue of 300 ms", rate_kbit_s=300),
    )
}


def find_network(name: str) -> Network:
    """A network by its name.

    Raises:
        NetworkError: if there is none of that name.
    """
    if name not in NETWORKS:
        raise NetworkError(f"there is no network '{name}'; there are: {', '.join(NETWORKS)}")
    return NETWORKS[name]
