"""Texts of single frames become subtitles."""

from __future__ import annotations

from services.ocr.engine import Box
from services.ocr.frame_texts import Rules, to_subtitles
from services.ocr.step_items import FrameText


def said(*stretches: tuple[int, int, str]) -> list[FrameText]:
    """Each text from its first to its last frame."""
    box = Box(0, 0, 9, 9)
    return [
        FrameText(number, text, box) for first, last, text in stretches for number in range(first, last + 1)
    ]


def joined(*stretches: tuple[int, int, str]) -> list[tuple[int, int, str]]:
    """What becomes of them at 25 frames a second."""
    subtitles = to_subtitles(said(*stretches), lambda number: (number - 1) / 25, Rules())
    return [(one.first, one.last, one.text) for one in subtitles]


def test_a_misread_frame_does_not_split_a_subtitle() -> None:
    """What most frames say is what the subtitle says."""
    assert joined((1, 20, "the boat"), (21, 21, "the b0at"), (22, 40, "the boat")) == [(1, 40, "the boat")]


def test_texts_that_differ_by_a_letter_and_both_last_stay_two() -> None:
    """However alike they are."""
    assert joined((1, 20, "the boat"), (21, 40, "the coat")) == [(1, 20, "the boat"), (21, 40, "the coat")]


def test_what_flickers_past_is_dropped_and_short_gaps_are_bridged() -> None:
    """Under 0.2 s is nothing; one text before and after a gap under a second is one."""
    assert joined((1, 4, "no")) == []
    assert joined((1, 20, "yes"), (30, 50, "yes")) == [(1, 50, "yes")]
    assert joined((1, 20, "yes"), (60, 80, "yes")) == [(1, 20, "yes"), (60, 80, "yes")]


def test_times_are_those_of_the_frames() -> None:
    """A subtitle ends when the frame after its last one is shown."""
    times = {1: 0.0, 2: 0.5, 3: 0.6, 4: 2.0}
    (one,) = to_subtitles(said((2, 3, "a")), lambda number: times[number], Rules())
    assert (one.start, one.end) == (0.5, 2.0)
