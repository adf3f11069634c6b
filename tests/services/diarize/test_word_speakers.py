"""Words and turns brought together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.diarize.turns import Turn
from services.diarize.word_speakers import SpokenTurns, assign_speakers

TURNS = [Turn(0, 2, "a"), Turn(2.5, 4, "b"), Turn(10, 11, "a")]


def segment(*words: tuple[float, float]) -> dict[str, Any]:
    return {
        "start": words[0][0],
        "end": words[-1][1],
        "text": "…",
        "words": [{"word": "w", "start": start, "end": end} for start, end in words],
    }


def test_words_and_segments_get_their_speakers() -> None:
    """A word is whose most of it is, one in a pause the nearest one's; the segment is whose most of its time is."""
    told = assign_speakers([segment((0, 1), (1.5, 2.6), (2.1, 2.2), (2.6, 3.9))], TURNS)
    assert [word["speaker"] for word in told.segments[0]["words"]] == ["a", "a", "a", "b"]
    assert (told.segments[0]["speaker"], told.words, told.changes, told.unassigned) == ("a", 4, 1, 0)
    assert told.segments[0]["text"] == "…"


def test_nobody_near_is_said() -> None:
    """A word far from every turn has no speaker, and is counted; so has everything when nobody speaks."""
    told = assign_speakers([segment((6, 7)), {"start": 20, "end": 21}], TURNS, max_gap=1.0)
    assert [one["speaker"] for one in told.segments] == [None, None]
    assert (told.unassigned, told.words) == (2, 2)
    assert assign_speakers([segment((6, 7))], []).unassigned == 1


def test_a_segment_without_times_is_refused() -> None:
    """No time, no speaker: that is an error and not a guess."""
    with pytest.raises(KeyError):
        assign_speakers([{"text": "no times"}], TURNS)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10), st.sampled_from("abc")), max_size=20),
    st.integers(0, 60),
    st.integers(0, 5),
)
def test_the_search_is_exact(made: list[tuple[int, int, str]], start: int, length: int) -> None:
    """Looking only at turns that can matter finds what looking at all finds."""
    turns = [Turn(first, first + seconds, name) for first, seconds, name in made]
    end = start + length
    covered: dict[str, float] = {}
    for turn in turns:
        both = min(end, turn.end) - max(start, turn.start)
        if both > 0:
            covered[turn.speaker] = covered.get(turn.speaker, 0) + both
    found = SpokenTurns(turns).speaker(start, end, 0.0)
    if covered:
        assert found is not None and covered[found] == max(covered.values())
    elif length:
        touching = {turn.speaker for turn in turns if turn.end == start or turn.start == end}
        assert found in touching if touching else found is None
