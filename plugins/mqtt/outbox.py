"""Outbox: what the broker should know, however slow or absent it is.

Pure: time is an argument.  It holds one payload a topic (the newest wins) and a few messages that
are said once, so its size is bounded by the number of topics whatever the broker does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Outbox", "Post"]

REPEAT_S = 30.0
_TOLD = 32


@dataclass(frozen=True)
class Post:
    """One message to publish.

    Attributes:
        payload: empty to take a retained message back.
    """

    topic: str
    payload: str
    retain: bool


@dataclass
class _Kept:
    wanted: str
    sent: str | None = None
    sent_s: float = 0.0
    repeat: bool = False
    left: bool = False  # given out at least once, so the broker may have it


class Outbox:
    """`keep`, `clear` and `tell` from one side; `next` and `done` from the other."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        # Full: the oldest goes; somebody who makes errors faster than they travel misses some.
        self._told: deque[Post] = deque(maxlen=_TOLD)

    def keep(self, topic: str, payload: str, *, repeat: bool = False) -> None:
        """Have this retained at the broker.

        Args:
            repeat: True to say it again every 30 s even if nothing changes.
        """
        kept = self._kept.setdefault(topic, _Kept(payload))
        kept.wanted, kept.repeat = payload, repeat

    def clear(self, topic: str) -> None:
        """Have nothing retained there any more, whoever put it there."""
        kept = self._kept.get(topic)
        if kept is not None and not kept.left:
            del self._kept[topic]  # came and went while the broker was away
        else:
            self.keep(topic, "")

    def tell(self, topic: str, payload: str) -> None:
        """Say something once, not retained."""
        self._told.append(Post(topic, payload, retain=False))

    def topics(self) -> list[str]:
        """Topics on which the broker may have something of ours retained."""
        return [topic for topic, kept in self._kept.items() if kept.left]

    def again(self, topic: str | None = None) -> None:
        """Say what is kept again, as soon as may be: on one topic, or on all of them."""
        for name, kept in self._kept.items():
            if topic in (None, name):
                kept.sent = None

    def next(self, now_s: float) -> Post | None:
        """What to publish now, if anything: first what is said once, then in the order kept."""
        if self._told:
            return self._told[0]
        for topic, kept in self._kept.items():
            if kept.sent != kept.wanted or (kept.repeat and now_s >= kept.sent_s + REPEAT_S):
                kept.left = True
                return Post(topic, kept.wanted, retain=True)
        return None

    def done(self, post: Post, now_s: float) -> None:
        """The broker has confirmed a post that `next` gave."""
        if not post.retain:
            if self._told and self._told[0] is post:
                self._told.popleft()
            return
        kept = self._kept.get(post.topic)
        if kept is None:
            return
        kept.sent, kept.sent_s = post.payload, now_s
        if not post.payload and not kept.wanted:
            del self._kept[post.topic]

    def wait_s(self, now_s: float) -> float:
        """Seconds until `next` may have something of its own accord."""
        due = [kept.sent_s + REPEAT_S for kept in self._kept.values() if kept.repeat]
        return max(min(due, default=now_s + REPEAT_S) - now_s, 0.0)
