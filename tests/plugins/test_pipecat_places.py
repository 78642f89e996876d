"""Frames keep their place in the voice; no Pipecat is needed for that."""

from __future__ import annotations

from daetalker.plugins.pipecat.places import Places

FRAME = 1920


def places() -> Places[str]:
    return Places()


def test_a_frame_goes_when_the_voice_before_it_was_heard() -> None:
    line = places()
    line.feed(10 * FRAME)
    line.hold("in the middle")
    line.feed(10 * FRAME)
    line.end(lambda: False)
    line.hold("after")
    assert not line.quiet
    released = [line.hear(last=index == 19) for index in range(20)]
    gone = {frame: index for index, frames in enumerate(released) for frame in frames}
    assert gone.keys() == {"in the middle", "after"}
    assert 7 <= gone["in the middle"] <= 9 and gone["after"] == 19
    assert line.quiet


def test_padding_of_one_utterance_does_not_shift_the_next() -> None:
    line = places()
    for _ in range(50):
        line.feed(100)  # far less than the frame that it takes
        line.end(lambda: False)
        line.hold("end")
    heard = [line.hear(last=True) for _ in range(50)]
    assert heard == [["end"]] * 50 and line.quiet


def test_pauses_release_nothing_early() -> None:
    line = places()
    line.feed(10 * FRAME)
    line.end(lambda: False)
    line.hold("end")
    for _ in range(200):
        assert line.rest() == []


def test_an_end_that_got_lost_is_found_once_nothing_older_can_follow() -> None:
    line = places()
    line.feed(10 * FRAME)
    line.end(lambda: True)  # given out, but its moments are still on the way
    line.hold("end")
    assert [line.rest() for _ in range(50)] == [[]] * 50
    assert line.hear(last=False) == []
    assert [line.rest() for _ in range(50)] == [[]] * 50
    assert line.rest() == ["end"] and line.quiet


def test_cleared_it_begins_anew() -> None:
    line = places()
    line.feed(10 * FRAME)
    line.end(lambda: False)
    line.hold("held")
    place = line.fed
    assert line.is_unheard(place)
    assert line.clear() == ["held"]
    assert line.quiet and not line.is_unheard(place)
    line.feed(2 * FRAME)
    line.end(lambda: False)
    line.hold("next")
    assert line.hear(last=False) == [] and line.hear(last=True) == ["next"]
