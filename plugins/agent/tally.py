"""Tally: which of an agent's utterances are being spoken, and how much of them was heard.

The agent counts what it sends; the session counts what reaches it, which is less after an
interrupt.  Here both meet.
"""

from __future__ import annotations

from dataclasses import dataclass

from daetalker.plugins.agent.messages import Finished, Started
from daetalker.streamer.media import VOICE_RATE, VoiceChunk

__all__ = ["Tally"]


@dataclass
class _Entry:
    number: int
    in_session: int | None = None
    heard: int = 0
    started: bool = False
    cut: bool = False


class Tally:
    """The utterances that reached the session and are not over; returns what to tell the agent.

    Attributes:
        sounding: number of the utterance that is being heard, None in pauses.
    """

    def __init__(self) -> None:
        self.sounding: int | None = None
        self._entries: dict[int, _Entry] = {}

    def begin(self, number: int) -> None:
        """The session gets voice of this utterance; may be called for every piece."""
        self._entries.setdefault(number, _Entry(number))

    def hear(self, chunk: VoiceChunk) -> list[Started | Finished]:
        """Note 20 ms that the session has given out."""
        news: list[Started | Finished] = []
        for cut in [entry for entry in self._entries.values() if entry.cut]:
            if chunk.utterance is None or chunk.utterance != cut.in_session:
                news += self.finish(cut.number, cut.heard / VOICE_RATE, interrupted=True)
        entry = self._entry_of(chunk.utterance)
        self.sounding = None if entry is None else entry.number
        if entry is not None:
            entry.heard += chunk.pcm.size
            if not entry.started:
                entry.started = True
                news.append(Started(utterance=entry.number))
        return news

    def interrupt(self, dropped: list[int]) -> list[Started | Finished]:
        """Everything is over; what was being heard is reported with the next `hear`.

        Args:
            dropped: utterances of which a part waited outside of the session.
        """
        for entry in self._entries.values():
            entry.cut = True
        return [
            Finished(utterance=number, position_s=0.0, interrupted=True)
            for number in dropped
            if number not in self._entries
        ]

    def finish(self, number: int, position_s: float, interrupted: bool) -> list[Started | Finished]:
        """An utterance is over; a second report of it says nothing."""
        entry = self._entries.pop(number, None)
        if entry is None:
            return []
        news: list[Started | Finished] = []
        if not entry.started and not interrupted:
            news.append(Started(utterance=number))
        news.append(
            Finished(utterance=number, position_s=round(position_s, 4), interrupted=interrupted)
        )
        return news

    def _entry_of(self, in_session: int | None) -> _Entry | None:
        """The entry that the session's number belongs to; numbers come in the order of entries."""
        if in_session is None:
            return None
        fresh = None
        for entry in self._entries.values():
            if entry.in_session == in_session:
                return entry
            if entry.in_session is None and fresh is None and not entry.cut:
                fresh = entry
        if fresh is not None:
            fresh.in_session = in_session
        return fresh
