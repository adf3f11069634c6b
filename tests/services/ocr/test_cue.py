"""Cues out of lines."""

from __future__ import annotations

from dataclasses import replace

from services.ocr.cue import ReadLine, merged, normalised, split_scene, split_static, stacked
from services.ocr.engine import Box


def line(start: float, end: float, text: str, left: int = 500, top: int = 600, width: int = 280) -> ReadLine:
    return ReadLine(start, end, text, text, 0.99, Box(left, top, left + width, top + 40))


def test_equal_lines_with_a_short_gap_are_one() -> None:
    """A damaged frame does not split a line; a longer pause does."""
    assert [(x.start, x.end) for x in merged([line(0, 1, "a"), line(1.04, 2, "a")], 0.09)] == [(0, 2)]
    assert len(merged([line(0, 1, "a"), line(1.2, 2, "a")], 0.09)) == 2


def test_lines_that_differ_by_a_letter_stay_two() -> None:
    """Back-to-back neighbours that are nearly equal are not one line."""
    assert [x.text for x in merged([line(0, 1, "the boat"), line(1, 2, "the coat")], 0.09)] == [
        "the boat",
        "the coat",
    ]


def test_one_place_shows_one_line_at_a_time() -> None:
    """A line that was followed twice, and read with and without a space, is one, with the surer text."""
    twice = [line(0, 2, "25 years ago"), line(0, 1.8, "25yearsago")]
    (one,) = merged(twice, 0.09)
    assert (one.text, one.start, one.end) == ("25 years ago", 0, 2)


def test_a_whole_line_counts_rather_than_a_part_of_it() -> None:
    """Of two readings of one place that of the longer box counts, unless it is unsure."""
    part = line(0, 2, "25 years", width=150)
    whole = replace(line(0, 2, "25 years ago"), confidence=0.9)
    (one,) = merged([part, whole], 0.09)
    assert (one.text, one.box.width) == ("25 years ago", 280)
    (one,) = merged([part, replace(whole, confidence=0.7)], 0.09)
    assert one.text == "25 years"


def test_lines_that_come_and_go_together_are_one_cue_from_top_to_bottom() -> None:
    """Two lines of one cue are stacked; one that outlasts the other is a cue of its own."""
    (cue,) = stacked([line(1, 2, "below", top=650), line(1.04, 2, "above")], 0.1)
    assert (cue.text, cue.start, cue.end) == ("above\nbelow", 1, 2)
    assert len(stacked([line(1, 2, "a"), line(1, 3, "b", top=650)], 0.1)) == 2


def test_a_logo_is_static_even_when_scene_cuts_interrupt_it() -> None:
    """What one place says for most of the film is no subtitle, in however many pieces it was followed."""
    logo = [line(at, at + 4, "TV", left=1100, width=60) for at in (0, 4, 8)]
    changing, static = split_static([*logo, line(2, 4, "hello")], 12)
    assert [x.text for x in changing] == ["hello"]
    assert static == logo


def test_a_sign_beside_the_middle_is_scene_text_but_left_aligned_lines_are_not() -> None:
    """A text that is neither centred nor in a row with others is no subtitle; lines that begin alike are."""
    sign = line(0, 1, "EXIT", left=100)
    aligned = [line(2, 3, "one", left=200, top=650), line(3, 4, "two", left=200, top=650, width=400)]
    subtitles, scene = split_scene([sign, *aligned, line(5, 6, "centred")], 1280)
    assert scene == [sign]
    assert [x.text for x in subtitles] == ["one", "two", "centred"]


def test_spaces_and_full_width_signs() -> None:
    """Chinese has no spaces between its signs, Latin keeps one, full-width digits become plain; punctuation is left."""
    assert normalised(" 今天 天气，  真好 ") == "今天天气，真好"
    assert normalised("in ２０２６  it  ran") == "in 2026 it ran"
    assert normalised("你好 Tom 和 我") == "你好 Tom 和我"
